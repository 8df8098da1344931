//! Our own authorization servers as the gate finds them: those of the issuer in this process, or of one elsewhere.

use std::sync::{Arc, Weak};

use url::Url;

use crate::issuer::Issuer;
use crate::keys::LiveKeys;
use crate::model::id::AuthorizationServerId;
use crate::trust::settings::{ManagedReference, ManagedServer};

/// Where the gate finds our own authorization servers.
pub(super) trait Ours: Send + Sync {
    /// Whether keys are had from here; they are fetched if not.
    fn has_keys(&self) -> bool;

    /// The keys of an authorization server.
    fn keys(&self, server: &AuthorizationServerId) -> Option<Arc<LiveKeys>>;

    /// The managed authorization server that is meant, if it is there and active.
    fn find(&self, reference: &ManagedReference, public_url: &Url) -> Option<ManagedServer>;

    /// Has this called whenever a managed one may have changed.
    fn listen(&self, listener: Box<dyn Fn() + Send + Sync>);
}

/// The issuer of this process. It is not kept alive: it ends before its journal does.
pub(super) struct Here(pub(super) Weak<Issuer>);

impl Ours for Here {
    fn has_keys(&self) -> bool {
        true
    }

    fn keys(&self, server: &AuthorizationServerId) -> Option<Arc<LiveKeys>> {
        self.0.upgrade()?.live_keys(server)
    }

    fn find(&self, reference: &ManagedReference, _: &Url) -> Option<ManagedServer> {
        let issuer = self.0.upgrade()?;
        let found = match reference {
            ManagedReference::Id(id) => issuer.active_server(id),
            ManagedReference::Name(name) => issuer.active_server_named(name),
        }?;
        Some(ManagedServer {
            id: found.id,
            issuer: found.issuer,
            audience: found.audience,
        })
    }

    fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        if let Some(issuer) = self.0.upgrade() {
            issuer.listen(listener);
        }
    }
}

/// An issuer elsewhere, of which nothing is heard: its keys are fetched, and what it manages is not known.
pub(super) struct Unheard;

impl Ours for Unheard {
    fn has_keys(&self) -> bool {
        false
    }

    fn keys(&self, _: &AuthorizationServerId) -> Option<Arc<LiveKeys>> {
        None
    }

    fn find(&self, _: &ManagedReference, _: &Url) -> Option<ManagedServer> {
        None
    }

    fn listen(&self, _: Box<dyn Fn() + Send + Sync>) {}
}
