//! What the issuer needs to know.

use url::Url;

use crate::oauth::declared::IssuerDeclaration;

/// The issuer's part of the configuration, already checked.
#[derive(Debug)]
pub struct IssuerSettings {
    /// Authorization server `X` lives at `{public_url}/oauth2/X`.
    pub public_url: Url,
    /// Everything that the file declares.
    pub declared: IssuerDeclaration,
    /// Whether `dev: true` relaxes what is safe on loopback only.
    pub dev: bool,
}
