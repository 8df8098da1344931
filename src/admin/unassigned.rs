//! Who may not use a client any more: with the assignment go the grants at that client, and every token of it.
//!
//! A token that no kept grant stands behind (a sign-in without a refresh token, an assertion, an exchange) is known to
//! its holder alone. So a fact says whose tokens of which client are dead ([`Revocation::Assignment`]); the store has
//! it, so that a restart and other nodes know it too.
//!
//! The facts are kept twice: with the change or right before it, so that no crash between the two leaves an older token
//! alive, and after it, for what was minted meanwhile. Both are in force before the answer.

use std::collections::BTreeSet;

use serde_json::json;

use crate::admin::AdminError;
use crate::admin::apps::KIND as APP;
use crate::admin::deed::Deed;
use crate::admin::desk::Desk;
use crate::audit::AuditKind;
use crate::model::id::{ClientId, Subject, UserId};
use crate::model::time::Timestamp;
use crate::oauth::document::{AssignmentDocument, EVERYONE};
use crate::oauth::user::UserRecord;
use crate::revocation::{Revocation, up_to_all_clocks};
use crate::store::grants::GrantSelector;

/// How many facts are kept in one transaction, and how many members are read at a time.
const PART: u32 = 500;

/// Through what users had a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Through<'a> {
    /// By themselves.
    Themselves,
    /// As members of this group.
    Group(&'a str),
}

/// The users who lose a client by a change.
#[derive(Debug)]
pub(super) struct Leaving {
    client: ClientId,
    subjects: Vec<Subject>,
}

impl Leaving {
    /// Their tokens of the client are dead that were issued up to this second.
    pub(super) fn facts(&self, before: Timestamp) -> Vec<Revocation> {
        let fact = |subject: &Subject| Revocation::Assignment {
            client: self.client.clone(),
            subject: subject.clone(),
            before,
        };
        self.subjects.iter().map(fact).collect()
    }
}

impl Desk<'_> {
    /// Who of these users loses the client if they have it through this no more.
    pub(super) async fn leaving(
        &self,
        client: &ClientId,
        through: Through<'_>,
        users: &[UserRecord],
    ) -> Result<Leaving, AdminError> {
        let mut subjects = Vec::new();
        for user in users {
            if !self.is_assigned(client, &user.id, Some(through)).await? {
                subjects.extend(Subject::parse(&user.login));
            }
        }
        Ok(Leaving {
            client: client.clone(),
            subjects,
        })
    }

    /// Ends the tokens of those who are about to leave: right before a change that nothing refuses any more.
    pub(super) async fn leave(&self, leaving: &Leaving) -> Result<(), AdminError> {
        self.end_tokens(leaving, self.now()).await
    }

    /// Ends what was minted until the change, and the grants. `only` looks at the grants of one user alone.
    pub(super) async fn left(&self, leaving: &Leaving, only: Option<&UserId>) -> Result<(), AdminError> {
        self.end_tokens(leaving, up_to_all_clocks(self.now())).await?;
        self.end_unassigned(&leaving.client, only).await
    }

    /// Everybody in a group; nobody if it is gone.
    pub(super) async fn everybody_in(&self, group: &str) -> Result<Vec<UserRecord>, AdminError> {
        let mut found: Vec<UserRecord> = Vec::new();
        loop {
            let after = found.last().map(|user| user.id.to_string());
            let page = match self.members(group, after.as_deref(), PART).await {
                Err(AdminError::NotFound { .. }) => return Ok(found),
                page => page?,
            };
            if page.is_empty() {
                return Ok(found);
            }
            found.extend(page.into_iter().map(|user| user.record));
        }
    }

    async fn end_tokens(&self, leaving: &Leaving, before: Timestamp) -> Result<(), AdminError> {
        if self.dry_run {
            return Ok(());
        }
        for facts in leaving.facts(before).chunks(PART as usize) {
            let event = self.event(
                Deed::new(AuditKind::TokenRevoked, APP, leaving.client.as_str())
                    .after(json!({ "reason": "users are not assigned to the client any more", "users": facts.len() })),
            );
            let nothing_else = GrantSelector::Among(Vec::new());
            self.store()
                .revoke_grants(&nothing_else, self.now(), facts, std::slice::from_ref(&event))
                .await?;
            self.put_in_force(facts);
            crate::audit::log(&event);
        }
        Ok(())
    }

    /// Ends the grants of users at a client that may not use it any more.
    async fn end_unassigned(&self, client: &ClientId, only: Option<&UserId>) -> Result<(), AdminError> {
        if self.dry_run {
            return Ok(());
        }
        let of = |user: Option<&UserId>| GrantSelector::Where {
            server: None,
            client: Some(client.clone()),
            user: user.cloned(),
        };
        let grants = self.all_grants(&of(only)).await?;
        let users: BTreeSet<UserId> = grants.into_iter().filter_map(|grant| grant.user).collect();
        for user in users {
            if self.is_assigned(client, &user, None).await? {
                continue;
            }
            let event = self.event(Deed::new(AuditKind::GrantRevoked, "User", user.as_str()).after(
                json!({ "client_id": client.as_str(), "reason": "the user is not assigned to the client any more" }),
            ));
            self.end_grants(&of(Some(&user)), &event).await?;
        }
        Ok(())
    }

    /// Whether a user may use a client, otherwise than through this.
    async fn is_assigned(
        &self,
        client: &ClientId,
        user: &UserId,
        but: Option<Through<'_>>,
    ) -> Result<bool, AdminError> {
        let directory = self.issuer().directory();
        // A client of the file has its assignments there, by names that no request of ours changes.
        let Some(client) = directory.client(client.as_str()) else {
            return Ok(true);
        };
        let document = &client.document;
        let is_user = |assigned: &AssignmentDocument| assigned.id == user.as_str();
        if !matches!(but, Some(Through::Themselves)) && document.users.iter().any(is_user) {
            return Ok(true);
        }
        let groups = if self.declared_users().iter().any(|known| known.record.id == *user) {
            self.declared_groups_of(user.as_str())
        } else {
            self.store().groups_of(user).await?
        };
        let counts = |assigned: &AssignmentDocument| {
            let is_taken = matches!(but, Some(Through::Group(group)) if group == assigned.id);
            !is_taken && (assigned.id == EVERYONE || groups.contains(&assigned.id))
        };
        Ok(document.groups.iter().any(counts))
    }
}
