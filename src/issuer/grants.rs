//! Grants end, with everything that came of them.
//!
//! What ends a grant ends its tokens: the refresh token with the row, the access tokens by a fact that the gate reads,
//! on every server that they may have been exchanged to. The store has row, facts and audit record in one
//! transaction; then the facts are in force; then it is acknowledged.
//!
//! Many grants end in parts: no transaction grows with what a client has. A grant that begins while the others are
//! ended is found in a later part.

use crate::audit::AuditEvent;
use crate::issuer::{Issuer, Snapshot};
use crate::model::id::{AuthorizationServerId, GrantId};
use crate::model::time::Timestamp;
use crate::revocation::Revocation;
use crate::store::StoreError;
use crate::store::grants::GrantSelector;

/// How many grants end in one transaction.
const PART: u32 = 500;

impl Issuer {
    /// Ends all grants of a kind, with all their tokens; gives how many were alive. Each part of them has the audit
    /// record, which is kept too where there was none to end.
    ///
    /// # Errors
    /// When the store fails: what was ended stays so, and the rest can be asked for again.
    pub async fn end_grants(&self, which: &GrantSelector, event: &AuditEvent) -> Result<usize, StoreError> {
        let store = &self.services.store.store;
        let mut count = 0;
        loop {
            let part = store.grants(which, None, PART).await?;
            if part.is_empty() && count > 0 {
                return Ok(count);
            }
            let at = self.services.clock.now();
            let snapshot = self.snapshot.load();
            let facts = part
                .iter()
                .flat_map(|grant| ends_of(&snapshot, &grant.server, &grant.id, at));
            let facts: Vec<Revocation> = facts.collect();
            let among = GrantSelector::Among(part.iter().map(|grant| grant.id.clone()).collect());
            store
                .revoke_grants(&among, at, &facts, std::slice::from_ref(event))
                .await?;
            for fact in facts {
                self.put_in_force(fact);
            }
            crate::audit::log(event);
            if part.is_empty() {
                return Ok(0);
            }
            count += part.len();
        }
    }
}

/// "Every token of this grant is dead": at its server, and wherever its tokens may have been exchanged to (RFC 8693),
/// over however many servers. A token of an exchange has the `sid` of the one that it came of.
pub(super) fn ends_of(
    snapshot: &Snapshot,
    server: &AuthorizationServerId,
    grant: &GrantId,
    at: Timestamp,
) -> Vec<Revocation> {
    let mut reached = vec![server];
    let mut next = 0;
    while let Some(source) = reached.get(next).copied() {
        next += 1;
        for (id, endpoint) in &snapshot.servers {
            let mut associated = endpoint.server.options.associated_servers.iter();
            if associated.any(|associated| associated.value == *source) && !reached.contains(&id) {
                reached.push(id);
            }
        }
    }
    let end = |server| Revocation::ended_session(server, grant.as_str(), at);
    reached.into_iter().map(end).collect()
}
