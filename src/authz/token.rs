//! From what an authorization server's token says to the facts that rules ask about.

use crate::jose::object::Object;
use crate::model::id::Kid;
use crate::model::time::Timestamp;
use crate::policy::claims::{Provenance, Statement, Unreadable};
use crate::trust::settings::TrustedServerSettings;

/// What the claims of a token of this server state. `expires_at` is known to the caller, since an introspection answer
/// need not say it.
pub(crate) fn statement<'c>(
    server: &'c TrustedServerSettings,
    claims: &'c Object,
    kid: Option<&'c Kid>,
    expires_at: Timestamp,
) -> Result<Statement<'c>, Unreadable> {
    let provenance = Provenance {
        server: &server.id,
        issued_as: server.issued_as.as_ref(),
        issuer: &server.issuer,
        kid,
        expires_at,
    };
    Statement::read(provenance, &server.claim_names, claims)
}
