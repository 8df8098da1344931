//! What a request must not carry, whatever its route: credentials in the query, a second method, and
//! a `Connection` header that takes our headers away again.
//!
//! Names are compared as lax servers read them: percent-decoded, without regard to case, `_` for `-`,
//! and up to a `[`. Values are neither kept nor reported: a value may be a credential.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::policy::facts::RequestFacts;
use crate::policy::forward::Forward;

/// The headers that some frameworks take the method from.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];

/// What the request says about a method other than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Override<'a> {
    /// Nothing.
    None,
    /// This one, everywhere the same.
    To(Cow<'a, str>),
    /// Several different ones, or one that cannot be read.
    Unclear,
}

/// The parameter names of a query, decoded, with their values as they are. `;` separates as well: older
/// servers split there.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    query.split(['&', ';']).filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = name.split('[').next().unwrap_or(name);
        let name = if name.contains('%') {
            // A name that is no UTF-8 is none of those that we look for.
            let decoded = percent_decode_str(name).decode_utf8_lossy().into_owned();
            Cow::Owned(decoded.split('[').next().unwrap_or_default().to_owned())
        } else {
            Cow::Borrowed(name)
        };
        (name, value)
    })
}

/// Whether the query carries an access token (RFC 6750 section 2.3, which RFC 9700 forbids).
#[must_use]
pub fn token_in_query(query: Option<&str>) -> bool {
    query.is_some_and(|query| parameters(query).any(|(name, _)| name.trim().eq_ignore_ascii_case("access_token")))
}

/// The method that override headers and `_method` ask for.
#[must_use]
pub fn method_override<'a>(facts: &RequestFacts<'a>) -> Override<'a> {
    let mut found = Override::None;
    for header in &facts.headers {
        if OVERRIDES.iter().any(|name| same_name(header.name, name)) {
            found = match std::str::from_utf8(header.value) {
                Ok(value) => also(found, Cow::Borrowed(value.trim())),
                Err(_) => Override::Unclear,
            };
        }
    }
    if let Some(query) = facts.query() {
        for (name, value) in parameters(query) {
            if name.trim().eq_ignore_ascii_case("_method") {
                found = match percent_decode_str(value).decode_utf8() {
                    Ok(value) => also(found, value),
                    Err(_) => Override::Unclear,
                };
            }
        }
    }
    found
}

fn also<'a>(found: Override<'a>, value: Cow<'a, str>) -> Override<'a> {
    match found {
        Override::None if !value.is_empty() => Override::To(value),
        Override::To(earlier) if earlier == value => Override::To(earlier),
        _ => Override::Unclear,
    }
}

/// Whether a `Connection` header names a header that we set or that carries the credential: a proxy
/// that honours it would take ours away, and leave the client's underscore twin.
#[must_use]
pub fn nominates_protected(facts: &RequestFacts<'_>, forward: &Forward) -> bool {
    facts
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .any(|header| {
            header
                .value
                .split(|byte| *byte == b',')
                .filter_map(|name| std::str::from_utf8(name).ok())
                .any(|name| forward.protects(name.trim()))
        })
}

/// Whether two header names are one for a server that reads `_` as `-`. `known` is lower case.
fn same_name(name: &str, known: &str) -> bool {
    name.len() == known.len()
        && name.bytes().zip(known.bytes()).all(|(byte, known)| {
            let byte = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            byte == known
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::request;

    #[test]
    fn edge_c06_a_token_in_the_query_is_found_under_every_spelling() {
        for query in [
            "access_token=a",
            "x=1&access_token=a",
            "x=1;access_token=a",
            "access_token",
            "access_token=",
            "access%5ftoken=a",
            "%61%63%63%65%73%73%5F%74%6F%6B%65%6E=a",
            "ACCESS_TOKEN=a",
            "access_token[]=a",
            "access_token%5B%5D=a",
            "%20access_token=a",
            "?access_token=a&access_token=b",
        ] {
            let query = query.trim_start_matches('?');
            assert!(token_in_query(Some(query)), "{query}");
        }
        for query in [
            "",
            "a=access_token",
            "access_tokens=a",
            "token=a",
            "access-token=a",
            "%=1",
            "%zz",
            "=access_token",
        ] {
            assert!(!token_in_query(Some(query)), "{query}");
        }
        assert!(!token_in_query(None));
    }

    #[test]
    fn edge_m01_overrides_agree_or_are_unclear() {
        let found = |line: &'static str, headers: &[&'static str]| method_override(&request(line, headers));
        let to = |method: &'static str| Override::To(Cow::Borrowed(method));
        assert_eq!(found("POST https://h/x", &[]), Override::None);
        assert_eq!(found("POST https://h/x", &["x-http-method: PUT"]), to("PUT"));
        assert_eq!(found("POST https://h/x", &["X_Method_Override:  PUT "]), to("PUT"));
        assert_eq!(
            found("POST https://h/x?_method=PUT", &["x-http-method: PUT"]),
            to("PUT")
        );
        assert_eq!(found("POST https://h/x?_method=P%55T", &[]), to("PUT"));
        assert_eq!(
            found("POST https://h/x?_method=PUT", &["x-http-method: GET"]),
            Override::Unclear
        );
        assert_eq!(found("POST https://h/x?_method=", &[]), Override::Unclear);
        assert_eq!(found("POST https://h/x?_method=%ff", &[]), Override::Unclear);
        assert_eq!(found("POST https://h/x?method=PUT", &["x-method: PUT"]), Override::None);
    }
}
