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
    pub(super) fn text(&mut self, number: u8, text: &str) {
        if !text.is_empty() {
            self.parts(number, &[text]);
        }
    }

    /// A `string` field put together from parts; written even if empty (a member of a oneof must be).
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
        let mut prefix = [0; 10];
        let mut rest = length;
        let mut count = 0;
        while rest >= 0x80 {
            prefix[count] = rest.to_le_bytes()[0] | 0x80;
            rest >>= 7;
            count += 1;
        }
        prefix[count] = rest.to_le_bytes()[0];
        self.0.splice(start - 1..start, prefix.into_iter().take(count + 1));
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
