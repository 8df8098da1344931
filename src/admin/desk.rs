//! Where an administrator's request is worked on: who asks, when, and whether for good.
//!
//! A change is read, edited, checked and stored by compare-and-swap; who is overtaken does it again on what is there
//! now, so that two administrators who change different things do not see each other. A caller that named a state
//! (`If-Match`) is told instead.

use std::sync::Arc;

use crate::admin::{Action, AdminError, Administration, Administrator, Deed, Place, Resource};
use crate::audit::AuditEvent;
use crate::issuer::Issuer;
use crate::issuer::change::{Applied, Change, ChangeError};
use crate::model::id::GrantId;
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Revocation;
use crate::store::Store;
use crate::store::grants::GrantSelector;

/// How often a change is tried again that somebody else overtook.
pub(super) const TRIES: usize = 5;

/// How many grants are read at a time.
const GRANTS_PAGE: u32 = 500;

/// One request of an administrator.
#[derive(Debug)]
#[must_use]
pub struct Desk<'a> {
    pub(super) administration: &'a Administration,
    /// Who asks: for the audit log.
    actor: String,
    /// Whether it may touch what holds a role.
    pub(super) may_give_roles: bool,
    /// Everything is checked, and nothing is changed.
    pub(super) dry_run: bool,
}

impl<'a> Desk<'a> {
    /// For an administrator who may do this to objects of this kind.
    ///
    /// # Errors
    /// [`AdminError::Scope`] or [`AdminError::Role`] for who may not.
    pub fn of(
        administration: &'a Administration,
        who: &Administrator,
        action: Action,
        resource: Resource,
    ) -> Result<Self, AdminError> {
        who.may(action, resource, Place::Everywhere)?;
        Ok(Self {
            administration,
            actor: who.client().to_string(),
            may_give_roles: who.is_super(),
            // Who may only read changes nothing, whatever is called.
            dry_run: action == Action::Read,
        })
    }

    /// For what a client does to itself, or the program by itself; neither touches what holds a role.
    pub fn of_itself(administration: &'a Administration, actor: &str) -> Self {
        Self {
            administration,
            actor: actor.to_owned(),
            may_give_roles: false,
            dry_run: false,
        }
    }

    /// The same, and everything is checked and nothing changed.
    pub fn dry(mut self, dry_run: bool) -> Self {
        self.dry_run |= dry_run;
        self
    }

    pub(super) fn issuer(&self) -> &'a Issuer {
        self.administration.issuer()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.administration.now()
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.issuer().services().store.store
    }

    /// What the audit log says of a change.
    pub(super) fn event(&self, deed: Deed) -> AuditEvent {
        deed.event(&self.actor, self.now())
    }

    /// Makes a change of objects, or says that somebody else was first.
    pub(super) async fn change(&self, object: &'static str, change: Change) -> Result<Option<Applied>, AdminError> {
        match self.issuer().change(change, self.dry_run).await {
            Ok(applied) => Ok(Some(applied)),
            Err(ChangeError::Overtaken) => Ok(None),
            Err(error) => Err(AdminError::of_change(object, error)),
        }
    }

    /// Puts revocations in force that the store has taken over.
    pub(super) fn put_in_force(&self, revocations: &[Revocation]) {
        for revocation in revocations {
            self.issuer().put_in_force(revocation.clone());
        }
    }

    /// Every live grant of this sort.
    pub(super) async fn all_grants(&self, which: &GrantSelector) -> Result<Vec<GrantRecord>, AdminError> {
        let mut found = Vec::new();
        let mut after: Option<GrantId> = None;
        loop {
            let page = self.store().grants(which, after.as_ref(), GRANTS_PAGE).await?;
            let full = page.len() >= GRANTS_PAGE as usize;
            after = page.last().map(|grant| grant.id.clone());
            found.extend(page);
            if !full {
                return Ok(found);
            }
        }
    }

    /// Ends grants with their refresh and access tokens.
    pub(super) async fn end_grants(&self, which: &GrantSelector, event: &AuditEvent) -> Result<(), AdminError> {
        if !self.dry_run {
            self.issuer().end_grants(which, event).await?;
        }
        Ok(())
    }
}
