//! New passwords of people: Argon2id with a salt of their own (RFC 9106), in a bounded pool.
//!
//! Hashing takes tens of milliseconds and 19 MiB on purpose: at most [`AT_ONCE`] at a time, off the threads that
//! answer requests.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use tokio::sync::Semaphore;

use crate::admin::AdminError;
use crate::entropy;
use crate::model::secret::Secret;

/// How many passwords are hashed at a time.
const AT_ONCE: usize = 2;

/// The fewest characters of a password (NIST SP 800-63B section 5.1.1.2).
const CHARS_MIN: usize = 8;

/// The most bytes of a password: more is no better, and costs.
const BYTES_MAX: usize = 1024;

static PERMITS: Semaphore = Semaphore::const_new(AT_ONCE);

/// The PHC text of a password, if it may be one.
pub(super) async fn hash(password: Secret<String>, login: &str) -> Result<Secret<String>, AdminError> {
    let text = password.expose_secret();
    if text.chars().count() < CHARS_MIN || text.len() > BYTES_MAX {
        let cause = format!("password: {CHARS_MIN} characters or more, and at most {BYTES_MAX} bytes, are expected");
        return Err(AdminError::invalid("password", cause));
    }
    if text.eq_ignore_ascii_case(login) {
        return Err(AdminError::invalid("password", "password: it is the login"));
    }
    let _permit = PERMITS
        .acquire()
        .await
        .map_err(|error| AdminError::Internal(Box::new(error)))?;
    let hashing = tokio::task::spawn_blocking(move || {
        let salt: [u8; 16] = entropy::random_bytes();
        Argon2::default()
            .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
            .map(|hash| Secret::new(hash.to_string()))
    });
    match hashing.await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(_)) => Err(AdminError::Internal("a password could not be hashed".into())),
        Err(error) => Err(AdminError::Internal(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn attack_f42_a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let one = hash(password("correct horse"), "alice").await.expect("hashed");
        let other = hash(password("correct horse"), "alice").await.expect("hashed");
        assert!(one.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[tokio::test]
    async fn a_password_that_is_short_endless_or_the_login_is_refused() {
        for text in ["", "1234567", "Alice@bank.example", &"x".repeat(1025)] {
            assert!(
                hash(password(text), "alice@bank.example").await.is_err(),
                "{}",
                text.len()
            );
        }
    }
}
