//! The configuration: one file, read into each room's own settings, or into every mistake at once.
//!
//! - The file's shape ([`file`]) is not the settings' shape: nobody outside this room sees it.
//! - One run reports everything that is wrong, each finding with line, column and a way out. A file
//!   with one error gives no settings at all: it is taken whole or not at all.
//! - `check` runs exactly what `serve` runs, except that a secret file which cannot be read is a
//!   warning to the one and an error to the other.
//! - No secret of the file reaches a message; see `redact`.
//!
//! ```text
//! text ─ yaml ─▶ nodes ─ decode ─▶ file shapes ─ listeners, trust, routes, issuer, … ─▶ settings
//!                  │                  │                            │
//!                  └──────────────────┴───── findings ─────────────┴──▶ report
//! ```
//!
//! What routes and rules *mean* is checked by `policy` and `oauth`; what needs both is in `reach`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

mod assemble;
pub mod cases;
mod clients;
mod context;
mod decode;
mod file;
mod issuer;
mod listeners;
mod reach;
mod redact;
mod registration;
pub mod report;
mod routes;
mod scalar;
pub mod schema;
pub mod source;
mod telemetry;
mod trust;
pub mod watch;
mod yaml;

pub use report::Report;
pub use source::Source;

use crate::issuer::settings::{IssuerSettings, RegistrationPolicy};
use crate::model::digest::Digest;
use crate::net::settings::Listeners;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::declared::Declaration;
use crate::store::settings::{SealingKeySource, StoreSettings};
use crate::telemetry::settings::TelemetrySettings;
use crate::trust::settings::{ManagedServerSettings, TrustedServerSettings};
use context::{Context, SECRET_FILE_UNREADABLE};
use decode::{Decode, Problems};
use file::File;

/// Everything that the process needs to know, checked.
#[derive(Debug)]
pub struct Settings {
    /// Whether what is safe on loopback only is relaxed.
    pub dev: bool,
    /// The URL that clients see; there is one if tokens are minted here.
    pub public_url: Option<Url>,
    /// Where the process listens.
    pub listeners: Listeners,
    /// The issuer's store; there is one if tokens are minted here, or if the file names one.
    pub store: Option<StoreSettings>,
    /// Where the store's sealing key comes from; beside an SQLite database if nothing says so.
    pub sealing_key: Option<SealingKeySource>,
    /// The bounds of the gate.
    pub gate: GateLimits,
    /// The gate's rules, as declared.
    pub policy: Declaration,
    /// The same rules, compiled: it takes longer than all else that a start does, and once is enough.
    pub compiled: Arc<CompiledPolicy>,
    /// The authorization servers whose tokens the gate may believe, local ones included.
    pub trust: Vec<TrustedServerSettings>,
    /// Those that are made over the management API.
    pub managed: Vec<ManagedServerSettings>,
    /// The issuer's part; there is one if the file declares a local authorization server, or a managed one.
    pub issuer: Option<IssuerSettings>,
    /// What clients may register themselves as; nobody may if there is none.
    pub registration: Option<RegistrationPolicy>,
    /// What is seen of the process.
    pub telemetry: TelemetrySettings,
    /// The file.
    pub source_path: PathBuf,
    /// A name for this text of the file: the start of its SHA-256, in base64url.
    pub version: String,
    /// The warnings.
    pub report: Report,
}

/// The bounds of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// The memory of remembered verdicts, in bytes.
    pub verdict_cache_bytes: usize,
    /// How many checks may be under way at once.
    pub checks_max: usize,
    /// How long one check may take.
    pub check_timeout: Duration,
    /// The largest check request that is read, in bytes.
    pub message_bytes_max: usize,
    /// For how long a thread that has answered looks for the next check instead of sleeping.
    pub busy_poll: Duration,
    /// For how long revocations that are not heard of anew are relied on, if the file says so.
    pub revocations_stale_after: Option<Duration>,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            verdict_cache_bytes: 64 << 20,
            checks_max: 10_000,
            // below Envoy's own 200 ms, so that our explicit answer arrives first
            check_timeout: Duration::from_millis(150),
            message_bytes_max: 4 << 20,
            busy_poll: Duration::ZERO,
            revocations_stale_after: None,
        }
    }
}

/// Reads and checks a configuration, for tools: `check`, `explain`, `test`, `access`.
///
/// # Errors
/// The report, if it holds an error. Warnings are in [`Settings::report`].
pub fn load(path: &Path, source: &dyn Source) -> Result<Settings, Report> {
    match source.text(path) {
        Ok(text) => load_text(path, &text, source),
        Err(error) => {
            let finding = source::unreadable(&error, "name the file with `-c FILE`");
            Err(Report::new(path, Arc::from(""), vec![finding]))
        }
    }
}

/// Reads and checks a configuration that is about to be served: its secrets must be readable too.
///
/// # Errors
/// The report, if it holds an error.
pub fn load_for_serving(path: &Path, source: &dyn Source) -> Result<Settings, Report> {
    let settings = load(path, source)?;
    let missing = settings
        .report
        .findings()
        .iter()
        .any(|finding| finding.code == SECRET_FILE_UNREADABLE);
    if missing {
        return Err(settings.report.promote(SECRET_FILE_UNREADABLE));
    }
    Ok(settings)
}

/// The same for a text that is already at hand; `path` is where it stands.
///
/// # Errors
/// The report, if it holds an error.
pub fn load_text(path: &Path, text: &str, source: &dyn Source) -> Result<Settings, Report> {
    let (root, findings) = yaml::read(text);
    let mut problems = Problems::default();
    problems.extend(findings);
    let file = root.as_ref().and_then(|root| File::decode(root, &mut problems));
    let shared: Arc<str> = Arc::from(text);
    let Some(file) = file else {
        return Err(Report::new(path, shared, problems.into_findings()));
    };
    let mut context = Context {
        dev: file.dev.unwrap_or(false),
        folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        source,
        problems,
    };
    let settings = context.assemble(file);
    let report = Report::new(path, shared, context.problems.into_findings());
    // INVARIANT: rules that do not compile leave an error in the report.
    let Some(settings) = settings.filter(|_| report.errors() == 0) else {
        return Err(report);
    };
    Ok(Settings {
        source_path: path.to_owned(),
        version: Digest::of(text.as_bytes()).to_base64url().chars().take(12).collect(),
        report,
        ..settings
    })
}

#[cfg(test)]
mod tests;
