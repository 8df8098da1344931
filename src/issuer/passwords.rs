//! People's passwords: Argon2id, in a pool that has bounds.
//!
//! One verification costs some 19 MiB and tens of milliseconds, on purpose. So few run at a time, a few
//! more may wait, and the rest is told to come again: guessing at full speed must not take the memory or
//! the processors from who signs in, nor from anything else.
//!
//! **Invariant:** a verification does the same work whoever is asked for: an unknown user's password is
//! compared with one that nobody knows (case 086).

use std::sync::{Arc, OnceLock};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use argon2::{Argon2, Params};
use aws_lc_rs::constant_time;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::entropy;
use crate::issuer::Issuer;
use crate::issuer::people::Password;
use crate::model::digest::Digest;
use crate::model::secret::Secret;
use crate::oauth::error::OAuthError;
use crate::threads;

/// How many passwords are verified at a time.
const RUNNING_MAX: usize = 2;

/// How many verifications may run or wait.
const WAITING_MAX: usize = 32;

/// The longest password that is looked at, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The pool.
#[derive(Debug)]
pub(super) struct Passwords {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    threads: PasswordThreads,
}

/// Threads of their own: they step back behind all others, which the threads that answer must not.
#[derive(Debug)]
struct PasswordThreads(Option<Runtime>);

impl PasswordThreads {
    fn start() -> Self {
        let threads = Builder::new_current_thread()
            .max_blocking_threads(RUNNING_MAX)
            .thread_name("passwords")
            .on_thread_start(|| threads::step_back(threads::PASSWORDS))
            .build();
        Self(threads.ok())
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(threads) => threads.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for PasswordThreads {
    fn drop(&mut self) {
        // Not waited for: the last one to hold the issuer may be a task.
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            threads: PasswordThreads::start(),
        }
    }
}

impl Passwords {
    /// Whether this is the password; `None` for a user that there is not.
    pub(super) async fn verify(&self, kept: Option<&Password>, shown: &Secret<String>) -> Result<bool, OAuthError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| OAuthError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await;
        let turn = turn.map_err(|_| OAuthError::Busy)?;
        let (kept, shown) = (kept.cloned().unwrap_or(Password::None), shown.clone());
        // The permits go with the work: it is not stopped when the client hangs up.
        let work = self.threads.run(move || {
            let matches = compare(&kept, &shown);
            drop((place, turn));
            matches
        });
        work.await.map_err(OAuthError::internal)?
    }

    /// The password as it is kept. Who sets one waits for a turn among those that are verified: an administrator is not
    /// turned away because somebody guesses.
    pub(super) async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, PasswordRefused> {
        let turn = Arc::clone(&self.running).acquire_owned().await;
        let turn = turn.map_err(|_| PasswordRefused::Library)?;
        let work = self.threads.run(move || {
            let hashed = hash_password(&password);
            drop(turn);
            hashed
        });
        work.await.map_err(|_| PasswordRefused::Library)?
    }
}

impl Issuer {
    /// A new password as it is kept.
    ///
    /// # Errors
    /// [`PasswordRefused`].
    pub async fn hash_password(&self, password: Secret<String>) -> Result<Secret<String>, PasswordRefused> {
        self.passwords.hash(password).await
    }
}

/// The password as it is kept: a PHC text of Argon2id with the parameters of today.
///
/// It takes tens of milliseconds: not for a thread that answers.
pub(super) fn hash_password(password: &Secret<String>) -> Result<Secret<String>, PasswordRefused> {
    let bytes = password.expose_secret().as_bytes();
    if bytes.is_empty() || bytes.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordRefused::Length(bytes.len()));
    }
    let salt: [u8; 16] = entropy::random_bytes();
    let hashed = hasher().hash_password_with_salt(bytes, &salt);
    hashed
        .map(|hashed| Secret::new(hashed.to_string()))
        .map_err(|_| PasswordRefused::Library)
}

/// Why a password cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// It has no bytes, or more than [`PASSWORD_BYTES_MAX`].
    #[error("a password has between 1 and {PASSWORD_BYTES_MAX} bytes, not {0}")]
    Length(usize),
    /// The library failed.
    #[error("the password could not be hashed")]
    Library,
}

/// Argon2id as OWASP recommends it: 19 MiB, two passes, one lane.
fn hasher() -> Argon2<'static> {
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::default())
}

fn compare(kept: &Password, shown: &Secret<String>) -> Result<bool, OAuthError> {
    let bytes = shown.expose_secret().as_bytes();
    let fits = bytes.len() <= PASSWORD_BYTES_MAX;
    let bytes = if fits { bytes } else { &[] };
    let dummy = dummy()?;
    let text = match kept {
        Password::Hashed(text) => text,
        Password::None | Password::Declared(_) => &dummy,
    };
    let parsed =
        PasswordHash::new(text.expose_secret()).map_err(|_| OAuthError::internal("a kept password is no PHC text"))?;
    let hashed = hasher().verify_password(bytes, &parsed).is_ok();
    let matches = match kept {
        Password::Hashed(_) => hashed,
        Password::Declared(digest) => {
            let shown = Digest::of(bytes);
            constant_time::verify_slices_are_equal(digest.as_bytes(), shown.as_bytes()).is_ok()
        }
        Password::None => false,
    };
    Ok(matches && fits && !bytes.is_empty())
}

/// A kept password that nobody knows.
fn dummy() -> Result<Secret<String>, OAuthError> {
    static DUMMY: OnceLock<Secret<String>> = OnceLock::new();
    if let Some(known) = DUMMY.get() {
        return Ok(known.clone());
    }
    let made = hash_password(&Secret::new(entropy::random_text::<32>())).map_err(OAuthError::internal)?;
    Ok(DUMMY.get_or_init(|| made).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn attack_f42_a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let kept = hash_password(&secret("correct horse")).expect("hashed");
        assert!(kept.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let again = hash_password(&secret("correct horse")).expect("hashed");
        assert_ne!(kept.expose_secret(), again.expose_secret(), "each has its own salt");
        let kept = Password::Hashed(kept);
        let fits = |shown: &str| compare(&kept, &secret(shown)).expect("compared");
        assert!(fits("correct horse"));
        for wrong in ["", "Correct horse", "correct horse ", "correct hors"] {
            assert!(!fits(wrong), "{wrong:?}");
        }
        for refused in [String::new(), "a".repeat(PASSWORD_BYTES_MAX + 1)] {
            assert!(hash_password(&secret(&refused)).is_err());
        }
    }

    #[test]
    fn case_086_whoever_has_no_password_has_none_that_fits() {
        let empty = Password::Declared(Digest::of(b""));
        for (kept, shown) in [
            (&Password::None, "x"),
            (&Password::None, ""),
            (&empty, ""),
            (&Password::Declared(Digest::of(b"a")), "b"),
        ] {
            assert!(!compare(kept, &secret(shown)).expect("compared"), "{kept:?}");
        }
        let long = "a".repeat(PASSWORD_BYTES_MAX + 1);
        let declared = Password::Declared(Digest::of(long.as_bytes()));
        assert!(!compare(&declared, &secret(&long)).expect("compared"));
        let declared = Password::Declared(Digest::of(b"a"));
        assert!(compare(&declared, &secret("a")).expect("compared"));
    }

    #[tokio::test]
    async fn attack_f40_more_than_can_wait_are_told_to_come_again() {
        let pool = Passwords::default();
        let held = Arc::clone(&pool.places).try_acquire_many_owned(u32::try_from(WAITING_MAX).expect("few"));
        let refused = pool.verify(None, &secret("x")).await.expect_err("no place");
        assert_eq!(
            (refused.http_status(), refused.code().as_str()),
            (503, "temporarily_unavailable")
        );
        drop(held);
        assert!(!pool.verify(None, &secret("x")).await.expect("a place"));
    }
}
