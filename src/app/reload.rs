//! Reads the configuration again, on SIGHUP and when its file changes: whole or not at all.
//!
//! Everything that can fail (reading, checking, compiling, reading certificates) happens before anything is changed. A
//! configuration with errors leaves the last good one in force, and the log says where it is wrong. Listeners, store and
//! telemetry are made once: a change of theirs is named, and waits for a restart.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::gate::Gate;
use crate::app::issuer::Issuer;
use crate::config::{self, Settings, Source, watch};
use crate::model::event::{Event, EventSink as _};
use crate::net::tls::Tls;
use crate::telemetry::Telemetry;

/// What a reload reaches.
pub(super) struct Reloader {
    pub(super) path: PathBuf,
    pub(super) source: Arc<dyn Source + Send + Sync>,
    pub(super) certificates: Vec<Arc<Tls>>,
    pub(super) gate: Option<Gate>,
    pub(super) issuer: Option<Issuer>,
    pub(super) telemetry: Arc<Telemetry>,
}

impl Reloader {
    /// Reloads when asked to, until the process ends.
    pub(super) async fn run(self, stop: CancellationToken) {
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
                    self.reload();
                }
                Some(watch::Request::Change) => self.reload(),
                None => return,
            }
        }
    }

    /// Reads and installs, or leaves everything as it is.
    fn reload(&self) {
        let error = self.try_reload().err();
        self.telemetry.record(&Event::Reloaded {
            error: error.as_deref(),
        });
    }

    fn try_reload(&self) -> Result<(), String> {
        let text = |error: anyhow::Error| format!("{error:#}");
        let settings = config::load_for_serving(&self.path, &*self.source).map_err(|report| report.to_string())?;
        let gate = self.gate.as_ref().map(|gate| gate.prepare(&settings)).transpose().map_err(text)?;
        let issuer = self.issuer.as_ref().map(|issuer| issuer.prepare(&settings)).transpose().map_err(text)?;
        for tls in &self.certificates {
            tls.reload().map_err(|error| error.to_string())?;
        }
        // The issuer first: tokens that it mints from now on are judged by the rules that come next.
        if let (Some(running), Some(prepared)) = (&self.issuer, issuer) {
            running.install(prepared);
        }
        if let (Some(running), Some(prepared)) = (&self.gate, gate) {
            running.install(prepared);
        }
        tracing::info!(config.version = settings.version, "the configuration is in force");
        warn(&settings);
        Ok(())
    }
}

fn warn(settings: &Settings) {
    if settings.report.warnings() > 0 {
        tracing::warn!("{}", settings.report);
    }
}
