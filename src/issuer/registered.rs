//! Clients that registered themselves: what they may be, and which of them were used.
//!
//! Which client was used is noted in memory and written down now and then ([`crate::admin::registration`]): a token
//! must not cost a row. What a crash forgets is a day of use, and clients live for months without any.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::issuer::Issuer;
use crate::issuer::settings::RegistrationPolicy;
use crate::model::id::ClientId;

/// What is known of clients that registered themselves.
#[derive(Debug, Default)]
pub(super) struct Registered {
    policy: ArcSwapOption<RegistrationPolicy>,
    used: Mutex<HashSet<ClientId>>,
}

impl Issuer {
    /// Says what clients may register themselves as from now on; nothing if `None`.
    pub fn allow_registration(&self, policy: Option<RegistrationPolicy>) {
        self.registered.policy.store(policy.map(Arc::new));
    }

    /// What clients may register themselves as.
    pub fn registration(&self) -> Option<Arc<RegistrationPolicy>> {
        self.registered.policy.load_full()
    }

    /// Notes that a client was given a token, if it registered itself.
    pub(super) fn note_use(&self, client: Option<&ClientId>) {
        let Some(id) = client else { return };
        let directory = self.directory();
        let registered_itself = directory
            .client(id.as_str())
            .is_some_and(|client| client.document.registration.is_some());
        if registered_itself {
            self.registered.used.lock().insert(id.clone());
        }
    }

    /// The clients that were used since this was last asked.
    pub fn take_used(&self) -> HashSet<ClientId> {
        std::mem::take(&mut *self.registered.used.lock())
    }

    /// As if the client had been given a token.
    #[cfg(test)]
    pub(crate) fn note_use_for_test(&self, client: &ClientId) {
        self.note_use(Some(client));
    }
}
