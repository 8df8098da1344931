//! The decision log: one JSON object a line for each decision that is sampled.
//!
//! Rules:
//! 1. **It never delays or denies a check** (case O09). A line is made on the check's thread, copied
//!    into a bounded buffer and forgotten; a thread of its own writes what has gathered. When the buffer is full the
//!    line is dropped and counted, and it is not even made.
//! 2. **One decision is one line** (attack E17), and holds no credential: no header, no query, no
//!    user information, nothing that reads as a token (attack E18). Fields from peers are capped.
//! 3. Which decisions are logged follows from the decision id alone, so that several sinks and
//!    several nodes agree, and a test can foretell it.
//! 4. Masked fields are written as HMAC-SHA-256 under a key that this process made at its start:
//!    equal values stay recognisable as equal until the restart, and cannot be guessed from a list.
//!
//! ```text
//! check thread ── sampled? ── line ──▶ buffer (bounded) ──▶ writer thread ──▶ stdout | file
//!                                          └ full: dropped, counted
//! ```

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use crate::entropy;
use crate::model::event::{CheckEvent, Outcome};
use crate::telemetry::TelemetryError;
use crate::telemetry::settings::{DecisionLogSettings, DecisionLogTarget, MaskedField};
use crate::telemetry::share::Share;
use crate::telemetry::text::{self, OneLine};

/// The most that waits to be written. At some 500 bytes a line this is ten thousand decisions.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// How long the writer lets lines gather before it writes them together. To wake it and to write cost more than to make
/// a line, and whoever follows the log does not notice.
const GATHER: Duration = Duration::from_millis(20);

/// What is written without waiting for more.
const GATHERED_BYTES: usize = 64 * 1024;

/// The longest of each field that a peer has a say in, in bytes. With all of them at their longest,
/// and every byte an escape, a line stays below 16 KiB.
const METHOD_BYTES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 1024;

/// Bytes of a mask's digest that are written: enough to tell apart every subject there is.
const MASK_BYTES: usize = 16;

/// The decision log.
#[derive(Debug)]
pub(super) struct DecisionLog {
    allows: Share,
    denials: Share,
    mask: Mask,
    shared: Arc<Shared>,
}

/// How lines that never reached their target are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Drops {
    /// The buffer was full.
    pub(super) full: Counter,
    /// The target could not be written to.
    pub(super) write_failed: Counter,
}

/// Makes the target, also anew after `reopen`.
type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

impl DecisionLog {
    /// Opens the target and starts the writer; `None` if nothing is to be logged.
    ///
    /// # Errors
    /// [`TelemetryError`] if a ratio is none, or the file cannot be opened for appending.
    pub(super) fn start(settings: &DecisionLogSettings, drops: Drops) -> Result<Option<Self>, TelemetryError> {
        let open: Open = match &settings.to {
            DecisionLogTarget::None => return Ok(None),
            DecisionLogTarget::Stdout => Box::new(|| Ok(Box::new(io::stdout()))),
            DecisionLogTarget::File(path) => {
                let path = path.clone();
                Box::new(move || Ok(Box::new(append_to(&path)?)))
            }
        };
        Self::start_with(settings, drops, open).map(Some)
    }

    /// The same with any target.
    pub(super) fn start_with(
        settings: &DecisionLogSettings,
        drops: Drops,
        mut open: Open,
    ) -> Result<Self, TelemetryError> {
        let share = |field, ratio| Share::from_ratio(ratio).ok_or(TelemetryError::Ratio { field, ratio });
        let allows = share("decision_log.allows", settings.allows)?;
        let denials = share("decision_log.denials", settings.denials)?;
        let target = open().map_err(|source| TelemetryError::DecisionLog {
            target: match &settings.to {
                DecisionLogTarget::File(path) => path.display().to_string(),
                _ => "stdout".to_owned(),
            },
            source,
        })?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            done: Condvar::new(),
            drops,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            target,
            open,
            torn: false,
            failing: false,
        };
        thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || writer.run())
            .map_err(TelemetryError::Thread)?;
        Ok(Self {
            allows,
            denials,
            mask: Mask::new(&settings.mask),
            shared,
        })
    }

    /// Whether this decision is one of those that are logged, and there is room for it.
    pub(super) fn wants(&self, event: &CheckEvent<'_>) -> bool {
        let share = match event.outcome {
            Outcome::Allow => self.allows,
            Outcome::Deny(_) => self.denials,
        };
        if !share.takes_name(event.decision_id) {
            return false;
        }
        // Under a flood of denials the line is not even made.
        let full = self.shared.state.lock().is_full();
        if full {
            self.shared.drops.full.inc();
        }
        !full
    }

    /// Logs one decision. The caller has asked [`DecisionLog::wants`].
    pub(super) fn write(&self, event: &CheckEvent<'_>, trace_id: Option<String>) {
        self.shared.push(&self.line(event, trace_id));
    }

    fn line(&self, event: &CheckEvent<'_>, trace_id: Option<String>) -> Vec<u8> {
        let (outcome, reason) = match event.outcome {
            Outcome::Allow => ("allow", None),
            Outcome::Deny(reason) => ("deny", Some(reason.as_str())),
        };
        let line = Line {
            time: rfc3339(event.started),
            decision_id: peer(event.decision_id, NAME_BYTES_MAX),
            outcome,
            reason,
            detail: event.detail,
            api: event.api,
            route: event.route_name,
            method: peer(event.method, METHOD_BYTES_MAX),
            host: peer(text::host_alone(event.host), NAME_BYTES_MAX),
            path: self.mask.path(text::path_alone(event.path)),
            request_id: peer(event.request_id, NAME_BYTES_MAX),
            subject: event.subject.map(|subject| self.mask.subject(subject)),
            client_id: event.client_id.map(|client| self.mask.client_id(client)),
            authorization_server: event.authorization_server,
            cache: event.cache.as_str(),
            latency_us: u64::try_from(event.latency.as_micros()).unwrap_or(u64::MAX),
            trace_id,
            connection: event.long_lived.then_some("long-lived"),
        };
        let mut out = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
        line.serialize(&mut serializer)
            .expect("a struct of texts and numbers is written to memory");
        out.push(b'\n');
        out
    }

    /// Opens the target anew before the next line: after its file was moved away.
    pub(super) fn reopen(&self) {
        self.shared.state.lock().reopen = true;
        self.shared.work.notify_one();
    }

    /// Writes what waits and ends the writer; false if that took longer than `deadline`. Lines that
    /// come later are dropped and counted.
    pub(super) fn shutdown(&self, deadline: Duration) -> bool {
        let mut state = self.shared.state.lock();
        state.closed = true;
        self.shared.work.notify_one();
        !self
            .shared
            .done
            .wait_while_for(&mut state, |state| !state.finished, deadline)
            .timed_out()
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        // Without a shutdown nothing is waited for; the thread must end all the same.
        self.shared.state.lock().closed = true;
        self.shared.work.notify_one();
    }
}

/// A decision as it is written. The names are part of `telemetry::VOCABULARY`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    decision_id: Cow<'a, str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    method: Cow<'a, str>,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    request_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_server: Option<&'a str>,
    cache: &'static str,
    latency_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// `long-lived` for an upgrade: this decision covers everything that follows on it (case M06).
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'static str>,
}

/// A field that a peer has a say in.
fn peer(value: &str, bytes_max: usize) -> Cow<'_, str> {
    // Redacted before it is cut: a token cut in two would no longer be known for one.
    text::capped(text::without_tokens(value), bytes_max)
}

fn rfc3339(time: std::time::SystemTime) -> String {
    // Only a clock outside the years that can be written fails here; the line is still worth having.
    jiff::Timestamp::try_from(time).map_or_else(|_| "0000-01-01T00:00:00.000Z".to_owned(), |time| format!("{time:.3}"))
}

fn append_to(path: &std::path::Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    // Subjects and paths are personal data: nobody else's eyes unless the operator says so.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Which fields are written as digests, and the key of these.
struct Mask {
    key: hmac::Key,
    subject: bool,
    client_id: bool,
    path: bool,
}

impl Mask {
    fn new(fields: &[MaskedField]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &entropy::random_bytes::<32>()),
            subject: fields.contains(&MaskedField::Subject),
            client_id: fields.contains(&MaskedField::ClientId),
            path: fields.contains(&MaskedField::Path),
        }
    }

    fn subject<'a>(&self, value: &'a str) -> Cow<'a, str> {
        self.shown(self.subject, value, NAME_BYTES_MAX)
    }

    fn client_id<'a>(&self, value: &'a str) -> Cow<'a, str> {
        self.shown(self.client_id, value, NAME_BYTES_MAX)
    }

    fn path<'a>(&self, value: &'a str) -> Cow<'a, str> {
        self.shown(self.path, value, PATH_BYTES_MAX)
    }

    fn shown<'a>(&self, masked: bool, value: &'a str, bytes_max: usize) -> Cow<'a, str> {
        if !masked {
            return peer(value, bytes_max);
        }
        let tag = hmac::sign(&self.key, value.as_bytes());
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&tag.as_ref()[..MASK_BYTES]);
        Cow::Owned(format!("hmac:{digest}"))
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask(..)")
    }
}

/// What check threads and the writer share.
#[derive(Debug)]
struct Shared {
    /// Held for a copy of one line, or for a swap of two pointers: never while anything is written.
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    drops: Drops,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, one after another.
    waiting: Vec<u8>,
    reopen: bool,
    closed: bool,
    finished: bool,
}

impl State {
    fn is_full(&self) -> bool {
        self.closed || self.waiting.len() >= BUFFER_BYTES_MAX
    }

    fn is_gathered(&self) -> bool {
        self.waiting.len() >= GATHERED_BYTES
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.is_full() {
            drop(state);
            self.drops.full.inc();
            return;
        }
        let (was_empty, was_gathered) = (state.waiting.is_empty(), state.is_gathered());
        state.waiting.extend_from_slice(line);
        let is_news = was_empty || state.is_gathered() != was_gathered;
        drop(state);
        // To wake the writer for each line costs more than the line.
        if is_news {
            self.work.notify_one();
        }
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    target: Box<dyn Write + Send>,
    open: Open,
    /// A write ended in the middle of a line: the next one begins on a line of its own.
    torn: bool,
    /// The target fails, and the log has said so.
    failing: bool,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let (reopen, closed) = {
                let mut state = self.shared.state.lock();
                self.shared.work.wait_while(&mut state, |state| {
                    state.waiting.is_empty() && !state.reopen && !state.closed
                });
                let gathers = |state: &mut State| !state.is_gathered() && !state.reopen && !state.closed;
                self.shared.work.wait_while_for(&mut state, gathers, GATHER);
                std::mem::swap(&mut batch, &mut state.waiting);
                (std::mem::take(&mut state.reopen), state.closed)
            };
            if reopen {
                match (self.open)() {
                    Ok(target) => self.target = target,
                    Err(error) => {
                        tracing::error!(%error, "the decision log cannot be reopened, the old file stays in use");
                    }
                }
            }
            if !batch.is_empty() {
                self.write(&batch);
                batch.clear();
            }
            if closed {
                self.shared.state.lock().finished = true;
                self.shared.done.notify_all();
                return;
            }
        }
    }

    fn write(&mut self, batch: &[u8]) {
        let result = if self.torn {
            self.target.write_all(b"\n")
        } else {
            Ok(())
        }
        .and_then(|()| self.target.write_all(batch))
        .and_then(|()| self.target.flush());
        match result {
            Ok(()) => {
                self.torn = false;
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the decision log can be written again");
                }
            }
            Err(error) => {
                self.torn = true;
                let lines = batch.split_inclusive(|byte| *byte == b'\n').count();
                self.shared.drops.write_failed.inc_by(lines as u64);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the decision log cannot be written, decisions go on without it");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
