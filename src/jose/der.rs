//! The one bit of DER (ITU-T X.690) that this room reads and writes: tag, length, content.

/// The tag of a `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// The tag of an `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;

/// Splits one element with this tag off the front: its content and what follows. The length must
/// be in its shortest form, as DER demands.
pub(super) fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 3 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(octets)?;
        let length = digits
            .iter()
            .fold(0usize, |length, digit| length * 256 + usize::from(*digit));
        let shortest = digits[0] != 0 && length >= 0x80;
        if !shortest {
            return None;
        }
        (length, rest)
    };
    rest.split_at_checked(length)
}

/// The magnitude of a non-negative `INTEGER` without leading zero bytes, and what follows.
pub(super) fn unsigned(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, rest) = element(input, INTEGER)?;
    let magnitude = match content {
        [0, magnitude @ ..] => magnitude,
        [top, ..] if *top >= 0x80 => return None,
        magnitude => magnitude,
    };
    Some((magnitude, rest))
}

/// The tag and the length, in its shortest form, of an element with so much content.
pub(super) fn header(tag: u8, length: usize) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    match digits {
        [short] if *short < 0x80 => vec![tag, *short],
        long => {
            // A usize has eight bytes at most.
            let count = u8::try_from(long.len()).unwrap_or(u8::MAX);
            [&[tag, 0x80 | count], long].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_short_and_long_lengths_and_refuses_second_spellings() {
        let long = [&[SEQUENCE, 0x81, 0x80][..], &[7; 0x80], &[9]].concat();
        assert_eq!(element(&long, SEQUENCE), Some((&[7; 0x80][..], &[9][..])));
        assert_eq!(element(&[INTEGER, 1, 5], INTEGER), Some((&[5][..], &[][..])));
        for bad in [
            &[][..],
            &[INTEGER],
            &[INTEGER, 2, 1],
            &[SEQUENCE, 1, 5],
            &[INTEGER, 0x80, 5, 0, 0],
            &[INTEGER, 0x81, 1, 5],
            &[INTEGER, 0x82, 0, 1, 5],
            &[INTEGER, 0x84, 0, 0, 0, 1, 5],
        ] {
            assert_eq!(element(bad, INTEGER), None, "{bad:?}");
        }
    }

    #[test]
    fn an_unsigned_number_is_not_negative_and_loses_its_sign_byte() {
        assert_eq!(unsigned(&[INTEGER, 2, 0, 0xff]), Some((&[0xff][..], &[][..])));
        assert_eq!(unsigned(&[INTEGER, 1, 0xff]), None);
    }

    #[test]
    fn a_header_reads_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let written = [header(SEQUENCE, length), vec![7; length]].concat();
            assert_eq!(
                element(&written, SEQUENCE),
                Some((&vec![7; length][..], &[][..])),
                "{length}"
            );
        }
    }
}
