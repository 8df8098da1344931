//! Path templates: literals, `{name}`, and `{name...}` at the end.
//!
//! `{name}` matches one non-empty segment. `{name...}` matches what follows the slash, which may be
//! nothing: `/files/{rest...}` matches `/files/` and `/files/a/b`, not `/files`. A template is
//! compared with **decoded** segments, so its literals are written decoded.

use std::fmt;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// `{name}`: one segment.
    Capture(String),
    /// `{name...}`: the rest.
    Rest(String),
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

/// Why a text is no template: what is wrong and, if there is one, the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTemplate {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl BadTemplate {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The most segments that a template may have: as many as a path.
const SEGMENTS_MAX: usize = crate::policy::path::SEGMENTS_MAX;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`BadTemplate`] for the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(BadTemplate::new(format!("the path `{text}` does not begin with `/`")));
        };
        let pieces: Vec<&str> = rest.split('/').collect();
        if pieces.len() > SEGMENTS_MAX {
            return Err(BadTemplate::new(format!(
                "the path has more than {SEGMENTS_MAX} segments"
            )));
        }
        let mut segments = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            let last = index + 1 == pieces.len();
            let segment = parse_segment(text, piece, last)?;
            if let Segment::Capture(name) | Segment::Rest(name) = &segment
                && segments.iter().any(|earlier: &Segment| earlier.name() == Some(name))
            {
                return Err(BadTemplate::new(format!("the path `{text}` names `{{{name}}}` twice")));
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// A template of literals and captures that is known to be good.
    pub(in crate::policy) fn of(segments: Vec<Segment>) -> Self {
        let mut text = String::new();
        for segment in &segments {
            text.push('/');
            text.push_str(&segment.to_string());
        }
        Self { text, segments }
    }

    /// The segments. `/` has one, an empty literal.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its wildcards, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }
}

impl Segment {
    /// The name, if it is a wildcard.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Capture(name) | Self::Rest(name) => Some(name),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Capture(name) => write!(f, "{{{name}}}"),
            Self::Rest(name) => write!(f, "{{{name}...}}"),
        }
    }
}

/// The template as it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segment(text: &str, piece: &str, last: bool) -> Result<Segment, BadTemplate> {
    if piece.is_empty() {
        return if last {
            Ok(Segment::Literal(String::new()))
        } else {
            Err(BadTemplate::new(format!("the path `{text}` holds `//`")))
        };
    }
    if let Some(inner) = piece.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        let (name, rest) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err(
                BadTemplate::new(format!("`{piece}` in the path `{text}` is no wildcard"))
                    .hint("write `{name}` or `{name...}`, the name of letters, digits and `_`"),
            );
        }
        if rest && !last {
            return Err(
                BadTemplate::new(format!("`{piece}` is not the end of the path `{text}`"))
                    .hint("`{name...}` takes everything to the end"),
            );
        }
        return Ok(if rest {
            Segment::Rest(name.to_owned())
        } else {
            Segment::Capture(name.to_owned())
        });
    }
    literal(text, piece)
}

fn literal(text: &str, piece: &str) -> Result<Segment, BadTemplate> {
    if piece.contains(['{', '}']) {
        return Err(
            BadTemplate::new(format!("`{piece}` in the path `{text}` mixes text and a wildcard"))
                .hint("a wildcard is a whole segment: `/files/{name}`"),
        );
    }
    if piece == "." || piece == ".." {
        return Err(BadTemplate::new(format!("the path `{text}` holds a dot segment")));
    }
    if piece.contains('*') {
        return Err(BadTemplate::new(format!("`*` in the path `{text}` is no wildcard"))
            .hint("write `{name}` for one segment, `{rest...}` for everything below"));
    }
    if let Some(name) = piece.strip_prefix(':') {
        return Err(
            BadTemplate::new(format!("`{piece}` in the path `{text}` is no wildcard"))
                .hint(format!("write `{{{name}}}`")),
        );
    }
    if piece.contains('%') {
        return Err(BadTemplate::new(format!("the path `{text}` is percent-encoded"))
            .hint("write the path decoded: it is compared with decoded segments"));
    }
    if piece.contains('!') {
        return Err(BadTemplate::new(format!(
            "the path `{text}` holds `!`, which envoy also writes for bytes that are no utf-8"
        ))
        .hint("match that segment with a wildcard, and say `allow_exclamation`"));
    }
    let never = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ';' | '\\' | '?' | '#' | '\u{fffd}');
    if let Some(character) = piece.chars().find(|c| never(*c)) {
        return Err(BadTemplate::new(format!(
            "the path `{text}` holds {character:?}, which no path that is let in has"
        )));
    }
    Ok(Segment::Literal(piece.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_literals_captures_and_a_rest() {
        let template = Template::parse("/a/{id}/b/{rest...}").expect("valid");
        assert_eq!(
            template.segments(),
            [
                Segment::Literal("a".to_owned()),
                Segment::Capture("id".to_owned()),
                Segment::Literal("b".to_owned()),
                Segment::Rest("rest".to_owned()),
            ]
        );
        assert_eq!(template.to_string(), "/a/{id}/b/{rest...}");
        assert_eq!(Template::parse("/").expect("valid").segments().len(), 1);
        assert!(Template::parse("/café/{id}").is_ok());
    }

    #[test]
    fn attack_d18_refuses_templates_that_mean_nothing_or_two_things() {
        for (text, hint) in [
            ("", None),
            ("a", None),
            ("//", None),
            ("/a//b", None),
            ("/{", None),
            ("/{}", Some("{name}")),
            ("/{a b}", Some("{name}")),
            ("/{1a}", Some("{name}")),
            ("/{a}.json", Some("whole segment")),
            ("/{a}{b}", Some("{name}")),
            ("/x{a}", Some("whole segment")),
            ("/{a}/{a}", None),
            ("/{rest...}/b", Some("to the end")),
            ("/{...}", Some("{name}")),
            ("/a/*", Some("{rest...}")),
            ("/api/**", Some("{rest...}")),
            ("/users/:id", Some("{id}")),
            ("/a%2Fb", Some("decoded")),
            ("/a!", Some("allow_exclamation")),
            ("/a/../b", None),
            ("/.", None),
            ("/a b", None),
            ("/a;b", None),
            ("/a?b", None),
            ("/a#b", None),
            ("/a\\b", None),
            ("/a\u{7}", None),
        ] {
            let error = Template::parse(text).expect_err(text);
            let said = error.hint.unwrap_or_default();
            assert!(said.contains(hint.unwrap_or_default()), "{text}: {said}");
        }
    }
}
