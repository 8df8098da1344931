//! Signature algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).

/// An algorithm that we verify with. `none` and everything unknown have no spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256: only for an authorization server that is configured with a shared secret.
    Hs256,
    /// HMAC with SHA-384, likewise.
    Hs384,
    /// HMAC with SHA-512, likewise.
    Hs512,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 12] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// The asymmetric ones: what an authorization server may use if its configuration names none.
    pub const ASYMMETRIC: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The `alg` value, case-sensitive.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Reads an `alg` value: exact spelling, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// The kind of key that the algorithm works with. A key is used with no algorithm of another
    /// family, whatever a token's header says (RFC 8725 section 3.1).
    #[must_use]
    pub const fn family(self) -> KeyFamily {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyFamily::Rsa,
            Self::Es256 => KeyFamily::P256,
            Self::Es384 => KeyFamily::P384,
            Self::EdDsa => KeyFamily::Ed25519,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => KeyFamily::Secret,
        }
    }

    /// How many bytes a shared secret needs at least: the length of the hash (RFC 7518 section
    /// 3.2). `None` for an asymmetric algorithm.
    #[must_use]
    pub const fn secret_bytes_min(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }

    /// Whether both sides hold the same secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A kind of key: the key type and, where it has one, the curve (RFC 7518 section 6.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFamily {
    /// `RSA`.
    Rsa,
    /// `EC` on `P-256`.
    P256,
    /// `EC` on `P-384`.
    P384,
    /// `OKP` on `Ed25519`.
    Ed25519,
    /// A shared secret (`oct`).
    Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_a01_an_algorithm_has_one_spelling_and_none_has_no_spelling() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.as_str().to_lowercase()), None);
        }
        for text in [
            "", "none", "None", "nOnE", "RS256 ", "RS1", "ES256K", "HS1", "RSA-OAEP", "dir", "ES512",
        ] {
            assert_eq!(Algorithm::parse(text), None, "{text}");
        }
    }

    #[test]
    fn symmetric_and_secret_are_one_thing() {
        for algorithm in Algorithm::ALL {
            let symmetric = algorithm.is_symmetric();
            assert_eq!(symmetric, algorithm.family() == KeyFamily::Secret);
            assert_eq!(symmetric, algorithm.secret_bytes_min().is_some());
            assert_eq!(symmetric, !Algorithm::ASYMMETRIC.contains(&algorithm));
        }
    }
}
