//! Reads the configuration again, on SIGHUP and when its file changes: whole or not at all.
//!
//! Everything that can fail (reading, checking, compiling, reading certificates) happens before anything is changed. A
//! configuration with errors leaves the last good one in force, and the log says where it is wrong. Listeners, store and
//! telemetry are made once: a change of theirs is named, and waits for a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::gate::Gate;
use crate::app::issuer::Issuer;
use crate::config::report::brief;
use crate::config::{self, Settings, Source, watch};
use crate::model::event::{Event, EventSink as _};
use crate::net::tls::Tls;
use crate::store::settings::StoreSettings;
use crate::telemetry::Telemetry;

/// What a reload reaches.
pub(super) struct Reloader {
    pub(super) path: PathBuf,
    pub(super) source: Arc<dyn Source + Send + Sync>,
    pub(super) certificates: Vec<Arc<Tls>>,
    pub(super) gate: Option<Gate>,
    pub(super) issuer: Option<Issuer>,
    pub(super) telemetry: Arc<Telemetry>,
    /// The last good configuration. Its lock makes two asks at once two reloads, one after the other.
    pub(super) in_force: tokio::sync::Mutex<Settings>,
}

impl Reloader {
    /// Reloads when asked to, until the process ends.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut watch, error) = watch::watch(&self.path);
        if let Some(error) = error {
            tracing::warn!(%error, "the configuration's folder cannot be watched: reload by SIGHUP");
        }
        loop {
            let request = tokio::select! {
                () = stop.cancelled() => return,
                request = watch.next() => request,
            };
            match request {
                Some(watch::Request::Signal) => {
                    self.telemetry.reopen_decision_log();
                    drop(self.reload().await);
                }
                // The log has the error.
                Some(watch::Request::Change) => drop(self.reload().await),
                None => return,
            }
        }
    }

    /// Reads and installs, or leaves everything as it is.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let outcome = self.try_reload().await;
        self.telemetry.record(&Event::Reloaded {
            error: outcome.as_ref().err().map(String::as_str),
        });
        outcome
    }

    async fn try_reload(&self) -> Result<(), String> {
        let text = |error: anyhow::Error| format!("{error:#}");
        let mut in_force = self.in_force.lock().await;
        let settings = config::load_for_serving(&self.path, &*self.source)
            .map_err(|report| brief(&self.path, report.findings()))?;
        let gate = self.gate.as_ref().map(|gate| (gate, Gate::prepare(&settings)));
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|tls| tls.prepare().map(|prepared| (tls, prepared)))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        // The issuer first: tokens that it mints from now on are judged by the rules that come next, and the gate asks it
        // for the keys of servers that are new.
        if let Some(issuer) = &self.issuer {
            issuer.reload(&settings).await.map_err(text)?;
        }
        if let Some((gate, prepared)) = gate
            && let Err(error) = gate.install(prepared)
        {
            self.restore_issuer(&in_force).await;
            return Err(text(error));
        }
        for (tls, prepared) in certificates {
            tls.install(prepared);
        }
        for part in waiting_for_restart(&in_force, &settings) {
            tracing::warn!(
                part,
                "the configuration's `{part}` has changed, and waits for a restart"
            );
        }
        tracing::info!(
            config.version = settings.version,
            config.warnings = settings.report.warnings(),
            "the configuration {} is in force",
            settings.version
        );
        *in_force = settings;
        Ok(())
    }

    /// Gives the issuer back what is in force, since the gate does not come along.
    async fn restore_issuer(&self, in_force: &Settings) {
        if let Some(issuer) = &self.issuer
            && let Err(error) = issuer.reload(in_force).await
        {
            tracing::error!("the issuer cannot go back to the last good configuration: {error:#}");
        }
    }
}

/// How often the files of certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(1);

/// Takes up certificates that have changed, until it is dropped. A pair that cannot be used leaves the last one in force.
pub(super) async fn follow_certificates(certificates: Vec<Arc<Tls>>) {
    loop {
        tokio::time::sleep(CERTIFICATES_EVERY).await;
        for tls in &certificates {
            match tls.follow() {
                Ok(false) => {}
                Ok(true) => tracing::info!("changed certificates are in force"),
                Err(error) => {
                    tracing::error!(%error, "changed certificates cannot be used; the last ones stay in force");
                }
            }
        }
    }
}

/// What the new settings ask for and a running process cannot give.
fn waiting_for_restart(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let store = |settings: &Settings| match &settings.store {
        Some(StoreSettings::Sqlite(path)) => Some(path.display().to_string()),
        Some(StoreSettings::Postgres { url, .. }) => Some(url.clone()),
        None => None,
    };
    let sealing_key = |settings: &Settings| settings.sealing_key.as_ref().map(ToString::to_string);
    // Only its path is where requests are looked for; scheme and host are what is said of them.
    let path = |settings: &Settings| settings.public_url.as_ref().map(|url| url.path().to_owned());
    let parts = [
        ("dev", running.dev != new.dev),
        ("gate", running.gate != new.gate),
        ("listeners", running.listeners != new.listeners),
        ("public_url", path(running) != path(new)),
        (
            "store",
            store(running) != store(new) || sealing_key(running) != sealing_key(new),
        ),
        ("telemetry", running.telemetry != new.telemetry),
    ];
    parts
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(part, _)| part)
        .collect()
}
