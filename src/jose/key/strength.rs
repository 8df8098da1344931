//! Whether a public key is worth verifying with, before a library parses it.

use crate::jose::jwk::{KeyRefusal, PublicJwk};

/// The smallest modulus in bits (RFC 7518 section 3.3).
const MODULUS_BITS_MIN: usize = 2048;
/// The largest modulus in bits: a verification grows with its square.
const MODULUS_BITS_MAX: usize = 8192;
/// The smallest exponent: with 1 every text is its own signature. 3 is small but sound where, as
/// here, the whole padding is compared and not searched (Wycheproof labels such keys valid).
const EXPONENT_MIN: u32 = 3;

/// Refuses a key that is weak, oversized or no key of its kind. Points of P-256 and P-384 are
/// checked by the library that parses them.
pub(super) fn check(jwk: &PublicJwk) -> Result<(), KeyRefusal> {
    match jwk {
        PublicJwk::Rsa { n, e } => check_rsa(n, e),
        PublicJwk::Ed25519 { x } => check_ed25519(x),
        PublicJwk::P256 { .. } | PublicJwk::P384 { .. } => Ok(()),
    }
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyRefusal> {
    let bits = n.first().map_or(0, |top| n.len() * 8 - top.leading_zeros() as usize);
    if bits < MODULUS_BITS_MIN {
        return Err(KeyRefusal::ShortModulus);
    }
    if bits > MODULUS_BITS_MAX {
        return Err(KeyRefusal::LongModulus);
    }
    if n.last().is_none_or(|low| low % 2 == 0) {
        return Err(KeyRefusal::EvenModulus);
    }
    let exponent = e.iter().try_fold(0u32, |value, byte| {
        value.checked_mul(256).map(|shifted| shifted + u32::from(*byte))
    });
    if exponent.is_none_or(|e| e < EXPONENT_MIN || e % 2 == 0) {
        return Err(KeyRefusal::Exponent);
    }
    if has_roca_fingerprint(n) {
        return Err(KeyRefusal::Roca);
    }
    Ok(())
}

/// The primes whose product the faulty generator of CVE-2017-15361 used for its smallest keys.
/// Larger keys used more of them, so that these suffice to recognize every size.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the modulus is a power of 65537 modulo every one of these primes. The faulty generator
/// made primes of the form `k * M + (65537^a mod M)`; a random modulus passes by chance about once
/// in 2^27 (Nemec et al., "The Return of Coppersmith's Attack", section 3).
fn has_roca_fingerprint(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let residue = n
            .iter()
            .fold(0u32, |remainder, byte| (remainder * 256 + u32::from(*byte)) % prime);
        let generator = 65537 % prime;
        let mut power = 1;
        loop {
            if power == residue {
                return true;
            }
            power = power * generator % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

/// The y coordinates of the points whose order divides 8, little-endian. Under such a key one
/// signature is good for many messages.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // 0: order 4
    [0; 32],
    // 1: the neutral point
    little_endian_small(1),
    // -1: order 2
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    // the two y coordinates of order 8: the roots of d*y^4 + 2*y^2 - 1 that have an x
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn little_endian_small(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = value;
    bytes
}

fn check_ed25519(point: &[u8; 32]) -> Result<(), KeyRefusal> {
    let mut y = *point;
    y[31] &= 0x7f; // the top bit is the sign of x
    // A second spelling of a coordinate: 2^255 - 19 and what follows it.
    let canonical = !(y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff) && y[0] >= 0xed);
    if !canonical || SMALL_ORDER.contains(&y) {
        return Err(KeyRefusal::Point);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Big-endian `value * 65537`.
    fn times_65537(value: &[u8]) -> Vec<u8> {
        let mut product = vec![0u8; value.len() + 3];
        let mut carry = 0u32;
        let digit = |place: usize| value.iter().rev().nth(place).map_or(0, |byte| u32::from(*byte));
        for place in 0..product.len() {
            let shifted = place.checked_sub(2).map_or(0, digit);
            let sum = digit(place) + shifted + carry;
            let index = product.len() - 1 - place;
            product[index] = u8::try_from(sum & 0xff).expect("masked");
            carry = sum >> 8;
        }
        let zeros = product.iter().take_while(|byte| **byte == 0).count();
        product.split_off(zeros)
    }

    #[test]
    fn attack_a11_a_power_of_65537_has_the_roca_fingerprint_and_its_neighbours_do_not() {
        let mut power = vec![1];
        while power.len() < 257 {
            power = times_65537(&power);
        }
        assert_eq!(check_rsa(&power, &[1, 0, 1]), Err(KeyRefusal::Roca));
        for step in [2, 4, 6] {
            let mut neighbour = power.clone();
            *neighbour.last_mut().expect("not empty") += step;
            assert_eq!(check_rsa(&neighbour, &[1, 0, 1]), Ok(()), "plus {step}");
        }
    }

    #[test]
    fn attack_a12_a_modulus_is_bounded_whoever_decoded_it() {
        let longest = [&[0xff], &[0x5b; 1022][..], &[0xfd]].concat();
        assert_eq!(check_rsa(&longest, &[1, 0, 1]), Ok(()));
        let longer = [&[0x01], &longest[..]].concat();
        assert_eq!(check_rsa(&longer, &[1, 0, 1]), Err(KeyRefusal::LongModulus));
        assert_eq!(check_rsa(&[], &[1, 0, 1]), Err(KeyRefusal::ShortModulus));
    }
}
