//! The small types of the file: periods, sizes, addresses, digests, secrets, lists.
//!
//! Each has one spelling, its unit included: `300` is no period, `300s` is.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use super::decode::{Decode, Problems, shown};
use super::yaml::{Kind, Node, Scalar};
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::secret::Secret;
use crate::net::settings::ListenAddress;

macro_rules! schema_of {
    ($($type:ty, $name:literal, $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schema_of! {
    Period, "Period", {
        "type": "string", "pattern": r"^([0-9]+(d|h|m|s|ms))+$",
        "description": "A span of time: `90d`, `12h`, `5m`, `60s`, `150ms`, or several of them, as in `1h30m`."
    };
    Size, "Size", {
        "type": "string", "pattern": r"^[0-9]+(B|KiB|MiB|GiB)$",
        "description": "An amount of memory: `64MiB`, `8KiB`."
    };
    Sha256, "Sha256", {
        "type": "string", "pattern": "^[0-9A-Fa-f]{64}$",
        "description": "A SHA-256 in hexadecimal: 64 digits."
    };
    SecretText, "SecretText", { "type": "string", "description": "A secret: shown in no message." };
    Address, "Address", {
        "type": "string",
        "description": "`127.0.0.1:9191`, `[::1]:9191`, or `unix:/run/scopegate/authz.sock`."
    };
    UrlText, "Url", { "type": "string", "description": "An absolute URL." };
    FilePath, "FilePath", {
        "type": "string", "minLength": 1,
        "description": "A file; a relative path starts at the folder of the configuration file."
    };
    Ratio, "Ratio", { "type": "number", "minimum": 0, "maximum": 1, "description": "A part of all, from 0 to 1." };
    Count, "Count", { "type": "integer", "minimum": 1, "maximum": u32::MAX, "description": "A whole number." };
}

/// The text of a scalar that must be text.
fn text<'n>(node: &'n Node, expected: &str, problems: &mut Problems) -> Option<&'n str> {
    if let Some(Scalar::Text(text)) = node.scalar() {
        return Some(text);
    }
    problems.wrong_type(node, expected);
    None
}

/// A span of time such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl Period {
    /// Reads `90d`, `12h`, `5m`, `60s`, `150ms`, or several of them with the larger unit first.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 5] = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ];
        let mut milliseconds = 0_u64;
        let mut rest = text;
        let mut smaller_than = u64::MAX;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = rest.get(..letters)?;
            rest = rest.get(letters..)?;
            let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
            if factor >= smaller_than {
                return None;
            }
            smaller_than = factor;
            milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
        }
        Some(Self(Duration::from_millis(milliseconds)))
    }
}

impl Decode for Period {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(Scalar::Integer(number)) = node.scalar() {
            let finding = Finding::error("period_without_unit", node.location, format!("`{number}` has no unit"));
            problems.push(finding.hint(format!("say `{number}s` for seconds, `{number}m` for minutes")));
            return None;
        }
        let text = text(node, "a period such as `5m`", problems)?;
        let period = Self::parse(text);
        if period.is_none() {
            let message = format!("`{}` is no period", shown(text));
            let finding = Finding::error("invalid_period", node.location, message);
            problems.push(finding.hint("say `90d`, `12h`, `5m`, `60s`, `150ms`, or `1h30m`"));
        }
        period
    }
}

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl Decode for Size {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let expected = "a size such as `64MiB`";
        let text = text(node, expected, problems)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit {
            "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            _ => None,
        };
        let size = shift.and_then(|shift| number.parse::<usize>().ok()?.checked_mul(1 << shift));
        if size.is_none() {
            let message = format!("`{}` is no size", shown(text));
            problems.push(Finding::error("invalid_size", node.location, message).hint("say `8KiB`, `64MiB` or `1GiB`"));
        }
        size.map(Self)
    }
}

/// The digest of a client secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sha256(pub(crate) Digest);

impl Decode for Sha256 {
    /// A wrong digest is noted, and then stands for one that nothing has: its client stays known, so
    /// that the one mistake is not followed by a "client without secret".
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let digest = match &node.kind {
            // digits alone are a number to YAML, and a digest to us
            Kind::Scalar { text, .. } => unhex(text).ok_or(text.as_str()),
            _ => Err(""),
        };
        Some(Self(digest.unwrap_or_else(|text| {
            // SECURITY: who takes the field for the secret itself must not see it in a log
            let seen = if text.chars().count() <= 8 {
                shown(text)
            } else {
                text.chars().take(3).chain(['…']).collect()
            };
            let message = format!("`{seen}` is not a SHA-256 in hexadecimal");
            problems.push(
                Finding::error("invalid_sha256", node.location, message)
                    .hint("64 hexadecimal digits: printf %s \"$SECRET\" | sha256sum"),
            );
            Digest::from_bytes([0; 32])
        })))
    }
}

fn unhex(text: &str) -> Option<Digest> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * index..2 * index + 2)?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Digest::from_bytes(bytes))
}

/// A secret that stands in the file itself.
#[derive(Debug)]
pub(crate) struct SecretText(pub(crate) Secret<String>);

impl Decode for SecretText {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(Scalar::Text(text)) = node.scalar()
            && !text.is_empty()
        {
            return Some(Self(Secret::new(text.to_owned())));
        }
        let message = format!(
            "expected a secret text, found {}",
            if node.scalar() == Some(Scalar::Text("")) {
                "an empty one"
            } else {
                node.describe()
            }
        );
        problems.push(Finding::error("wrong_type", node.location, message).hint("put it in quotes"));
        None
    }
}

/// Where a listener binds.
#[derive(Debug, Clone)]
pub(crate) struct Address(pub(crate) ListenAddress);

impl Decode for Address {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = text(node, "an address such as `127.0.0.1:9191`", problems)?;
        if let Some(path) = text.strip_prefix("unix:")
            && !path.is_empty()
        {
            return Some(Self(ListenAddress::Unix(PathBuf::from(path))));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self(ListenAddress::Tcp(address)));
        }
        let finding = Finding::error(
            "invalid_address",
            node.location,
            format!("`{}` is no address to listen on", shown(text)),
        );
        problems.push(match text.rsplit_once(':') {
            Some(("", port)) => finding.hint(format!(
                "say `127.0.0.1:{port}`, or `0.0.0.0:{port}` for every interface"
            )),
            Some(("localhost", port)) => finding.hint(format!("names are not looked up: say `127.0.0.1:{port}`")),
            _ => finding.hint("say `127.0.0.1:9191`, `[::1]:9191` or `unix:/run/scopegate/authz.sock`"),
        });
        None
    }
}

/// An absolute URL.
#[derive(Debug, Clone)]
pub(crate) struct UrlText {
    /// The URL.
    pub(crate) url: Url,
    /// As it is written: what messages show.
    pub(crate) text: String,
}

impl Decode for UrlText {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = text(node, "a URL", problems)?;
        match Url::parse(text) {
            Ok(url) if url.has_host() => {
                if url.password().is_some() || !url.username().is_empty() {
                    problems.push(
                        Finding::error(
                            "credentials_in_url",
                            node.location,
                            "a URL holds no user name or password here",
                        )
                        .hint("leave them out"),
                    );
                    return None;
                }
                Some(Self {
                    url,
                    text: text.to_owned(),
                })
            }
            outcome => {
                let reason = outcome
                    .err()
                    .map_or_else(|| "it has no host".to_owned(), |error| error.to_string());
                // an unreadable URL may hold a password where nobody can tell
                let seen = if text.contains('@') {
                    "the text".to_owned()
                } else {
                    format!("`{}`", shown(text))
                };
                problems.push(
                    Finding::error("invalid_url", node.location, format!("{seen} is no URL: {reason}"))
                        .hint("say `https://host/path`"),
                );
                None
            }
        }
    }
}

/// A file that is read.
#[derive(Debug, Clone)]
pub(crate) struct FilePath(pub(crate) PathBuf);

impl Decode for FilePath {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = text(node, "the path of a file", problems)?;
        if text.is_empty() || text.contains('\0') {
            problems.push(Finding::error(
                "invalid_path",
                node.location,
                "this is no path of a file",
            ));
            return None;
        }
        Some(Self(PathBuf::from(text)))
    }
}

/// A part of all, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio(pub(crate) f64);

impl Decode for Ratio {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let number = match node.scalar() {
            Some(Scalar::Float(number)) => Some(number),
            Some(Scalar::Integer(0)) => Some(0.0),
            Some(Scalar::Integer(1)) => Some(1.0),
            _ => None,
        };
        let ratio = number.filter(|number| (0.0..=1.0).contains(number)).map(Self);
        if ratio.is_none() {
            problems.wrong_type(node, "a number from 0 to 1");
        }
        ratio
    }
}

/// A whole number of at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) u32);

impl Decode for Count {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let number = match node.scalar() {
            Some(Scalar::Integer(number)) => u32::try_from(number).ok().filter(|number| *number > 0),
            _ => None,
        };
        if number.is_none() {
            problems.wrong_type(node, "a whole number of at least 1");
        }
        number.map(Self)
    }
}

/// A list that is not empty: an empty one would say "any" to one reader and "none" to another.
#[derive(Debug, Clone)]
pub(crate) struct Listed<T>(pub(crate) Vec<T>);

impl<T: Decode> Decode for Listed<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if matches!(&node.kind, Kind::Sequence(items) if items.is_empty()) {
            let finding = Finding::error("empty_list", node.location, "an empty list says neither all nor none");
            problems.push(finding.hint("name at least one, or leave the key out"));
            return None;
        }
        Vec::decode(node, problems).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Listed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<T>() })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.kind {
            Kind::Sequence(_) => Listed::decode(node, problems).map(|list: Listed<T>| Self(list.0)),
            _ => T::decode(node, problems).map(|one| Self(vec![one])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

#[cfg(test)]
mod tests;
