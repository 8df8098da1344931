//! Randomness: the one caller of the operating system's generator.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;

/// Fills an array with unpredictable bytes.
///
/// # Panics
/// When the operating system has no entropy to give: nothing that needs a secret may go on then,
/// and the callers on the check path are guarded by the explicit denial of a panic.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

/// An unguessable text of `N` random bytes in base64url without padding.
#[must_use]
pub fn random_text<const N: usize>() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random_bytes::<N>())
}
