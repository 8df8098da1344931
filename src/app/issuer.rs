//! Puts the issuer together with its store.

use std::sync::Arc;

use axum::Router;

use crate::clock::Clock;
use crate::config::Settings;
use crate::telemetry::Telemetry;

/// The issuer that runs in this process.
pub(super) struct Issuer {
    router: Router,
}

/// What a reload gives the issuer.
pub(super) struct Prepared;

/// Opens the store and starts the issuer, if the settings declare one.
#[expect(clippy::unused_async, reason = "opening the store is a wait")]
pub(super) async fn start(
    settings: &Settings,
    _clock: &Arc<dyn Clock>,
    _telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Option<Issuer>> {
    if settings.issuer.is_none() {
        return Ok(None);
    }
    Ok(Some(Issuer { router: Router::new() }))
}

impl Issuer {
    /// Everything that clients reach.
    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Makes everything that new settings ask for, and changes nothing yet.
    pub(super) fn prepare(&self, _settings: &Settings) -> anyhow::Result<Prepared> {
        Ok(Prepared)
    }

    /// Puts it in force.
    pub(super) fn install(&self, Prepared: Prepared) {}
}
