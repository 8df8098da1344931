//! Which passwords people may be given. How they are kept is the issuer's matter ([`crate::issuer::passwords`]).

use crate::admin::AdminError;
use crate::admin::desk::Desk;
use crate::issuer::passwords::{PASSWORD_BYTES_MAX, PasswordRefused};
use crate::model::secret::Secret;

/// The fewest characters of a password (NIST SP 800-63B section 5.1.1.2).
const CHARS_MIN: usize = 8;

impl Desk<'_> {
    /// The password of this login as it is kept, if it may be one.
    pub(super) async fn hash_password(
        &self,
        password: Secret<String>,
        login: &str,
    ) -> Result<Secret<String>, AdminError> {
        check(password.expose_secret(), login)?;
        let hashed = self.issuer().hash_password(password).await;
        hashed.map_err(|error| match error {
            PasswordRefused::Length(_) => AdminError::invalid("password", format!("password: {error}")),
            PasswordRefused::Library => AdminError::Internal(Box::new(error)),
        })
    }
}

fn check(password: &str, login: &str) -> Result<(), AdminError> {
    if password.chars().count() < CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        let cause =
            format!("password: {CHARS_MIN} characters or more, and at most {PASSWORD_BYTES_MAX} bytes, are expected");
        return Err(AdminError::invalid("password", cause));
    }
    if password.eq_ignore_ascii_case(login) {
        return Err(AdminError::invalid("password", "password: it is the login"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_short_endless_or_the_login_is_refused() {
        let login = "alice@bank.example";
        assert!(check("correct horse", login).is_ok());
        for text in ["", "1234567", "Alice@bank.example", &"x".repeat(1025)] {
            assert!(check(text, login).is_err(), "{}", text.len());
        }
    }
}
