//! Text from peers, made fit for a log: one line, bounded, without what reads as a credential.
//!
//! Rules:
//! 1. A query or fragment never gets past here ([`path_alone`]), nor the user information of an authority ([`host_alone`]).
//! 2. What looks like a JWS is replaced wherever it stands ([`without_tokens`]): a client may put its
//!    token into a path by mistake, and a log is read by more people than may use that token.
//! 3. No character that moves a terminal's cursor, ends a line or turns the reading direction is
//!    written as itself ([`OneLine`], [`is_unprintable`]; attack E17).
//!
//! This is the second line of defence: the rooms that report events already leave queries out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde_json::ser::Formatter;

/// What stands in a log for a text that reads as a token.
const TOKEN_PLACEHOLDER: &str = "[token]";

/// The shortest run that is taken for a JWS: `eyJ` begins the base64url of every `{"`, and no
/// protected header is shorter than `{"alg":"ES256"}`.
const TOKEN_BYTES_MIN: usize = 20;

/// The path without its query and fragment.
pub(super) fn path_alone(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The authority without its user information (RFC 3986 section 3.2.1), which may hold a password.
pub(super) fn host_alone(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or_default()
}

/// The text with everything replaced that reads as a compact JWS or JWE.
pub(super) fn without_tokens(text: &str) -> Cow<'_, str> {
    let Some(mut begin) = token_start(text) else {
        return Cow::Borrowed(text);
    };
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    loop {
        let (before, token) = rest.split_at(begin);
        out.push_str(before);
        let end = token
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .unwrap_or(token.len());
        out.push_str(TOKEN_PLACEHOLDER);
        rest = &token[end..];
        match token_start(rest) {
            Some(next) => begin = next,
            None => break,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first run begins that is long enough to be a token.
fn token_start(text: &str) -> Option<usize> {
    text.match_indices("eyJ").map(|(at, _)| at).find(|&at| {
        text[at..]
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            .take(TOKEN_BYTES_MIN)
            .count()
            == TOKEN_BYTES_MIN
    })
}

/// The text cut at a character's edge, with `…` where something was cut.
pub(super) fn capped(text: Cow<'_, str>, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return text;
    }
    let cut = &text[..text.floor_char_boundary(bytes_max)];
    Cow::Owned(format!("{cut}…"))
}

/// Whether a character may not be written as itself: controls (C0, DEL, C1), line and paragraph
/// separators, and the marks that turn the reading direction.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// JSON in which every character of [`is_unprintable`] is an escape. `serde_json` alone escapes C0
/// only, which leaves the one-byte CSI (U+009B) that some terminals obey.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unprintable(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // All of them lie in the basic plane: one escape is enough.
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// One finished log line with whatever would break it escaped, in the form that is also right within
/// the strings of a JSON line.
pub(super) fn one_line(line: &str) -> Cow<'_, str> {
    if !line.contains(is_unprintable) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_unprintable(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_query_fragment_and_user_information() {
        for (path, alone) in [("/a?b=c", "/a"), ("/a#b?c", "/a"), ("?x", ""), ("/a", "/a")] {
            assert_eq!(path_alone(path), alone);
        }
        assert_eq!(host_alone("ada:secret@bank.example:8443"), "bank.example:8443");
        assert_eq!(host_alone("a@b@bank.example"), "bank.example");
    }

    #[test]
    fn attack_e18_replaces_what_reads_as_a_token() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        assert_eq!(without_tokens(&format!("/v1/{token}/x")), "/v1/[token]/x");
        assert_eq!(without_tokens(&format!("{token}/{token}")), "[token]/[token]");
        assert_eq!(without_tokens("/eyJ/short"), "/eyJ/short");
        assert!(matches!(without_tokens("/plain"), Cow::Borrowed("/plain")));
    }

    #[test]
    fn caps_at_a_characters_edge() {
        assert_eq!(capped(Cow::Borrowed("abc"), 3), "abc");
        assert_eq!(capped(Cow::Borrowed("abcd"), 3), "abc…");
        assert_eq!(capped(Cow::Borrowed("aüüü"), 2), "a…");
    }

    #[test]
    fn attack_e17_no_unprintable_character_survives() {
        let nasty: String = (0..=0x2100_u32).filter_map(char::from_u32).collect();
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, OneLine);
        serde::Serialize::serialize(&nasty, &mut serializer).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(is_unprintable));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), nasty);
        assert!(!one_line(&nasty).contains(is_unprintable));
        for c in [
            '\0', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}',
        ] {
            assert!(is_unprintable(c), "{c:?}");
        }
        for c in [' ', 'a', 'ü', '„', '漢', '\u{1f600}'] {
            assert!(!is_unprintable(c), "{c:?}");
        }
    }
}
