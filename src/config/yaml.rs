//! YAML text to a tree of nodes, each with its place.
//!
//! The file is read by one reader that keeps line and column of everything, so that a later finding
//! can point at the very text. What has two meanings is refused rather than chosen: a key that
//! stands twice, a second document, a tag, an anchor with its aliases.
//!
//! **Bounds:** [`TEXT_BYTES_MAX`], [`DEPTH_MAX`], [`NODES_MAX`]. Without aliases a text cannot grow
//! while it is read, so these are the bounds of memory too.
//!
//! Plain scalars have the types of the YAML 1.2 core schema (section 10.3.2): `true`, `12`, `0.5`,
//! `null`; `yes` and `on` are text, and so is whatever stands in quotes.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::model::finding::Finding;
use crate::model::location::Location;

/// The longest file that is read, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;

/// How deep mappings and sequences may nest.
pub(crate) const DEPTH_MAX: usize = 64;

/// How many scalars, sequences and mappings a file may hold.
pub(crate) const NODES_MAX: usize = 200_000;

/// A value of the file with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it starts.
    pub(crate) location: Location,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Text; `plain` if it stands without quotes, and so may be a number, a truth value or nothing.
    Scalar { text: String, plain: bool },
    /// `[a, b]`
    Sequence(Vec<Node>),
    /// `{ a: b }`, in the file's order, without duplicates.
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The key's text, whatever type it would have.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_location: Location,
    /// The value.
    pub(crate) value: Node,
}

/// A scalar by the core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(&'a str),
}

impl Node {
    /// The scalar by the core schema; `None` for a sequence or a mapping.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(resolve(text)),
            Kind::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// Whether the node says nothing: `key:` or `key: null`.
    pub(crate) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// The node's kind in the words of messages.
    pub(crate) fn describe(&self) -> &'static str {
        match (self.scalar(), &self.kind) {
            (Some(Scalar::Null), _) => "nothing",
            (Some(Scalar::Bool(_)), _) => "a truth value",
            (Some(Scalar::Integer(_) | Scalar::Float(_)), _) => "a number",
            (Some(Scalar::Text(_)), _) => "a text",
            (None, Kind::Sequence(_)) => "a list",
            (None, _) => "a mapping",
        }
    }
}

/// Reads one document.
///
/// `None` with a finding if the text is no YAML; a tree and findings where it is, but says something
/// that is refused.
pub(crate) fn read(text: &str) -> (Option<Node>, Vec<Finding>) {
    if text.len() > TEXT_BYTES_MAX {
        let finding = Finding::error("file_too_large", Location { line: 1, column: 1 }, {
            format!("the file has {} bytes; at most {TEXT_BYTES_MAX} are read", text.len())
        });
        return (None, vec![finding]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let outcome = match event {
            Ok((event, span)) => reader.take(event, place(span.start)),
            Err(error) => Err(syntax_error(text, error.info(), place(*error.marker()))),
        };
        if let Err(finding) = outcome {
            reader.findings.push(finding);
            return (None, reader.findings);
        }
    }
    if reader.root.is_none() && reader.findings.is_empty() {
        let nothing = Finding::error("empty_file", Location { line: 1, column: 1 }, "the file says nothing");
        reader
            .findings
            .push(nothing.hint("a configuration starts with `listeners:` and `apis:`"));
    }
    (reader.root, reader.findings)
}

/// A mapping or sequence that is not closed yet.
enum Open {
    Sequence(Location, Vec<Node>),
    Mapping(Location, OpenMapping),
}

#[derive(Default)]
struct OpenMapping {
    entries: Vec<Entry>,
    /// Every key so far: looking for it among the entries would be quadratic.
    seen: HashMap<String, Location>,
    /// The key whose value comes next.
    pending: Option<(String, Location)>,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
    findings: Vec<Finding>,
}

impl Reader {
    /// Takes one event; an error is one after which reading on makes no sense.
    fn take(&mut self, event: Event<'_>, location: Location) -> Result<(), Finding> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(
                        Finding::error("second_document", location, "a second document starts at `---`")
                            .hint("one file holds one configuration"),
                    );
                }
                Ok(())
            }
            Event::Alias(_) => Err(no_alias(location)),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(anchor, tag.is_some(), location)?;
                let plain = style == ScalarStyle::Plain;
                self.close(Node {
                    location,
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(anchor, tag.is_some(), location)?;
                self.start(Open::Sequence(location, Vec::new()), location)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(anchor, tag.is_some(), location)?;
                self.start(Open::Mapping(location, OpenMapping::default()), location)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(location, items)) => self.close(Node {
                    location,
                    kind: Kind::Sequence(items),
                }),
                Some(Open::Mapping(location, mapping)) => self.close(Node {
                    location,
                    kind: Kind::Mapping(mapping.entries),
                }),
                None => Ok(()),
            },
        }
    }

    fn refuse_properties(&mut self, anchor: usize, tag: bool, location: Location) -> Result<(), Finding> {
        if anchor != 0 {
            return Err(no_alias(location));
        }
        if tag {
            self.findings.push(
                Finding::error("yaml_tag", location, "a tag (`!…`) has no meaning here").hint("leave the tag out"),
            );
        }
        Ok(())
    }

    fn start(&mut self, open: Open, location: Location) -> Result<(), Finding> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Finding::error(
                "too_deep",
                location,
                format!("mappings and lists nest deeper than {DEPTH_MAX}"),
            ));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, node: Node) -> Result<(), Finding> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Finding::error(
                "too_many_values",
                node.location,
                format!("the file holds more than {NODES_MAX} values"),
            ));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, mapping)) => match mapping.pending.take() {
                Some((key, key_location)) => {
                    if let Some(first) = mapping.seen.get(&key) {
                        self.findings.push(twice(&key, *first, key_location));
                    } else {
                        mapping.seen.insert(key.clone(), key_location);
                        mapping.entries.push(Entry {
                            key,
                            key_location,
                            value: node,
                        });
                    }
                }
                None => match node.kind {
                    Kind::Scalar { text, .. } => mapping.pending = Some((text, node.location)),
                    Kind::Sequence(_) | Kind::Mapping(_) => {
                        return Err(Finding::error("key_not_text", node.location, {
                            format!("a key is {}", node.describe())
                        })
                        .hint("a key is a word, followed by `: `; a template in braces needs quotes"));
                    }
                },
            },
        }
        Ok(())
    }
}

fn twice(key: &str, first: Location, second: Location) -> Finding {
    let message = format!(
        "the key `{key}` stands twice: here and in line {}, column {}",
        first.line, first.column
    );
    Finding::error("duplicate_key", second, message).hint("keep one of them")
}

fn no_alias(location: Location) -> Finding {
    Finding::error(
        "yaml_alias",
        location,
        "anchors (`&…`) and aliases (`*…`) are not followed",
    )
    .hint("write the value out; a text that starts with `*` or `&` needs quotes")
}

/// The parser's own words with the usual causes, found in the line that it stopped at.
fn syntax_error(text: &str, info: &str, location: Location) -> Finding {
    let line = location
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index as usize))
        .unwrap_or_default();
    let finding = Finding::error("yaml_syntax", location, format!("this is no YAML: {info}"));
    let indent: String = line.chars().take_while(char::is_ascii_whitespace).collect();
    if indent.contains('\t') {
        finding.hint("indent with spaces: YAML allows no tab there")
    } else {
        finding.hint(
            "check indentation, closing quotes and brackets, and quote texts that hold `: `, ` #`, `{`, `[` or `*`",
        )
    }
}

fn place(marker: Marker) -> Location {
    Location {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// The core schema's reading of a plain scalar.
fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let based = |prefix: &str, base| {
        let digits = text.strip_prefix(prefix)?;
        let digits = digits
            .starts_with(|first: char| first.is_digit(base))
            .then_some(digits)?;
        i64::from_str_radix(digits, base).ok()
    };
    if let Some(number) = based("0o", 8).or_else(|| based("0x", 16)) {
        return Scalar::Integer(number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = unsigned
        .strip_prefix('.')
        .unwrap_or(unsigned)
        .starts_with(|first: char| first.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric {
        if let Ok(number) = text.parse::<i64>() {
            return Scalar::Integer(number);
        }
        if let Ok(number) = text.parse::<f64>() {
            return Scalar::Float(number);
        }
    }
    Scalar::Text(text)
}

#[cfg(test)]
mod tests;
