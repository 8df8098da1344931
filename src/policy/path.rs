//! Reads a path into decoded segments, or refuses it because two servers could read it differently.
//!
//! Rules, in strict mode (the default); each has the attack that it stops in a test below:
//!
//! - The query is cut by the caller at the first `?`; what is left must begin with `/`.
//! - One decoding, never two: `%25` before two hexadecimal digits is refused, so nobody downstream
//!   finds a second layer.
//! - Refused raw **and** encoded: dot segments, `\`, `;`, control characters, text that is no UTF-8,
//!   U+FFFD. Refused encoded: `/`. Refused raw: empty segments (`//`), `#`, white space, anything
//!   outside ASCII, `!` (Envoy writes it for bytes that are no UTF-8), bad percent escapes.
//! - `%3F` and `%23` are text of their segment: they end no path, and no literal of a template holds
//!   them. There is no Unicode folding: U+FF0F is not `/`.
//! - At most [`PATH_BYTES_MAX`] bytes and [`SEGMENTS_MAX`] segments; one pass, linear time.
//!
//! A trailing slash makes a last, empty segment: `/a/` is `["a", ""]`, `/` is `[""]`.
//!
//! It deliberately does not follow Envoy's own normalisation: what Envoy has not normalised is
//! refused instead of guessed at. Options loosen single rules where an API says so.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::policy::declared::PathOptions;

/// The longest path that is read, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// The most segments that a path may have.
pub const SEGMENTS_MAX: usize = 256;

/// How an encoded slash stands in a segment where it is kept: no literal of a template holds it.
const KEPT_SLASH: &str = "%2F";

/// Decoded segments: borrowed from the request where nothing had to be decoded.
pub type Segments<'a> = SmallVec<[Cow<'a, str>; 10]>;

/// Why a path cannot be read with certainty: a sentence for the log, from a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguity(pub &'static str);

const TOO_LONG: Ambiguity = Ambiguity("the path is longer than 8 KiB");
const TOO_MANY_SEGMENTS: Ambiguity = Ambiguity("the path has more than 256 segments");
const EMPTY: Ambiguity = Ambiguity("the path is empty");
const NO_LEADING_SLASH: Ambiguity = Ambiguity("the path does not begin with a slash");
const DOUBLE_SLASH: Ambiguity = Ambiguity("the path holds an empty segment");
const DOT_SEGMENT: Ambiguity = Ambiguity("the path holds a dot segment");
const ENCODED_DOT_SEGMENT: Ambiguity = Ambiguity("the path holds an encoded dot segment");
const ABOVE_ROOT: Ambiguity = Ambiguity("the path climbs above its root");
const ENCODED_SLASH: Ambiguity = Ambiguity("the path holds an encoded slash");
const BACKSLASH: Ambiguity = Ambiguity("the path holds a backslash");
const PARAMETER: Ambiguity = Ambiguity("the path holds a path parameter");
const CONTROL: Ambiguity = Ambiguity("the path holds a control character");
const SPACE: Ambiguity = Ambiguity("the path holds raw white space");
const FRAGMENT: Ambiguity = Ambiguity("the path holds a raw number sign");
const NOT_ASCII: Ambiguity = Ambiguity("the path holds a raw character outside ascii");
const SUBSTITUTION: Ambiguity = Ambiguity("the path may hold a byte that envoy has replaced");
const BAD_ESCAPE: Ambiguity = Ambiguity("the path holds a bad percent escape");
const DOUBLE_ENCODING: Ambiguity = Ambiguity("the path is encoded twice");
const NOT_UTF8: Ambiguity = Ambiguity("the path holds bytes that are no utf-8");

/// Reads the path (without its query) into decoded segments.
///
/// # Errors
/// [`Ambiguity`] names the rule of the module's list that the path breaks.
pub fn read(path: &str, options: PathOptions) -> Result<Segments<'_>, Ambiguity> {
    if path.len() > PATH_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { EMPTY } else { NO_LEADING_SLASH });
    };
    let mut segments = Segments::new();
    let mut pieces = rest.split('/').peekable();
    // Whether the piece before this one was empty: `/a//../b` means two things to two servers.
    let mut after_empty = false;
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        if piece.is_empty() && !last {
            if !options.merge_slashes {
                return Err(DOUBLE_SLASH);
            }
            after_empty = true;
            continue;
        }
        match piece {
            "." | ".." if !options.resolve_dot_segments => return Err(DOT_SEGMENT),
            "." => {
                if last {
                    segments.push(Cow::Borrowed(""));
                }
            }
            ".." => {
                if after_empty {
                    return Err(DOUBLE_SLASH);
                }
                if segments.pop().is_none() {
                    return Err(ABOVE_ROOT);
                }
                if last {
                    segments.push(Cow::Borrowed(""));
                }
            }
            _ => {
                if segments.len() == SEGMENTS_MAX {
                    return Err(TOO_MANY_SEGMENTS);
                }
                segments.push(decode(piece, options)?);
            }
        }
        after_empty = false;
    }
    if options.ignore_trailing_slash && segments.last().is_some_and(|segment| segment.is_empty()) {
        segments.pop();
    }
    Ok(segments)
}

/// What a raw byte of a segment means. `/` never gets here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Plain,
    Percent,
    Exclamation,
    Refuse(Ambiguity),
}

const fn meaning(byte: u8) -> Byte {
    match byte {
        b'%' => Byte::Percent,
        b'!' => Byte::Exclamation,
        b'\\' => Byte::Refuse(BACKSLASH),
        b';' => Byte::Refuse(PARAMETER),
        b'#' => Byte::Refuse(FRAGMENT),
        // A `?` ends the path before we are asked.
        b' ' | b'\t' => Byte::Refuse(SPACE),
        0..=0x1f | 0x7f => Byte::Refuse(CONTROL),
        0x80..=0xff => Byte::Refuse(NOT_ASCII),
        _ => Byte::Plain,
    }
}

/// Decodes one segment once. A segment without escapes is borrowed.
fn decode(piece: &str, options: PathOptions) -> Result<Cow<'_, str>, Ambiguity> {
    let mut escaped = false;
    for &byte in piece.as_bytes() {
        match meaning(byte) {
            Byte::Plain => {}
            Byte::Percent => escaped = true,
            Byte::Exclamation if options.allow_exclamation => {}
            Byte::Exclamation => return Err(SUBSTITUTION),
            Byte::Refuse(ambiguity) => return Err(ambiguity),
        }
    }
    if escaped {
        unescape(piece.as_bytes(), options).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(piece))
    }
}

fn unescape(piece: &[u8], options: PathOptions) -> Result<String, Ambiguity> {
    let mut decoded = Vec::with_capacity(piece.len());
    // Where an encoded slash was kept as text: the only `%` that may look like an escape afterwards.
    let mut kept: SmallVec<[usize; 4]> = SmallVec::new();
    let mut at = 0;
    while let Some(&byte) = piece.get(at) {
        if byte != b'%' {
            decoded.push(byte);
            at += 1;
            continue;
        }
        match escape_at(piece, at).ok_or(BAD_ESCAPE)? {
            b'/' if options.keep_encoded_slash => {
                kept.push(decoded.len());
                decoded.extend_from_slice(KEPT_SLASH.as_bytes());
            }
            b'/' => return Err(ENCODED_SLASH),
            b'\\' => return Err(BACKSLASH),
            b';' => return Err(PARAMETER),
            0..=0x1f | 0x7f => return Err(CONTROL),
            value => decoded.push(value),
        }
        at += 3;
    }
    // SECURITY: the second layer that a careless server would take off (`%252e`, and `%25%32%65`).
    let twice = |index: &usize| decoded[*index] == b'%' && two_digits(&decoded, *index + 1) && !kept.contains(index);
    if (0..decoded.len()).any(|index| twice(&index)) {
        return Err(DOUBLE_ENCODING);
    }
    let decoded = String::from_utf8(decoded).map_err(|_| NOT_UTF8)?;
    if decoded.chars().any(char::is_control) {
        return Err(CONTROL);
    }
    if decoded.contains('\u{fffd}') {
        return Err(SUBSTITUTION);
    }
    let climbs = |part: &str| part == "." || part == "..";
    if climbs(&decoded) {
        return Err(ENCODED_DOT_SEGMENT);
    }
    // A server that splits at a kept slash must not find a dot segment or an empty one either.
    if !kept.is_empty() && decoded.split(KEPT_SLASH).any(|part| part.is_empty() || climbs(part)) {
        return Err(ENCODED_SLASH);
    }
    Ok(decoded)
}

/// The byte that the escape at this place stands for.
fn escape_at(piece: &[u8], at: usize) -> Option<u8> {
    let high = char::from(*piece.get(at + 1)?).to_digit(16)?;
    let low = char::from(*piece.get(at + 2)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

fn two_digits(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at..at + 2)
        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests;
