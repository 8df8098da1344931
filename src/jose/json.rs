//! A strict reader of JSON objects from strangers.
//!
//! `serde_json` keeps the last of two equal members, so that two readers of one text can see two
//! meanings. Here:
//! - a member that occurs twice, at any level and however it is escaped, refuses the text;
//! - nesting and the count of values are bounded while reading, so that neither building nor
//!   dropping the value can exhaust the stack;
//! - the text is one object in UTF-8 without a byte order mark, and nothing follows it;
//! - a number that does not fit (`1e400`) refuses the text. Whole numbers up to 64 bits are kept
//!   exactly, others as a float; whoever wants a whole number asks for one and refuses the float.
//!
//! It does not bound the size of the text: the caller knows what is large for its purpose.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::jose::object::{MemberValue, Object, Span};

/// What a text may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep arrays and objects may nest; the outermost object is level 1.
    pub depth_max: usize,
    /// How many values there may be in all: members, elements and what is inside them.
    pub values_max: usize,
}

impl Limits {
    /// For a header or the claims of a token, whose text is a few KiB at most.
    pub const TOKEN: Self = Self {
        depth_max: 16,
        values_max: 2048,
    };

    /// For a document that was fetched: a key set, a discovery document, an introspection answer.
    pub const DOCUMENT: Self = Self {
        depth_max: 16,
        values_max: 8192,
    };
}

/// A text that is not one JSON object as this module wants it. The message never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with unique members within the limits of depth and size")]
pub struct InvalidJson;

/// Reads one object into a map.
///
/// # Errors
/// [`InvalidJson`] when the text breaks a rule of this module.
pub fn map(text: &[u8], limits: Limits) -> Result<Map<String, Value>, InvalidJson> {
    object(text.to_vec(), limits).map(|object| object.to_map())
}

/// Reads one object and leaves its strings where they are.
///
/// # Errors
/// [`InvalidJson`] when the text breaks a rule of this module.
pub fn object(text: Vec<u8>, limits: Limits) -> Result<Object, InvalidJson> {
    // Checked as a whole: serde_json looks at the bytes inside of strings only.
    let text = String::from_utf8(text).map_err(|_| InvalidJson)?;
    // One for the object itself.
    let mut values_left = limits.values_max.checked_sub(1).ok_or(InvalidJson)?;
    let mut reader = serde_json::Deserializer::from_str(&text);
    let members = reader
        .deserialize_map(Members {
            text: &text,
            depth_left: limits.depth_max.checked_sub(1).ok_or(InvalidJson)?,
            values_left: &mut values_left,
        })
        .map_err(|_| InvalidJson)?;
    reader.end().map_err(|_| InvalidJson)?;
    // SECURITY: as in `Strict::visit_map`.
    Object::new(text, members).ok_or(InvalidJson)
}

/// Builds the members of the outermost object. Whether one occurs twice is for [`Object::new`] to say.
struct Members<'l> {
    text: &'l str,
    depth_left: usize,
    values_left: &'l mut usize,
}

/// Room for a usual token's claims.
const MEMBERS_USUAL: usize = 16;

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<(Span, MemberValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(MEMBERS_USUAL);
        while let Some(name) = entries.next_key_seed(Name(self.text))? {
            let value = entries.next_value_seed(Member {
                text: self.text,
                strict: Strict {
                    depth_left: self.depth_left,
                    values_left: &mut *self.values_left,
                },
            })?;
            members.push((name, value));
        }
        Ok(members)
    }
}

/// A string, where it is in the text.
struct Name<'l>(&'l str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Span;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Span, E> {
        Ok(Span::among(self.0, name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Span, E> {
        Ok(Span::Own(name.into()))
    }
}

/// The value of a member of the outermost object: a string, where it is in the text, or a value of its own.
struct Member<'l> {
    text: &'l str,
    strict: Strict<'l>,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = MemberValue;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<MemberValue, D::Error> {
        self.strict.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = MemberValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.strict.expecting(f)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<MemberValue, E> {
        self.strict.visit_unit().map(MemberValue::Json)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<MemberValue, E> {
        self.strict.visit_bool(value).map(MemberValue::Json)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<MemberValue, E> {
        self.strict.visit_i64(value).map(MemberValue::Json)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<MemberValue, E> {
        self.strict.visit_u64(value).map(MemberValue::Json)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<MemberValue, E> {
        self.strict.visit_f64(value).map(MemberValue::Json)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<MemberValue, E> {
        Ok(MemberValue::Text(Span::among(self.text, value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<MemberValue, E> {
        Ok(MemberValue::Text(Span::Own(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<MemberValue, A::Error> {
        self.strict.visit_seq(elements).map(MemberValue::Json)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<MemberValue, A::Error> {
        self.strict.visit_map(entries).map(MemberValue::Json)
    }
}

/// Builds one value, counting down what is left of the limits.
struct Strict<'l> {
    depth_left: usize,
    values_left: &'l mut usize,
}

impl Strict<'_> {
    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        *self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("too many values"))?;
        Ok(())
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(Strict {
            depth_left,
            values_left: &mut *self.values_left,
        })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict {
                depth_left,
                values_left: &mut *self.values_left,
            })?;
            // SECURITY: first and last of two equal members are both what an attacker wants read
            // by one of two readers (attack A22, case J18).
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

/// The whole number of a member: not a float, a string, a boolean or something that does not fit.
#[must_use]
pub(crate) fn whole_number(value: &Value) -> Option<i64> {
    // `as_i64` answers for numbers that were written as whole ones only: `1.0` and `1e3` are floats.
    value.as_i64()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::jose::object::ValueRef;
    use crate::testing::json::value;

    /// What is read; what is accepted at all, is what a generous reader finds.
    fn read_bytes(text: &[u8]) -> Result<Map<String, Value>, InvalidJson> {
        let object = object(text.to_vec(), Limits::TOKEN)?;
        let map: Map<String, Value> = serde_json::from_slice(text).expect("JSON");
        for (name, value) in &map {
            assert_eq!(object.get(name), Some(ValueRef::from(value)), "{name}");
        }
        assert_eq!(object.iter().len(), map.len());
        assert_eq!(object.get("no such name"), None);
        assert_eq!(Object::from(map.clone()), object);
        assert_eq!(super::map(text, Limits::TOKEN), Ok(map.clone()));
        Ok(map)
    }

    fn read(text: &str) -> Result<Map<String, Value>, InvalidJson> {
        read_bytes(text.as_bytes())
    }

    #[test]
    fn attack_a22_edge_j18_a_member_that_occurs_twice_refuses_the_text() {
        for (name, text) in [
            ("equal", r#"{"alg":"RS256","alg":"none"}"#),
            ("equal values", r#"{"sub":"a","sub":"a"}"#),
            ("apart", r#"{"aud":1,"x":2,"aud":3}"#),
            ("escaped", r#"{"alg":1,"al\u0067":2}"#),
            ("nested", r#"{"cnf":{"jkt":"a","jkt":"b"}}"#),
            ("in an array", r#"{"x":[{"a":1,"a":2}]}"#),
            ("empty name", r#"{"":1,"":2}"#),
        ] {
            assert_eq!(read(text), Err(InvalidJson), "{name}");
        }
        assert!(read(r#"{"a":{"x":1},"b":{"x":1},"A":1}"#).is_ok());
    }

    #[test]
    fn attack_a23_odd_unicode_is_refused_or_kept_as_it_is() {
        assert!(read(r#"{"al\u0067":"RS256"}"#).is_ok_and(|map| map.contains_key("alg")));
        assert!(read(r#"{"a\u0000":1}"#).is_ok_and(|map| map.contains_key("a\0")));
        let bom = "\u{feff}{}";
        for (name, bytes) in [
            ("lone surrogate", br#"{"a":"\ud800"}"#.as_slice()),
            ("reversed surrogates", br#"{"a":"\udc00\ud800"}"#),
            ("invalid utf-8 in a string", b"{\"a\":\"\xc3\x28\"}"),
            ("invalid utf-8 in a name", b"{\"\xff\":1}"),
            ("overlong", b"{\"a\":\"\xc0\xaf\"}"),
            ("invalid utf-8 outside", b"{}\xff"),
            ("byte order mark", bom.as_bytes()),
            ("raw NUL in a string", b"{\"a\":\"\0\"}"),
            ("utf-16", b"{\0}\0"),
        ] {
            assert_eq!(read_bytes(bytes), Err(InvalidJson), "{name}");
        }
    }

    #[test]
    fn attack_a34_edge_j19_nesting_is_bounded_without_recursion_to_it() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        // The outermost object is the first level of sixteen.
        assert!(read(&nested(15)).is_ok());
        assert_eq!(read(&nested(16)), Err(InvalidJson));
        assert_eq!(read(&nested(100_000)), Err(InvalidJson));
        assert_eq!(read(&"{\"a\":".repeat(100_000)), Err(InvalidJson));
    }

    #[test]
    fn attack_a35_the_count_of_values_is_bounded() {
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|index| format!("\"m{index}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        // The object itself is one value.
        assert!(read(&members(2047)).is_ok());
        assert_eq!(read(&members(2048)), Err(InvalidJson));
        assert_eq!(
            read(&format!("{{\"a\":[{}0]}}", "0,".repeat(100_000))),
            Err(InvalidJson)
        );
        assert_eq!(read(&format!("{{\"a\":{}}}", "9".repeat(100_000))), Err(InvalidJson));
    }

    #[test]
    fn attack_a25_numbers_are_whole_or_floats_and_never_overflow() {
        let number = |text: &str| read(&format!("{{\"n\":{text}}}")).map(|map| whole_number(&map["n"]));
        for (text, outcome) in [
            ("0", Ok(Some(0))),
            ("-1", Ok(Some(-1))),
            ("9223372036854775807", Ok(Some(i64::MAX))),
            ("9223372036854775808", Ok(None)),
            ("18446744073709551616", Ok(None)),
            ("1.0", Ok(None)),
            ("1234.5678", Ok(None)),
            ("1e3", Ok(None)),
            ("2.001e+206", Ok(None)),
            ("1e400", Err(InvalidJson)),
            ("-1e400", Err(InvalidJson)),
            ("NaN", Err(InvalidJson)),
            ("Infinity", Err(InvalidJson)),
            ("01", Err(InvalidJson)),
            ("+1", Err(InvalidJson)),
            ("0x10", Err(InvalidJson)),
            ("true", Ok(None)),
            ("null", Ok(None)),
            ("[]", Ok(None)),
            ("\"1\"", Ok(None)),
        ] {
            assert_eq!(number(text), outcome, "{text}");
        }
    }

    proptest! {
        #[test]
        fn attack_a22_what_is_accepted_has_each_name_once_however_it_is_written(
            members in vec(("[a-c]{0,2}|\\PC{0,3}", value(), any::<bool>()), 0..8),
        ) {
            let names: std::collections::HashSet<_> = members.iter().map(|(name, ..)| name).collect();
            let is_unique = names.len() == members.len();
            // Some of the names all in escapes.
            let members = members.iter().map(|(name, value, is_escaped)| {
                let name = if *is_escaped {
                    let units = name.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
                    format!("\"{}\"", units.collect::<String>())
                } else {
                    Value::from(name.as_str()).to_string()
                };
                format!("{name} : {value}")
            });
            let text = format!(" {{ {} }} ", members.collect::<Vec<_>>().join(" , "));
            prop_assert_eq!(read(&text).is_ok(), is_unique);
        }
    }

    #[test]
    fn only_one_object_is_read() {
        for text in [
            "",
            "[]",
            "1",
            "\"a\"",
            "null",
            "{}{}",
            "{} x",
            "{",
            "{\"a\"}",
            "{'a':1}",
            "{\"a\":1,}",
        ] {
            assert_eq!(read(text), Err(InvalidJson), "{text}");
        }
        assert!(read(" {\n\t\"a\" : 1 } ").is_ok());
    }
}
