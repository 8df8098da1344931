//! What the upstream sees: identity headers, and the names that never reach it as the client sent them.
//!
//! How a value becomes a header's text, stable and told in the documentation:
//!
//! | value | text |
//! |---|---|
//! | string | itself, if it is visible ASCII and inner spaces without `%`; else percent-encoded: each byte of its UTF-8 that is not such a character, and `%` itself, as `%XX` |
//! | number, bool | decimal as JSON writes it; `true`, `false` |
//! | array, object | compact JSON, percent-encoded likewise; never joined with commas |
//! | absent, `null`, `""` | no header: the name is removed from the request instead |
//!
//! `%` is always encoded, so that two different claims never make one header. CR, LF and NUL are
//! therefore never sent raw. What is too large is a denial ([`Reason::UnforwardableClaim`]), because
//! Envoy would answer 500 and a cut value could be somebody else's.
//!
//! Every identity header that is not set, and every underscore variant of all of them (many servers
//! read `x_user` as `x-user`), is removed from the request on every allow, public routes too.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;
use smallvec::SmallVec;

use crate::model::reason::Reason;
use crate::policy::decision::Removals;
use crate::policy::declared::ForwardToken;
use crate::policy::expression;
use crate::policy::held::{Claim, Claims, Frequent};
use crate::policy::predicate::{Expression, Input, Unevaluated};

/// The longest value of one header, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of all values together.
pub const TOTAL_BYTES_MAX: usize = 32 * 1024;
/// The most identity headers that an API may set.
pub const HEADERS_MAX: usize = 50;

/// What an API's upstream sees.
#[derive(Debug)]
pub struct Forward {
    /// Whether the token goes on.
    pub token: ForwardToken,
    headers: Vec<IdentityHeader>,
    /// The names that other APIs set, and the underscore variants of all: removed on every allow.
    foreign: Arc<Removals>,
    /// These and the names that this API sets: removed where there is no identity.
    everything: Arc<Removals>,
    authorization: [Arc<str>; 2],
}

/// One identity header.
#[derive(Debug)]
pub struct IdentityHeader {
    name: Arc<str>,
    source: Source,
}

/// Where a header's value comes from.
#[derive(Debug)]
enum Source {
    /// A claim, by its chain of names: no CEL at run time.
    Claim(Vec<String>),
    /// A claim whose place is known.
    Frequent(Frequent),
    /// A wildcard of the path.
    Wildcard(String),
    /// Anything else.
    Computed(Box<Expression>),
}

/// The changes that an allow makes to the request.
#[derive(Debug, Default)]
pub(in crate::policy) struct Changes {
    pub(in crate::policy) set: Vec<(Arc<str>, String)>,
    pub(in crate::policy) remove_always: Arc<Removals>,
    pub(in crate::policy) remove: SmallVec<[Arc<str>; 6]>,
}

impl IdentityHeader {
    /// A header (its name lower case and checked) filled by an expression.
    #[must_use]
    pub fn new(name: &str, expression: Expression) -> Self {
        let chain = expression::chain(expression.tree());
        let source = match chain.as_deref() {
            Some(["token", name]) => match Frequent::named(name) {
                Some(claim) => Source::Frequent(claim),
                None => Source::Claim(vec![(*name).to_owned()]),
            },
            Some(["token", names @ ..]) if !names.is_empty() => {
                Source::Claim(names.iter().map(|name| (*name).to_owned()).collect())
            }
            Some(["path", name]) => Source::Wildcard((*name).to_owned()),
            _ => Source::Computed(Box::new(expression)),
        };
        Self {
            name: Arc::from(name),
            source,
        }
    }

    fn reads_path(&self) -> bool {
        match &self.source {
            Source::Claim(_) | Source::Frequent(_) => false,
            Source::Wildcard(_) => true,
            Source::Computed(expression) => expression.reads_path(),
        }
    }

    /// The header's text; `None` if there is nothing to say.
    fn text(&self, input: &Input<'_, '_>) -> Result<Option<String>, &'static str> {
        match &self.source {
            Source::Claim(names) => Ok(input.claims.and_then(|claims| text_of_claim(claims, names))),
            Source::Frequent(claim) => Ok(input.claims.and_then(|claims| match claims.frequent(*claim)? {
                Claim::Text(text) => string(text),
                Claim::Json(value) => text_of(&value),
            })),
            Source::Wildcard(name) => Ok(input
                .captures
                .iter()
                .find(|(known, _)| **known == **name)
                .and_then(|(_, value)| string(value))),
            Source::Computed(expression) => match expression.evaluate(input) {
                Ok(value) => {
                    let json = value
                        .json()
                        .map_err(|_| "an identity header has a value without a text form")?;
                    Ok(text_of(&json))
                }
                Err(Unevaluated::Absent) => Ok(None),
                Err(Unevaluated::DoubtfulHeader) => {
                    Err("an identity header reads a header that the upstream may read differently")
                }
                Err(Unevaluated::Failed) => Err("an identity header cannot be evaluated"),
            },
        }
    }
}

impl Forward {
    /// What an upstream sees with these headers. `elsewhere` are the names, in lower case, that other
    /// APIs set: an upstream may stand behind several, and believes a name whichever of them let the
    /// request in (attack D16).
    #[must_use]
    pub fn new(token: ForwardToken, headers: Vec<IdentityHeader>, elsewhere: &BTreeSet<Arc<str>>) -> Self {
        let names: Vec<Arc<str>> = headers.iter().map(|header| Arc::clone(&header.name)).collect();
        let others: Vec<Arc<str>> = elsewhere.iter().filter(|name| !names.contains(name)).cloned().collect();
        // INVARIANT: a name that this API sets is not removed, though it may be another's variant. `envoy::reply` relies on it.
        let variants: Vec<Arc<str>> = names
            .iter()
            .chain(&others)
            .flat_map(|name| underscore_variants(name))
            .filter(|variant| !names.contains(variant))
            .collect();
        let foreign: Vec<Arc<str>> = variants.into_iter().chain(others).collect();
        let everything = names.iter().chain(&foreign).cloned().collect();
        Self {
            token,
            headers,
            foreign: Arc::new(Removals::new(foreign)),
            everything: Arc::new(Removals::new(everything)),
            authorization: [Arc::from("authorization"), Arc::from("dpop")],
        }
    }

    /// The names of the identity headers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|header| &*header.name)
    }

    /// Whether a client may not nominate this header as hop-by-hop (`Connection:`): an identity header
    /// or a credential, in any spelling.
    #[must_use]
    pub fn protects(&self, name: &str) -> bool {
        let same = |known: &str| {
            known.len() == name.len()
                && known.bytes().zip(name.bytes()).all(|(known, byte)| {
                    let byte = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
                    let known = if known == b'_' { b'-' } else { known };
                    known == byte
                })
        };
        self.names().any(same) || self.authorization.iter().any(|known| same(known))
    }

    pub(in crate::policy) fn reads_path(&self) -> bool {
        self.headers.iter().any(IdentityHeader::reads_path)
    }

    /// The changes for a caller with an identity.
    pub(in crate::policy) fn identify(&self, input: &Input<'_, '_>) -> Result<Changes, (Reason, &'static str)> {
        let mut changes = Changes {
            set: Vec::with_capacity(self.headers.len()),
            remove_always: Arc::clone(&self.foreign),
            remove: SmallVec::new(),
        };
        let mut total = 0;
        for header in &self.headers {
            let text = header
                .text(input)
                .map_err(|detail| (Reason::UnforwardableClaim, detail))?;
            let Some(text) = text else {
                changes.remove.push(Arc::clone(&header.name));
                continue;
            };
            total += text.len();
            if text.len() > VALUE_BYTES_MAX || total > TOTAL_BYTES_MAX {
                return Err((Reason::UnforwardableClaim, "the identity headers are too large"));
            }
            changes.set.push((Arc::clone(&header.name), text));
        }
        if self.token == ForwardToken::Strip {
            changes.remove.extend(self.authorization.iter().cloned());
        }
        Ok(changes)
    }

    /// The changes for a request without an identity.
    pub(in crate::policy) fn anonymise(&self, forward_authorization: bool) -> Changes {
        let mut remove = SmallVec::new();
        if !forward_authorization {
            remove.extend(self.authorization.iter().cloned());
        }
        Changes {
            set: Vec::new(),
            remove_always: Arc::clone(&self.everything),
            remove,
        }
    }
}

/// The text of a member that is reached by a chain of names, one object after the other.
fn text_of_claim(claims: Claims<'_>, names: &[String]) -> Option<String> {
    let (first, rest) = names.split_first()?;
    match claims.get(first)? {
        Claim::Text(text) if rest.is_empty() => string(text),
        Claim::Text(_) => None,
        Claim::Json(value) => rest
            .iter()
            .try_fold(&*value, |value, name| value.as_object()?.get(name))
            .and_then(text_of),
    }
}

fn text_of(json: &Json) -> Option<String> {
    match json {
        Json::Null => None,
        Json::String(text) => string(text),
        Json::Bool(_) | Json::Number(_) => Some(json.to_string()),
        Json::Array(_) | Json::Object(_) => Some(encoded(&json.to_string())),
    }
}

fn string(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| encoded(text))
}

/// The text with every byte percent-encoded that is not visible ASCII or an inner space, and `%`.
fn encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    for (index, &byte) in bytes.iter().enumerate() {
        let inner = index > 0 && index + 1 < bytes.len();
        match byte {
            b'!'..=b'~' if byte != b'%' => out.push(char::from(byte)),
            b' ' if inner => out.push(' '),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// Every spelling of the name with at least one `-` written as `_`. A name with many dashes gets the
/// spellings with one, with all, and with all up to one place: what servers do in practice.
fn underscore_variants(name: &str) -> Vec<Arc<str>> {
    let dashes: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
    let spell = |chosen: &dyn Fn(usize) -> bool| -> Arc<str> {
        let mut bytes: Vec<char> = name.chars().collect();
        for (number, at) in dashes.iter().enumerate() {
            if chosen(number) {
                bytes[*at] = '_';
            }
        }
        bytes.into_iter().collect::<String>().into()
    };
    match dashes.len() {
        0 => Vec::new(),
        count @ 1..=DASHES_MAX => (1..1_usize << count)
            .map(|mask| spell(&|number| mask >> number & 1 == 1))
            .collect(),
        _ => vec![spell(&|_| true)],
    }
}

/// The most dashes of a name of which every mixed spelling is removed. `compile` refuses names with more.
pub const DASHES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::policy::held::Held;
    use crate::policy::predicate::environment;
    use crate::policy::testing::request;

    fn header(expression: &str, claims: &Json) -> Result<Option<String>, &'static str> {
        let env = environment();
        let parsed = Expression::parse(&env, expression, &["id"]).expect("parses");
        let facts = request("GET https://h.example/x", &[]);
        let captures = vec![(Arc::from("id"), "é/1".to_owned())];
        let held = claims.as_object().cloned().map(Held::new);
        let input = Input {
            claims: held.as_ref().map(Held::claims),
            captures: &captures,
            facts: &facts,
        };
        IdentityHeader::new("x", parsed).text(&input)
    }

    fn sub(value: &Json) -> Option<String> {
        header("token.sub", &json!({ "sub": value })).expect("a value")
    }

    #[test]
    fn edge_i06_edge_i07_edge_e19_attack_a40_text_is_sent_raw_only_if_it_is_plain() {
        for (claim, text) in [
            ("ada", "ada"),
            ("Ada Lovelace", "Ada Lovelace"),
            ("auth0|5f7,x;y=\"z\"", "auth0|5f7,x;y=\"z\""),
            ("a\r\nX-Admin: 1", "a%0D%0AX-Admin: 1"),
            ("a\0b", "a%00b"),
            ("Zoë", "Zo%C3%AB"),
            ("🦀", "%F0%9F%A6%80"),
            ("100%", "100%25"),
            ("Zo%C3%AB", "Zo%25C3%25AB"),
            (" a ", "%20a%20"),
            ("\t", "%09"),
            ("\u{7f}", "%7F"),
        ] {
            assert_eq!(sub(&json!(claim)).as_deref(), Some(text), "{claim:?}");
        }
    }

    #[test]
    fn edge_i14_numbers_and_bools_have_one_text() {
        for (claim, text) in [
            (json!(7), "7"),
            (json!(-7), "-7"),
            (json!(9_007_199_254_740_993_i64), "9007199254740993"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(false), "false"),
        ] {
            assert_eq!(sub(&claim).as_deref(), Some(text), "{claim}");
        }
    }

    #[test]
    fn edge_i09_arrays_and_objects_are_json_and_never_joined() {
        assert_eq!(sub(&json!(["a,b", "c"])).as_deref(), Some(r#"["a,b","c"]"#));
        assert_eq!(sub(&json!(["é"])).as_deref(), Some(r#"["%C3%A9"]"#));
        assert_eq!(sub(&json!({"k": [1]})).as_deref(), Some(r#"{"k":[1]}"#));
        assert_eq!(sub(&json!([])).as_deref(), Some("[]"));
    }

    #[test]
    fn edge_i10_what_is_absent_or_empty_sets_no_header() {
        assert_eq!(sub(&json!("")), None);
        assert_eq!(sub(&json!(null)), None);
        assert_eq!(header("token.tier", &json!({})), Ok(None));
        assert_eq!(header("token.a.b", &json!({"a": "x"})), Ok(None));
        assert_eq!(header("token.tier + 'x'", &json!({})), Ok(None));
        assert_eq!(
            header("token.sub + 1", &json!({"sub": "a"})),
            Err("an identity header cannot be evaluated")
        );
    }

    #[test]
    fn selectors_and_expressions_say_the_same() {
        let claims = json!({"sub": "a", "n": 5, "o": {"p q": ["é"]}, "https://x/y": true});
        for (selector, expression) in [
            ("token.sub", "token.sub + ''"),
            ("token.n", "token.n + 0"),
            ("token.o['p q']", "true ? token.o['p q'] : []"),
            ("token['https://x/y']", "token['https://x/y'] && true"),
            ("path.id", "path.id + ''"),
        ] {
            assert_eq!(header(selector, &claims), header(expression, &claims), "{selector}");
            assert!(header(selector, &claims).expect("a value").is_some(), "{selector}");
        }
        assert_eq!(
            header("path.id", &claims).expect("a value").as_deref(),
            Some("%C3%A9/1")
        );
    }

    #[test]
    fn attack_a39_a_name_with_dots_is_not_a_chain_of_names() {
        let claims = json!({"a.b": "flat", "a": {"b": "nested"}});
        assert_eq!(
            header("token['a.b']", &claims).expect("a value").as_deref(),
            Some("flat")
        );
        assert_eq!(
            header("token.a.b", &claims).expect("a value").as_deref(),
            Some("nested")
        );
    }

    #[test]
    fn edge_i04_attack_d16_every_underscore_spelling_is_known() {
        let spelt: Vec<String> = underscore_variants("x-auth-sub")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(spelt, ["x_auth-sub", "x-auth_sub", "x_auth_sub"]);
        assert_eq!(underscore_variants("a-b-c-d-e").len(), 15);
        assert_eq!(underscore_variants("subject").len(), 0);
    }

    proptest! {
        /// Two claims never make one header, and none carries a control character.
        #[test]
        fn attack_a40_the_encoding_is_visible_and_can_be_undone(text in any::<String>()) {
            let encoded = encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(encoded.trim(), encoded.as_str());
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().expect("utf-8");
            prop_assert_eq!(decoded, text);
        }
    }
}
