//! Sampling: which part of many things is taken, decided from a number that each of them carries.
//!
//! The choice is a pure function of the number, so that the same decision id or trace id gives the
//! same answer on every node and in every test.

/// A part of all things, from none to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// None of them.
    None,
    /// Those whose number lies below this.
    Below(u64),
    /// All of them.
    All,
}

impl Share {
    /// The part that a ratio from 0 to 1 names; `None` if it is not one.
    pub(super) fn from_ratio(ratio: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&ratio) {
            return None;
        }
        if ratio <= 0.0 {
            return Some(Self::None);
        }
        if ratio >= 1.0 {
            return Some(Self::All);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive ratio below 1 of 2^64 fits, and its fraction is meaningless"
        )]
        let below = (ratio * 2_f64.powi(64)) as u64;
        Some(Self::Below(below))
    }

    /// Whether the thing with this evenly spread number is taken.
    pub(super) fn takes(self, number: u64) -> bool {
        match self {
            Self::None => false,
            Self::Below(limit) => number < limit,
            Self::All => true,
        }
    }

    /// Whether the thing with this name is taken. Names need not be random: they are spread here.
    pub(super) fn takes_name(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Below(limit) => spread(name.as_bytes()) < limit,
        }
    }
}

/// FNV-1a with a finisher that mixes its weak high bits (murmur3's constants). Not keyed: the names
/// are decision ids, which no client chooses.
fn spread(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_ratio() {
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::from_ratio(ratio), None);
        }
        assert_eq!(Share::from_ratio(0.0), Some(Share::None));
        assert_eq!(Share::from_ratio(1.0), Some(Share::All));
        assert_eq!(Share::from_ratio(0.5), Some(Share::Below(1 << 63)));
    }

    #[test]
    fn takes_one_in_a_hundred_of_a_million_names() {
        let share = Share::from_ratio(0.01).unwrap();
        let taken = (0..1_000_000)
            .filter(|n| share.takes_name(&format!("decision-{n}")))
            .count();
        // 1 % of a million, give or take five standard deviations; the names are fixed, so is the count.
        assert!((9_500..=10_500).contains(&taken), "{taken}");
    }

    #[test]
    fn the_same_name_is_always_taken_or_never() {
        let share = Share::from_ratio(0.5).unwrap();
        for n in 0..100 {
            let name = format!("{n}");
            assert_eq!(share.takes_name(&name), share.takes_name(&name.clone()));
            assert!(Share::All.takes_name(&name));
            assert!(!Share::None.takes_name(&name));
        }
    }
}
