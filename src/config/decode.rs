//! From nodes to the shapes of the file, going on after every mistake.
//!
//! A serde `Deserializer` stops at the first error, and its errors know no place. Here a shape is
//! declared once, by [`shapes!`] for mappings and [`words!`] for closed sets of words, and that one
//! declaration gives both the decoder and the JSON Schema, so that the two cannot drift apart.
//!
//! **Rules**
//! 1. Every mistake becomes a finding with its place; decoding goes on with the neighbours.
//! 2. A list leaves out what is wrong in it, an optional key counts as absent when its value is
//!    wrong, so that what follows from one mistake is not reported as another. Whoever decodes must
//!    look at the findings before using the value.
//! 3. An unknown key is an error that names the nearest known one.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::yaml::{Entry, Kind, Node, Scalar};
use crate::model::finding::{Finding, nearest};
use crate::model::location::{Located, Location};

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    findings: Vec<Finding>,
}

impl Problems {
    /// Notes one finding.
    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes many.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Everything that was noted.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Notes that a node is no mapping or list. What it is instead is not shown: it may be a secret
    /// that was written one level too high.
    pub(crate) fn wrong_shape(&mut self, node: &Node, expected: &str) {
        let message = format!("expected {expected}, found {}", node.describe());
        self.push(Finding::error("wrong_type", node.location, message));
    }

    /// Notes that a scalar is of another type than it should be.
    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let found = match &node.kind {
            Kind::Scalar { text, .. } if !text.is_empty() => format!("{} `{}`", node.describe(), shown(text)),
            _ => node.describe().to_owned(),
        };
        let finding = Finding::error(
            "wrong_type",
            node.location,
            format!("expected {expected}, found {found}"),
        );
        self.push(match (expected, node.scalar()) {
            ("a text", Some(Scalar::Bool(_) | Scalar::Integer(_) | Scalar::Float(_))) => {
                finding.hint("put it in quotes to make it a text")
            }
            _ => finding,
        });
    }
}

/// A type that can be read from a node.
pub(crate) trait Decode: Sized {
    /// Reads the node. `None` if it is wrong, which then has been noted.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// The value of a key that is not written; `None` if it must be written.
    fn absent() -> Option<Self> {
        None
    }
}

/// The keys of a mapping, each taken once by name.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    location: Location,
    /// Known keys that an unknown one was taken for: they are not reported as missing too.
    misspelt: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Opens a mapping, noting keys that are not among the known ones.
    pub(crate) fn open(node: &'n Node, known: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            problems.wrong_shape(node, &format!("a mapping with {}", listed(known)));
            return None;
        };
        let mut fields = Self {
            entries,
            location: node.location,
            misspelt: Vec::new(),
        };
        for entry in entries {
            if !known.iter().any(|key| bare(key) == entry.key) {
                fields.unknown(entry, known, problems, None);
            }
        }
        Some(fields)
    }

    /// Opens a mapping some of whose keys are the caller's to judge.
    pub(crate) fn open_loose(node: &'n Node, expected: &str, problems: &mut Problems) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            problems.wrong_shape(node, expected);
            return None;
        };
        Some(Self {
            entries,
            location: node.location,
            misspelt: Vec::new(),
        })
    }

    /// Every entry, in the file's order.
    pub(crate) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// The entry of this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == bare(key))
    }

    /// Notes a key that is not known, with this hint or the nearest of the known ones.
    pub(crate) fn unknown(
        &mut self,
        entry: &Entry,
        known: &[&'static str],
        problems: &mut Problems,
        hint: Option<String>,
    ) {
        let message = format!("unknown key `{}`", shown(&entry.key));
        let finding = Finding::error("unknown_key", entry.key_location, message);
        let meant = nearest(&entry.key, known.iter().map(|key| bare(key)));
        problems.push(finding.hint(match (hint, meant) {
            (Some(hint), _) => hint,
            (None, Some(meant)) => {
                self.misspelt.extend(known.iter().filter(|key| bare(key) == meant));
                format!("did you mean `{meant}`?")
            }
            (None, None) => format!("here stand {}", listed(known)),
        }));
    }

    /// Reads the value of a key.
    pub(crate) fn take<T: Decode>(&self, key: &'static str, problems: &mut Problems) -> Option<T> {
        let key = bare(key);
        match self.entry(key) {
            Some(entry) if entry.value.is_null() => T::absent().or_else(|| {
                let message = format!("the key `{key}` says nothing");
                problems.push(Finding::error("missing_value", entry.key_location, message));
                None
            }),
            Some(entry) => T::decode(&entry.value, problems),
            None => T::absent().or_else(|| {
                if !self.misspelt.iter().any(|meant| bare(meant) == key) {
                    let message = format!("the key `{key}` is missing");
                    problems.push(Finding::error("missing_key", self.location, message));
                }
                None
            }),
        }
    }
}

/// `r#type` is spelt `type` in the file.
fn bare(key: &str) -> &str {
    key.strip_prefix("r#").unwrap_or(key)
}

/// Keys or words in a message: "`a`, `b` or `c`".
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", bare(word))).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A text as messages show it: one line, at most 60 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(60)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

// === the plain types ===

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(Scalar::Text(text)) = node.scalar() {
            return Some(text.to_owned());
        }
        problems.wrong_type(node, "a text");
        None
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(Scalar::Bool(value)) = node.scalar() {
            return Some(value);
        }
        problems.wrong_type(node, "`true` or `false`");
        None
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(T::decode(node, problems))
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// What stands in the file, right or wrong: `None` if it is wrong. For optional keys whose absence
/// would be a mistake of its own.
#[derive(Debug)]
pub(crate) struct Stated<T>(pub(crate) Option<T>);

impl<T: Decode> Decode for Stated<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(Self(T::decode(node, problems)))
    }
}

impl<T: Decode> Decode for Located<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::decode(node, problems).map(|value| Self::new(value, node.location))
    }
}

/// These stand for what they hold: their schema is that of the inner type.
macro_rules! transparent {
    ($($wrapper:ident)*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }

            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }

            fn schema_id() -> Cow<'static, str> {
                T::schema_id()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    )*};
}
transparent! { Located Stated }

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Kind::Sequence(items) = &node.kind else {
            problems.wrong_shape(node, "a list");
            return None;
        };
        Some(items.iter().filter_map(|item| T::decode(item, problems)).collect())
    }
}

/// Declares mappings of the file: their decoder and their JSON Schema.
///
/// A key whose type is an `Option` may be left out, every other one must be written. Each shape has
/// a field `at`: where the mapping starts.
macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            #[schemars(skip)]
            #[allow(dead_code, reason = "every shape knows its place; not every check points at it")]
            pub(crate) at: $crate::model::location::Location,
            $($(#[$field_meta])* pub(crate) $field: $type,)*
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::decode::Problems,
            ) -> Option<Self> {
                let known = &[$(stringify!($field)),*];
                let fields = $crate::config::decode::Fields::open(node, known, problems)?;
                // every key is read before the first missing one ends the reading
                $(let $field = fields.take(stringify!($field), problems);)*
                Some(Self { at: node.location, $($field: $field?,)* })
            }
        }
    )*};
}
pub(crate) use shapes;

/// Declares which words of the file stand for the variants of an enum, wherever that enum lives.
macro_rules! words {
    ($($type:ty as $name:literal { $($word:literal => $variant:expr, $doc:literal;)* })*) => {$(
        impl $crate::config::decode::Decode for $type {
            fn decode(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::decode::Problems,
            ) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),*];
                match $crate::config::decode::word(node, WORDS, problems)? {
                    $($word => Some($variant),)*
                    _ => None,
                }
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "oneOf": [$({ "const": $word, "description": $doc }),*] })
            }
        }
    )*};
}
pub(crate) use words;

/// The one of these words that the node is, or a finding that names the nearest.
pub(crate) fn word<'n>(node: &'n Node, words: &[&str], problems: &mut Problems) -> Option<&'n str> {
    let Some(Scalar::Text(text)) = node.scalar() else {
        problems.wrong_type(node, &format!("the word {}", listed(words)));
        return None;
    };
    if words.contains(&text) {
        return Some(text);
    }
    let finding = Finding::error("unknown_word", node.location, format!("unknown word `{}`", shown(text)));
    problems.push(match nearest(text, words.iter().copied()) {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None => finding.hint(format!("here stands {}", listed(words))),
    });
    None
}

#[cfg(test)]
mod tests;
