//! What the request's own headers say, and how far it can be believed.

use crate::policy::facts::{Occurrence, RequestFacts};

/// Headers whose value is a list or free text by its own specification: a comma in them is no sign
/// that two lines were joined.
const LISTS: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "date",
    "if-modified-since",
    "user-agent",
    "via",
];

/// The value of a header that is present, if every server reads it alike; `None` if it is repeated,
/// looks joined, or holds bytes that are no UTF-8 (for which Envoy writes `!` unless it sends raw
/// headers).
#[must_use]
pub fn certain<'a>(facts: &RequestFacts<'a>, name: &str) -> Option<&'a str> {
    let Occurrence::Once(value) = facts.header(name) else {
        return None;
    };
    let value = std::str::from_utf8(value).ok()?;
    let substituted = value.contains('\u{fffd}') || (!facts.raw_headers && value.contains('!'));
    let joined = value.contains(',') && !LISTS.contains(&name);
    let control = value.chars().any(char::is_control);
    (!substituted && !joined && !control).then_some(value)
}
