//! Values that must reach no log, trace, metric or error.

use std::fmt;

use zeroize::Zeroize;

/// A value that cannot be formatted and is wiped when it is dropped.
///
/// There is no `Display`, no `Serialize`, and `Debug` prints a placeholder: the only way to the
/// value is [`Secret::expose_secret`], which a reviewer can search for.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value under its protection.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The caller must not let it reach an output channel.
    pub fn expose_secret(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_e18_a_secret_cannot_be_formatted() {
        assert_eq!(format!("{:?}", Secret::new("canary".to_owned())), "Secret(..)");
    }
}
