//! The claims of a token, compactly: a gate remembers a million tokens, and most of what they say is the same.
//!
//! - What tokens of one kind have in common (the names of the claims, issuer, audience, client, scopes) is one
//!   [`Shape`], which they can share.
//! - What is a token's own is one text, with the values one after the other:
//!
//! | value | in the text |
//! |---|---|
//! | string | `t`, its length, itself |
//! | whole number (64 bits with a sign) | `i`, its length, decimal |
//! | anything else | `j`, its length, compact JSON |
//!
//! A length is two characters of seven bits, or `T` and `J` and four: the text stays UTF-8, so that a value is read by
//! slicing. The subject comes first, since each check reads it. Rules read few claims, and no claim is decoded that
//! nobody asks for.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Whether tokens of one kind say the same by the claim of this name. Others are taken for a token's own, whatever they say.
fn is_common(name: &str) -> bool {
    // A pattern: it is compiled into a few comparisons of words, where a list is searched by one call for each entry.
    matches!(
        name,
        "acr"
            | "amr"
            | "aud"
            | "azp"
            | "cid"
            | "client_id"
            | "groups"
            | "iss"
            | "permissions"
            | "roles"
            | "scope"
            | "scp"
            | "tid"
            | "token_use"
            | "typ"
            | "ver"
    )
}

const SUBJECT: &str = "sub";

/// Room for what a usual token has of its own, so that its text does not grow while it is written.
const OWN_BYTES_USUAL: usize = 192;

/// Claims that are read at every check: where they are is found out when a token is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequent {
    /// `acr`.
    Acr,
    /// `auth_time`.
    AuthTime,
    /// `client_id`.
    ClientId,
    /// `exp`.
    Exp,
    /// `iss`.
    Iss,
    /// `jti`.
    Jti,
    /// `scope`.
    Scope,
    /// `sub`.
    Sub,
}

impl Frequent {
    /// INVARIANT: every variant, since [`Shape`] has one place for each, by its number.
    const ALL: [Self; 8] = [
        Self::Acr,
        Self::AuthTime,
        Self::ClientId,
        Self::Exp,
        Self::Iss,
        Self::Jti,
        Self::Scope,
        Self::Sub,
    ];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "acr" => Self::Acr,
            "auth_time" => Self::AuthTime,
            "client_id" => Self::ClientId,
            "exp" => Self::Exp,
            "iss" => Self::Iss,
            "jti" => Self::Jti,
            "scope" => Self::Scope,
            "sub" => Self::Sub,
            _ => return None,
        })
    }

    /// The claim's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acr => "acr",
            Self::AuthTime => "auth_time",
            Self::ClientId => "client_id",
            Self::Exp => "exp",
            Self::Iss => "iss",
            Self::Jti => "jti",
            Self::Scope => "scope",
            Self::Sub => "sub",
        }
    }
}

/// What the claims of several tokens have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// By name.
    members: Box<[(Box<str>, Place)]>,
    /// Which of the members they are, by [`Frequent`].
    frequent: [Option<u32>; Frequent::ALL.len()],
    /// Whether the first of a token's own values is its subject.
    has_subject: bool,
}

/// Where a claim's value is.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Here, for all of them: a string, or an array of strings; or anything, where a token has too many of its own.
    Common(Value),
    /// In the token's own text, so many values from its start.
    Own(u16),
}

/// The claims of one token.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    shape: &'a Shape,
    own: &'a str,
}

/// One claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim<'a> {
    /// A string.
    Text(&'a str),
    /// Anything else.
    Json(Cow<'a, Value>),
}

/// Claims that stand alone, for those who have no token around them.
#[derive(Debug, Clone)]
pub struct Held {
    shape: Arc<Shape>,
    own: Box<str>,
}

// === impl Shape ===

impl Shape {
    /// Takes claims apart: into what they have in common with others, and the text of what is their own.
    pub(in crate::policy) fn of(claims: Map<String, Value>) -> (Self, Box<str>) {
        let mut own = String::with_capacity(OWN_BYTES_USUAL);
        let mut owned: u16 = 0;
        let mut push = |value: &Value| {
            // More than can be numbered, which no token holds, are kept as they are.
            let Some(next) = owned.checked_add(1) else {
                return Place::Common(value.clone());
            };
            push(&mut own, value);
            Place::Own(std::mem::replace(&mut owned, next))
        };
        let subject = claims.get(SUBJECT).filter(|value| value.is_string()).map(&mut push);
        let has_subject = subject.is_some();
        let mut subject = subject;
        let mut frequent = [None; Frequent::ALL.len()];
        let members: Box<[_]> = (0_u32..)
            .zip(claims)
            .map(|(number, (name, value))| {
                if let Some(claim) = Frequent::named(&name) {
                    frequent[claim as usize] = Some(number);
                }
                let place = match subject.take_if(|_| name == SUBJECT) {
                    Some(place) => place,
                    None if is_common(&name) && is_text(&value) => Place::Common(value),
                    None => push(&value),
                };
                (name.into_boxed_str(), place)
            })
            .collect();
        let shape = Self {
            members,
            frequent,
            has_subject,
        };
        // Copied: an allocator that is asked to shrink may keep the larger block.
        (shape, Box::from(own.as_str()))
    }

    /// How much memory it takes, beside itself.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let members = self.members.iter();
        members
            .map(|(name, place)| {
                size_of::<(Box<str>, Place)>()
                    + name.len()
                    + match place {
                        Place::Common(value) => weight(value),
                        Place::Own(_) => 0,
                    }
            })
            .sum()
    }
}

fn find(members: &[(Box<str>, Place)], name: &str) -> Option<usize> {
    members.binary_search_by(|(known, _)| (**known).cmp(name)).ok()
}

/// A string, or an array of strings: what can be common.
fn is_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(members) => members.iter().all(Value::is_string),
        _ => false,
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(members) => members.iter().map(|member| size_of::<Value>() + weight(member)).sum(),
        _ => 0,
    }
}

fn push(own: &mut String, value: &Value) {
    let json;
    let (short, long, text) = match value {
        Value::String(text) => ('t', 'T', text.as_str()),
        other => {
            json = other.to_string();
            let kind = if other.is_i64() { 'i' } else { 'j' };
            (kind, 'J', json.as_str())
        }
    };
    let digit = |place: usize| char::from((text.len() >> (7 * place)).to_le_bytes()[0] & 0x7f);
    if text.len() < 1 << 14 {
        own.extend([short, digit(0), digit(1)]);
    } else {
        // Nobody reads a token or an answer of 256 MiB.
        own.extend([long, digit(0), digit(1), digit(2), digit(3)]);
    }
    own.push_str(text);
}

/// The first value of a text: its kind, its text, and what comes after it.
fn pop(own: &str) -> Option<(u8, &str, &str)> {
    let bytes = own.as_bytes();
    let kind = *bytes.first()?;
    let digit = |place: usize| Some(usize::from(*bytes.get(1 + place)?) << (7 * place));
    let mut length = digit(0)? | digit(1)?;
    let mut start = 3;
    if kind.is_ascii_uppercase() {
        length |= digit(2)? | digit(3)?;
        start = 5;
    }
    let (text, rest) = own.get(start..)?.split_at_checked(length)?;
    Some((kind.to_ascii_lowercase(), text, rest))
}

// === impl Claims ===

impl<'a> Claims<'a> {
    pub(in crate::policy) fn new(shape: &'a Shape, own: &'a str) -> Self {
        Self { shape, own }
    }

    /// The claim with this name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Claim<'a>> {
        self.member(find(&self.shape.members, name)?)
    }

    /// The same as [`Claims::get`], without a search.
    #[must_use]
    pub fn frequent(self, claim: Frequent) -> Option<Claim<'a>> {
        let found = self.shape.frequent[claim as usize]?;
        self.member(usize::try_from(found).ok()?)
    }

    fn member(self, number: usize) -> Option<Claim<'a>> {
        self.read(&self.shape.members.get(number)?.1)
    }

    /// The text of the claim with this name, if it is one.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        match self.get(name)? {
            Claim::Text(text) => Some(text),
            Claim::Json(_) => None,
        }
    }

    /// The text of `sub`, if it is one.
    #[must_use]
    pub fn subject(self) -> Option<&'a str> {
        let first = self.shape.has_subject.then(|| pop(self.own));
        first.flatten().map(|(_, text, _)| text)
    }

    /// The names of all claims.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.shape.members.iter().map(|(name, _)| &**name)
    }

    fn read(self, place: &'a Place) -> Option<Claim<'a>> {
        match place {
            Place::Common(Value::String(text)) => Some(Claim::Text(text)),
            Place::Common(value) => Some(Claim::Json(Cow::Borrowed(value))),
            Place::Own(number) => {
                let mut own = self.own;
                for _ in 0..*number {
                    own = pop(own)?.2;
                }
                let (kind, text, _) = pop(own)?;
                // INVARIANT: it was written by `push`.
                let json = match kind {
                    b't' => return Some(Claim::Text(text)),
                    b'i' => text.parse::<i64>().ok()?.into(),
                    _ => serde_json::from_str(text).ok()?,
                };
                Some(Claim::Json(Cow::Owned(json)))
            }
        }
    }
}

impl std::fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.names().map(|name| (name, self.get(name))))
            .finish()
    }
}

// === impl Claim ===

impl Claim<'_> {
    /// The claim as JSON.
    #[must_use]
    pub fn into_json(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.to_owned()),
            Self::Json(value) => value.into_owned(),
        }
    }
}

// === impl Held ===

impl Held {
    /// Holds these claims.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        let (shape, own) = Shape::of(claims);
        Self {
            shape: Arc::new(shape),
            own,
        }
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> Claims<'_> {
        Claims::new(&self.shape, &self.own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn back(held: &Held) -> Map<String, Value> {
        let claims = held.claims();
        let whole = claims.names().map(|name| (name.to_owned(), claims.get(name)));
        whole
            .map(|(name, claim)| (name, claim.expect("it is there").into_json()))
            .collect()
    }

    /// The names that [`is_common`] knows, as an expression: whoever changes one changes the other.
    const COMMON: &str = "a(cr|mr|ud|zp)|cid|client_id|groups|iss|permissions|roles|scope|scp|tid|token_use|typ|ver";

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            // About where the length takes more characters.
            (16_380_usize..16_390).prop_map(|length| Value::from("é".repeat(length / 2) + &"x".repeat(length % 2))),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            common in btree_map(COMMON, value(), 0..6),
            own in btree_map("[a-z]{0,3}|sub|auth_time|exp|jti", value(), 0..12),
        ) {
            prop_assert!(common.keys().all(|name| is_common(name)));
            let claims: Map<String, Value> = common.into_iter().chain(own).collect();
            let held = Held::new(claims.clone());
            prop_assert_eq!(back(&held), claims.clone());
            prop_assert_eq!(held.claims().get("absent"), None);
            for claim in Frequent::ALL {
                prop_assert_eq!(Frequent::named(claim.name()), Some(claim));
                prop_assert_eq!(held.claims().frequent(claim), held.claims().get(claim.name()));
            }
            prop_assert_eq!(held.claims().subject(), claims.get("sub").and_then(Value::as_str));
        }
    }

    #[test]
    fn more_claims_than_can_be_numbered_keep_their_values() {
        let claims: Map<String, Value> = (0..70_000)
            .map(|number| (format!("c{number:05}"), number.into()))
            .collect();
        let held = Held::new(claims);
        for number in [0, 1, 65_534, 65_535, 65_536, 69_999] {
            let claim = held.claims().get(&format!("c{number:05}"));
            assert_eq!(claim.map(Claim::into_json), Some(number.into()), "{number}");
        }
    }

    #[test]
    fn tokens_of_one_kind_have_one_shape() {
        let claims = |number: usize, client: &str| {
            let claims = json!({
                "iss": "https://i.example", "aud": ["a", "b"], "client_id": client, "scope": "read write",
                "sub": format!("user-{number}"), "jti": number.to_string(), "exp": 1_800_000_000 + number,
            });
            claims.as_object().expect("an object").clone()
        };
        let (one, own) = Shape::of(claims(1, "mobile"));
        let (two, other) = Shape::of(claims(2, "mobile"));
        assert_eq!(one, two);
        assert_ne!(own, other);
        assert_ne!(Shape::of(claims(1, "batch")).0, one);
        assert!(own.len() < 48, "{own:?}");
        let claims = Claims::new(&one, &own);
        assert_eq!((claims.text("sub"), claims.subject()), (Some("user-1"), Some("user-1")));
        assert_eq!(claims.text("client_id"), Some("mobile"));
        assert_eq!(claims.text("exp"), None);
        assert_eq!(claims.get("exp"), Some(Claim::Json(Cow::Owned(json!(1_800_000_001)))));
    }
}
