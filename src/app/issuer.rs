//! Puts the issuer together with its store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::Administration;
use crate::app::Bound;
use crate::app::ours::{Here, Ours};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::report::brief;
use crate::http;
use crate::issuer::journal::Journal;
use crate::issuer::{self, Services, StartError};
use crate::lifecycle::Lifecycle;
use crate::net::asking::Asking;
use crate::net::fetch::HttpFetch;
use crate::net::settings::ListenAddress;
use crate::revocation::Revocations;
use crate::store;
use crate::telemetry::Telemetry;

/// The issuer that runs in this process.
pub(super) struct Issuer(Arc<issuer::Issuer>);

/// Opens the store and starts the issuer, if the settings declare one. The task that comes with it writes the journal: it
/// ends when the issuer is gone and all is written, and must not be cut before (what was denied last is what is asked first).
pub(super) async fn start(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    telemetry: &Arc<Telemetry>,
    revocations: &Arc<Revocations>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Option<(Issuer, JoinHandle<()>)>> {
    let Some(declared) = &settings.issuer else {
        return Ok(None);
    };
    let Some(store) = &settings.store else {
        bail!("tokens are minted here, and the configuration names no `store`");
    };
    let opened = store::open::open(store, settings.sealing_key.as_ref(), settings.dev)
        .await
        .context("the store")?;
    let (journal, writing) = Journal::start(opened.store.clone());
    let writing = tokio::spawn(writing);
    let services = Services {
        store: opened,
        revocations: revocations.clone(),
        clock: clock.clone(),
        events: telemetry.clone(),
        audit: journal,
        fetch: Arc::new(HttpFetch::new()),
    };
    if let Some(stale_after) = settings.gate.revocations_stale_after {
        revocations.trust_silence_for(stale_after);
    }
    let issuer = issuer::Issuer::start(declared, services)
        .await
        .map_err(|error| told(settings, error))?;
    issuer.allow_registration(settings.registration.clone());
    let (tended, stop) = (issuer.clone(), lifecycle.stop().soft.clone());
    lifecycle.essential("issuer", tended.tend(stop.clone()));
    lifecycle.essential("registrations", tend_registrations(issuer.clone(), stop.clone()));
    lifecycle.essential("other nodes", issuer.clone().follow(stop));
    Ok(Some((Issuer(issuer), writing)))
}

impl Issuer {
    /// Everything that clients reach.
    pub(super) fn router(&self) -> Router {
        http::router(self.0.clone())
    }

    /// Says where the management API is reached, which links and assertions name: at its listener, by the host of the
    /// public URL where that listens at every address.
    pub(super) fn serve_management_at(&self, bound: &Bound) {
        let ListenAddress::Tcp(address) = bound.address() else {
            return;
        };
        let scheme = if bound.tls().is_some() { "https" } else { "http" };
        let public_url = self.0.public_url();
        let host = match public_url.host_str() {
            Some(host) if address.ip().is_unspecified() => format!("{host}:{}", address.port()),
            _ => address.to_string(),
        };
        if let Ok(url) = format!("{scheme}://{host}").parse() {
            self.0.serve_management_at(url);
        }
    }

    /// Everything that administrators reach.
    pub(super) fn admin_router(&self) -> Router {
        http::admin_router(self.0.clone(), http::Limits::default())
    }

    /// When the listener has to ask clients for certificates.
    pub(super) fn asking_for_certificates(&self) -> Asking {
        let issuer = Arc::downgrade(&self.0);
        Asking::while_needed(move || issuer.upgrade().is_some_and(|issuer| issuer.needs_certificates()))
    }

    /// Its servers as the gate of this process finds them.
    pub(super) fn ours(&self) -> Arc<dyn Ours> {
        Arc::new(Here(Arc::downgrade(&self.0)))
    }

    /// Takes over new settings: whole, or not at all.
    pub(super) async fn reload(&self, settings: &Settings) -> anyhow::Result<()> {
        let Some(declared) = &settings.issuer else {
            bail!("the new configuration mints no tokens any more; that takes a restart");
        };
        self.0.reload(declared).await.map_err(|error| told(settings, error))?;
        self.0.allow_registration(settings.registration.clone());
        Ok(())
    }
}

/// How often clients that registered themselves are looked through.
const LOOK_AT_REGISTRATIONS_EVERY: Duration = Duration::from_secs(600);

/// Forgets registered clients that nobody uses, until it is told to stop.
async fn tend_registrations(issuer: Arc<issuer::Issuer>, stop: CancellationToken) {
    let administration = Administration::new(issuer);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AT_REGISTRATIONS_EVERY) => {}
        }
        if let Err(error) = administration.tend_registrations().await {
            tracing::warn!(%error, "registered clients could not be looked through; the next look is later");
        }
    }
}

fn told(settings: &Settings, error: StartError) -> anyhow::Error {
    match error {
        StartError::Declaration(findings) => anyhow::anyhow!(brief(&settings.source_path, &findings)),
        error => anyhow::Error::new(error).context("the issuer"),
    }
}
