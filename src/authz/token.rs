//! From what an authorization server's token says to the facts that rules ask about.

use serde_json::{Map, Value};

use crate::model::id::Kid;
use crate::model::time::Timestamp;
use crate::policy::caller::TokenFacts;
use crate::policy::claims::{Provenance, Unreadable};
use crate::trust::settings::TrustedServerSettings;

/// Lays the claims of a token of this server out. `expires_at` is known to the caller, since an
/// introspection answer need not say it.
pub(crate) fn lay_out(
    server: &TrustedServerSettings,
    claims: Map<String, Value>,
    kid: Option<Kid>,
    expires_at: Timestamp,
) -> Result<TokenFacts, Unreadable> {
    let provenance = Provenance {
        server: server.id.clone(),
        issued_as: server.issued_as.clone(),
        issuer: server.issuer.clone(),
        kid,
        expires_at,
    };
    TokenFacts::read(provenance, &server.claim_names, claims)
}
