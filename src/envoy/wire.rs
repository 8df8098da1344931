//! Writes protobuf: just what an answer needs, straight into the buffer that goes out.
//!
//! A message that is nested in another is written in place and its length is put before it afterwards. The messages of an
//! answer are small, so moving a message's bytes by one or two places costs less than measuring it beforehand or a buffer
//! of its own.

/// A field's tag for a length-delimited value. Every field that we write has a number below 16.
const fn delimited(number: u8) -> u8 {
    number << 3 | 2
}

/// A message that is being written to the end of a buffer.
pub(super) struct Message<'b>(pub(super) &'b mut Vec<u8>);

impl Message<'_> {
    /// A `string` or `bytes` field. An empty one is left out, as proto3 does.
    #[inline]
    pub(super) fn text(&mut self, number: u8, text: &str) {
        if !text.is_empty() {
            self.parts(number, &[text]);
        }
    }

    /// A `string` field put together from parts; written even if empty (a member of a oneof must be).
    #[inline]
    pub(super) fn parts(&mut self, number: u8, parts: &[&str]) {
        self.0.push(delimited(number));
        let length: usize = parts.iter().map(|part| part.len()).sum();
        varint(self.0, length as u64);
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    /// A varint field; written even if zero.
    pub(super) fn number(&mut self, number: u8, value: u64) {
        self.0.push(number << 3);
        varint(self.0, value);
    }

    /// A `double` field; written even if zero.
    pub(super) fn double(&mut self, number: u8, value: f64) {
        self.0.push(number << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A nested message; written even if empty.
    #[inline]
    pub(super) fn message(&mut self, number: u8, write: impl FnOnce(&mut Message<'_>)) {
        self.0.push(delimited(number));
        self.0.push(0);
        let start = self.0.len();
        write(&mut Message(self.0));
        let length = self.0.len() - start;
        if length < 0x80 {
            self.0[start - 1] = length.to_le_bytes()[0];
            return;
        }
        let more = varint_bytes(length) - 1;
        self.0.resize(start + length + more, 0);
        self.0.copy_within(start..start + length, start + more);
        let mut rest = length;
        for place in &mut self.0[start - 1..start - 1 + more] {
            *place = rest.to_le_bytes()[0] | 0x80;
            rest >>= 7;
        }
        self.0[start - 1 + more] = rest.to_le_bytes()[0];
    }

    /// A nested message of two `string` fields, 1 and 2; an empty one is left out. The same as [`Message::message`]
    /// makes of them, with its length known beforehand.
    pub(super) fn pair(&mut self, number: u8, first: &str, second: &str) {
        let field = |text: &str| {
            if text.is_empty() {
                0
            } else {
                1 + varint_bytes(text.len()) + text.len()
            }
        };
        self.0.push(delimited(number));
        varint(self.0, (field(first) + field(second)) as u64);
        self.text(1, first);
        self.text(2, second);
    }

    /// One entry of a `Struct`'s fields (field 1) with a `string_value`: the same as nested messages make of it, with
    /// their lengths known beforehand.
    #[inline]
    pub(super) fn text_entry(&mut self, key: &str, text: &str) {
        let value = 1 + varint_bytes(text.len()) + text.len();
        let entry = 1 + varint_bytes(key.len()) + key.len() + 1 + varint_bytes(value) + value;
        self.0.reserve(1 + varint_bytes(entry) + entry);
        self.0.push(delimited(1));
        varint(self.0, entry as u64);
        self.text(1, key);
        self.0.push(delimited(2));
        varint(self.0, value as u64);
        self.parts(3, &[text]);
    }
}

/// How many bytes a length takes.
#[inline]
fn varint_bytes(value: usize) -> usize {
    ((value | 1).ilog2() as usize) / 7 + 1
}

#[inline]
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_beforehand_is_what_nesting_writes() {
        for length in [
            0, 1, 2, 100, 117, 118, 119, 120, 126, 127, 128, 129, 300, 16_370, 16_384, 20_000,
        ] {
            let text = "x".repeat(length);
            let (mut nested, mut measured) = (vec![7], vec![7]);
            Message(&mut nested).message(1, |entry| {
                entry.text(1, "key");
                entry.message(2, |value| value.parts(3, &[&text]));
            });
            Message(&mut measured).text_entry("key", &text);
            assert_eq!(nested, measured, "{length}");
            Message(&mut nested).message(2, |header| {
                header.text(1, "name");
                header.text(2, &text);
            });
            Message(&mut measured).pair(2, "name", &text);
            assert_eq!(nested, measured, "{length}");
        }
    }
}
