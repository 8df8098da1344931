//! One JSON object as it was read: its text, and where in the text its members are.
//!
//! A gate reads the claims of each new token once, compares most of them and copies a few. A map has a block of memory
//! for each name and each string, made to be thrown away; this has one for the text and one for the places, and only
//! escaped strings and nested values have more. [`json`](crate::jose::json) says what is accepted.

use std::ops::Range;

use serde_json::{Map, Value};

/// A JSON object with unique members, read by [`json::object`](crate::jose::json::object).
#[derive(Clone, Default)]
pub struct Object {
    text: String,
    /// By name.
    members: Vec<(Span, MemberValue)>,
}

/// The value of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'o> {
    /// A string.
    Text(&'o str),
    /// Anything else.
    Json(&'o Value),
}

/// A string of an object.
#[derive(Debug, Clone)]
pub(in crate::jose) enum Span {
    /// It stands like this in the text.
    InText(Range<usize>),
    /// Its own: written with escapes, or made from a map.
    Own(Box<str>),
}

/// What a member holds.
#[derive(Debug, Clone)]
pub(in crate::jose) enum MemberValue {
    Text(Span),
    Json(Value),
}

// === impl Object ===

impl Object {
    /// Takes members of this text, in any order. `None` if a name occurs twice.
    pub(in crate::jose) fn new(text: String, mut members: Vec<(Span, MemberValue)>) -> Option<Self> {
        members.sort_unstable_by(|(one, _), (other, _)| one.of(&text).cmp(other.of(&text)));
        let is_unique = members
            .windows(2)
            .all(|pair| pair[0].0.of(&text) != pair[1].0.of(&text));
        is_unique.then_some(Self { text, members })
    }

    /// The member with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ValueRef<'_>> {
        let found = self
            .members
            .binary_search_by(|(known, _)| known.of(&self.text).cmp(name));
        let (_, value) = self.members.get(found.ok()?)?;
        Some(value.of(&self.text))
    }

    /// The member with this name, if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Whether there is a member with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The members, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, ValueRef<'_>)> {
        self.members
            .iter()
            .map(|(name, value)| (name.of(&self.text), value.of(&self.text)))
    }

    /// The same as a map.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        self.iter()
            .map(|(name, value)| (name.to_owned(), value.to_json()))
            .collect()
    }
}

impl From<Map<String, Value>> for Object {
    fn from(map: Map<String, Value>) -> Self {
        let members = map.into_iter().map(|(name, value)| {
            let content = match value {
                Value::String(text) => MemberValue::Text(Span::Own(text.into_boxed_str())),
                other => MemberValue::Json(other),
            };
            (Span::Own(name.into_boxed_str()), content)
        });
        // INVARIANT: a map's names are unique, and in order.
        Self {
            text: String::new(),
            members: members.collect(),
        }
    }
}

impl PartialEq for Object {
    /// Whether the members are the same, however they were written.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl ValueRef ===

impl<'o> ValueRef<'o> {
    /// The string, if it is one.
    #[must_use]
    pub fn as_str(self) -> Option<&'o str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) => None,
        }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(self) -> Option<&'o [Value]> {
        match self {
            Self::Json(Value::Array(elements)) => Some(elements),
            _ => None,
        }
    }

    /// The whole number: not a float, a string, a boolean or something that does not fit.
    #[must_use]
    pub fn whole_number(self) -> Option<i64> {
        match self {
            Self::Json(value) => crate::jose::json::whole_number(value),
            Self::Text(_) => None,
        }
    }

    /// The same as a value of its own.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Json(value) => value.clone(),
        }
    }
}

impl<'o> From<&'o Value> for ValueRef<'o> {
    fn from(value: &'o Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            other => Self::Json(other),
        }
    }
}

// === impl Span ===

impl Span {
    /// `part`, which is a part of `text` or a string of its own.
    pub(in crate::jose) fn among(text: &str, part: &str) -> Self {
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr());
        let range = start.and_then(|start| Some(start..start.checked_add(part.len())?));
        match range.filter(|range| range.end <= text.len()) {
            Some(range) => Self::InText(range),
            None => Self::Own(part.into()),
        }
    }

    fn of<'o>(&'o self, text: &'o str) -> &'o str {
        match self {
            // INVARIANT: it was a part of this text.
            Self::InText(range) => text.get(range.clone()).unwrap_or_default(),
            Self::Own(own) => own,
        }
    }
}

impl MemberValue {
    fn of<'o>(&'o self, text: &'o str) -> ValueRef<'o> {
        match self {
            Self::Text(span) => ValueRef::Text(span.of(text)),
            Self::Json(value) => ValueRef::Json(value),
        }
    }
}
