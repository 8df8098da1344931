//! DPoP nonces (RFC 9449 sections 8 and 9) without a table of them.
//!
//! A nonce is the number of the time window in which it was handed out, with a MAC. The nonce of the
//! current window and of the one before is good; a client that shows the older one gets the newer
//! with its answer, so that an active client is never refused for its nonce (case X10).
//!
//! Several gates that serve the same clients need the same secret: else each would refuse the nonces
//! of the others.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;

/// How long a window is, in seconds.
const WINDOW_SECONDS: i64 = 120;

/// How much of the MAC is kept: 128 bits.
const MAC_BYTES: usize = 16;

/// Hands out nonces and knows them again.
pub struct Nonces {
    key: hmac::Key,
}

/// What a nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Handed out in this window.
    Current,
    /// Handed out in the window before: good, and to be replaced.
    Previous,
    /// Not ours, or too old.
    Nothing,
}

impl Nonces {
    /// Nonces under this secret, or under one that this process makes up.
    #[must_use]
    pub fn new(secret: Option<&Secret<Vec<u8>>>) -> Self {
        let key = match secret {
            Some(secret) => hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()),
            None => hmac::Key::new(hmac::HMAC_SHA256, &entropy::random_bytes::<32>()),
        };
        Self { key }
    }

    /// The nonce of now.
    #[must_use]
    pub fn issue(&self, now: Timestamp) -> String {
        URL_SAFE_NO_PAD.encode(self.of_window(window(now)))
    }

    /// What a nonce is worth now.
    #[must_use]
    pub fn judge(&self, nonce: &str, now: Timestamp) -> Worth {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else {
            return Worth::Nothing;
        };
        let is_of = |window: i64| {
            let ours = self.of_window(window);
            aws_lc_rs::constant_time::verify_slices_are_equal(&ours, &bytes).is_ok()
        };
        let current = window(now);
        if is_of(current) {
            Worth::Current
        } else if is_of(current - 1) {
            Worth::Previous
        } else {
            Worth::Nothing
        }
    }

    fn of_window(&self, window: i64) -> [u8; 8 + MAC_BYTES] {
        let mut nonce = [0; 8 + MAC_BYTES];
        nonce[..8].copy_from_slice(&window.to_be_bytes());
        let mac = hmac::sign(&self.key, &nonce[..8]);
        nonce[8..].copy_from_slice(&mac.as_ref()[..MAC_BYTES]);
        nonce
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(..)")
    }
}

fn window(now: Timestamp) -> i64 {
    now.unix_seconds().div_euclid(WINDOW_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn edge_x10_a_nonce_is_good_in_its_window_and_the_next_and_no_longer() {
        let nonces = Nonces::new(None);
        let nonce = nonces.issue(NOW);
        assert_eq!(nonces.judge(&nonce, NOW), Worth::Current);
        assert_eq!(nonces.judge(&nonce, NOW.plus(Duration::from_secs(119))), Worth::Current);
        assert_eq!(
            nonces.judge(&nonce, NOW.plus(Duration::from_secs(120))),
            Worth::Previous
        );
        assert_eq!(nonces.judge(&nonce, NOW.plus(Duration::from_secs(240))), Worth::Nothing);
        assert_eq!(nonces.judge(&nonce, NOW.minus(Duration::from_secs(1))), Worth::Nothing);
    }

    #[test]
    fn edge_x10_a_nonce_of_another_secret_or_with_a_changed_byte_is_worth_nothing() {
        let nonces = Nonces::new(None);
        let nonce = nonces.issue(NOW);
        assert_eq!(Nonces::new(None).judge(&nonce, NOW), Worth::Nothing);
        let mut bytes = URL_SAFE_NO_PAD.decode(&nonce).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert_eq!(
                nonces.judge(&URL_SAFE_NO_PAD.encode(&bytes), NOW),
                Worth::Nothing,
                "byte {index}"
            );
            bytes[index] ^= 1;
        }
        for other in ["", "AAAA", "not base64!"] {
            assert_eq!(nonces.judge(other, NOW), Worth::Nothing);
        }
    }

    #[test]
    fn gates_with_one_secret_know_each_other_s_nonces() {
        let secret = Secret::new(vec![7; 32]);
        let nonce = Nonces::new(Some(&secret)).issue(NOW);
        assert_eq!(Nonces::new(Some(&secret)).judge(&nonce, NOW), Worth::Current);
    }
}
