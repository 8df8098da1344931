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
//! slicing. A shape also recognises claims as they came, before `client_id` and `scope` were laid over them (`Laid`).
//! The subject comes first, since each check reads it. Rules read few claims, and no claim is decoded that
//! nobody asks for.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::jose::object::{Object, ValueRef};

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
const OWN_BYTES_USUAL: usize = 256;

/// Bytes before a value of usual length: its kind, and its length.
const HEAD_BYTES: usize = 3;

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
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// By name.
    members: Box<[(Box<str>, Place)]>,
    /// Which of the members they are, by [`Frequent`].
    frequent: [Option<u32>; Frequent::ALL.len()],
    /// Whether the first of a token's own values is its subject.
    has_subject: bool,
}

/// Where a claim's value is.
#[derive(Debug, PartialEq, Eq)]
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

/// What the claims had, where others were laid over them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct Laid {
    /// Over `client_id`.
    pub(in crate::policy) client_id: Overlay,
    /// Over `scope`.
    pub(in crate::policy) scope: Overlay,
}

/// What one claim was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) enum Overlay {
    /// What it is.
    #[default]
    Same,
    /// There was none.
    Absent,
    /// This, which tokens have in common as they have what it is now.
    Other(Value),
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
        let mut own = Vec::with_capacity(OWN_BYTES_USUAL);
        let mut owned: u16 = 0;
        let mut push = |value: &Value| {
            // More than can be numbered, which no token holds, are kept as they are.
            let Some(next) = owned.checked_add(1) else {
                return Place::Common(value.clone());
            };
            push(&mut own, value.into());
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
                    None if is_shared(&name, (&value).into()) => Place::Common(value),
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
        (shape, text(&own))
    }

    /// Whether these claims are of this shape, by what they were before others were laid over them.
    pub(in crate::policy) fn is_of(&self, claims: &Object, laid: &Laid) -> bool {
        let mut items = claims.iter();
        let are_alike = self.stated(laid).all(|(known, common)| {
            items.next().is_some_and(|(name, item)| {
                name == known
                    && match common {
                        Some(value) => item == ValueRef::from(value),
                        None => !is_shared(name, item) && (name != SUBJECT || self.has_subject == is_text(item)),
                    }
            })
        });
        are_alike && items.next().is_none()
    }

    /// What claims that are of this shape have of their own.
    pub(in crate::policy) fn own(&self, claims: &Object, laid: &Laid) -> Box<str> {
        // INVARIANT: in the order in which `Shape::of` numbers them.
        let mut own = Vec::with_capacity(OWN_BYTES_USUAL);
        let subject = claims.text(SUBJECT).filter(|_| self.has_subject);
        if let Some(subject) = subject {
            push(&mut own, ValueRef::Text(subject));
        }
        for ((_, common), (name, item)) in self.stated(laid).zip(claims.iter()) {
            if common.is_none() && (subject.is_none() || name != SUBJECT) {
                push(&mut own, item);
            }
        }
        text(&own)
    }

    /// Hashes such claims, as [`hash`] does.
    pub(in crate::policy) fn hash(&self, laid: &Laid, state: &mut impl Hasher) {
        for (name, common) in self.stated(laid) {
            hash_member(name, common.map(ValueRef::from), state);
        }
    }

    /// The members that the claims had before others were laid over them, each with its value if that is in common.
    fn stated<'s>(&'s self, laid: &'s Laid) -> impl Iterator<Item = (&'s str, Option<&'s Value>)> {
        let place = |claim: Frequent| self.frequent[claim as usize];
        let overlays = [
            (place(Frequent::ClientId), &laid.client_id),
            (place(Frequent::Scope), &laid.scope),
        ];
        (0_u32..).zip(&self.members).filter_map(move |(number, (name, place))| {
            let overlay = overlays.iter().find(|(laid, _)| *laid == Some(number));
            let common = match (overlay, place) {
                (Some((_, Overlay::Absent)), _) => return None,
                (Some((_, Overlay::Other(value))), _) | (_, Place::Common(value)) => Some(value),
                (_, Place::Own(_)) => None,
            };
            Some((&**name, common))
        })
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

/// Whether tokens of one kind have this claim in common: it is one of those, and a string or an array of strings.
pub(in crate::policy) fn is_shared(name: &str, item: ValueRef<'_>) -> bool {
    is_common(name)
        && match item {
            ValueRef::Text(_) => true,
            ValueRef::Json(Value::Array(members)) => members.iter().all(Value::is_string),
            ValueRef::Json(_) => false,
        }
}

fn is_text(item: ValueRef<'_>) -> bool {
    matches!(item, ValueRef::Text(_))
}

/// Hashes the names of these claims, and what they have in common with others.
pub(in crate::policy) fn hash(claims: &Object, state: &mut impl Hasher) {
    for (name, value) in claims.iter() {
        hash_member(name, Some(value).filter(|value| is_shared(name, *value)), state);
    }
}

fn hash_member(name: &str, common: Option<ValueRef<'_>>, state: &mut impl Hasher) {
    name.hash(state);
    match common {
        None => {}
        Some(ValueRef::Text(text)) => text.hash(state),
        Some(ValueRef::Json(value)) => value.hash(state),
    }
}

impl Laid {
    /// How much memory it takes, beside itself.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let before = |overlay: &Overlay| match overlay {
            Overlay::Other(value) => weight(value),
            Overlay::Same | Overlay::Absent => 0,
        };
        before(&self.client_id) + before(&self.scope)
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(members) => members.iter().map(|member| size_of::<Value>() + weight(member)).sum(),
        _ => 0,
    }
}

fn push(own: &mut Vec<u8>, item: ValueRef<'_>) {
    let start = own.len();
    own.extend_from_slice(&[0; HEAD_BYTES]);
    let (short, long) = match item {
        ValueRef::Text(text) => {
            own.extend_from_slice(text.as_bytes());
            (b't', b'T')
        }
        ValueRef::Json(value) => {
            // INVARIANT: every value can be written, and a vector takes it.
            let _ = serde_json::to_writer(&mut *own, value);
            (if value.is_i64() { b'i' } else { b'j' }, b'J')
        }
    };
    let length = own.len() - start - HEAD_BYTES;
    let digit = |place: usize| (length >> (7 * place)).to_le_bytes()[0] & 0x7f;
    if length < 1 << 14 {
        own[start..start + HEAD_BYTES].copy_from_slice(&[short, digit(0), digit(1)]);
    } else {
        // Nobody reads a token or an answer of 256 MiB.
        let head = [long, digit(0), digit(1), digit(2), digit(3)];
        own.splice(start..start + HEAD_BYTES, head);
    }
}

/// A block of its size, and no larger one that was cut.
fn text(own: &[u8]) -> Box<str> {
    // INVARIANT: it was written by `push`, which writes texts and ASCII.
    std::str::from_utf8(own).map(Box::from).unwrap_or_default()
}

/// The first value of a text: its kind, its text, and what comes after it.
fn pop(own: &str) -> Option<(u8, &str, &str)> {
    let bytes = own.as_bytes();
    let kind = *bytes.first()?;
    let digit = |place: usize| Some(usize::from(*bytes.get(1 + place)?) << (7 * place));
    let mut length = digit(0)? | digit(1)?;
    let mut start = HEAD_BYTES;
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
mod tests;
