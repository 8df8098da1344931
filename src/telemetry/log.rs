//! The log of the program itself: what an operator reads when something is wrong.
//!
//! Rules:
//! - It goes to standard error. Standard output belongs to the decision log.
//! - One event is one line, whatever a peer put into it (attack E17): the human format writes line
//!   ends and terminal sequences as escapes, and uses no colours.
//! - Of other people's crates only `info` and worse gets through, whatever the filter says: at
//!   `trace` the HTTP crates print header values, and with them tokens (attack E18).
//!
//! The filter comes from `SCOPEGATE_LOG`, in the syntax of `tracing_subscriber::EnvFilter`; it is
//! read by `config::source` and handed in.

use std::io;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::telemetry::text;

/// The variable that holds the filter.
pub const FILTER_VARIABLE: &str = "SCOPEGATE_LOG";

/// What is logged if nothing is said: our own `info`, and of others what needs attention.
const FILTER_DEFAULT: &str = "warn,scopegate=info";

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("`{filter}` is not a log filter: say for example `info` or `scopegate=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// What `EnvFilter` found.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process already has a log.
    #[error("the log is already set up")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Makes the process log to standard error from here on.
///
/// # Errors
/// [`LogError`] if the filter cannot be read, or if this is called a second time.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), LogError> {
    subscriber(filter, format, io::stderr)?
        .try_init()
        .map_err(LogError::Twice)
}

/// The same, not installed and with another place to write to: for tests.
///
/// # Errors
/// [`LogError::Filter`] if the filter cannot be read.
pub fn subscriber<W>(
    filter: Option<&str>,
    format: LogFormat,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static + use<W>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let text = filter.filter(|text| !text.trim().is_empty()).unwrap_or(FILTER_DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|source| LogError::Filter {
        filter: text.to_owned(),
        source,
    })?;
    let writer = OneLineWriter(Arc::new(writer));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Human => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(true)
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .with_writer(writer)
            .boxed(),
    };
    let lines = lines.with_filter(filter).with_filter(filter_fn(is_safe));
    Ok(tracing_subscriber::registry().with(lines))
}

/// Whether an event comes from us, or from others at a level at which they print no headers.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let ours = matches!(metadata.target().split("::").next(), Some("scopegate" | "it"));
    ours || *metadata.level() <= LevelFilter::INFO
}

/// Escapes within each line what would make it two.
#[derive(Debug)]
struct OneLineWriter<W>(Arc<W>);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLineWriter<W> {
    type Writer = OneLineSink<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineSink(self.0.make_writer())
    }
}

/// One event's way out. The formatter hands over a whole event in one call.
#[derive(Debug)]
struct OneLineSink<W>(W);

impl<W: io::Write> io::Write for OneLineSink<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // Nearly every line is of printable ASCII, and goes out as it is.
        if let Some((b'\n', line)) = event.split_last()
            && line.iter().all(|byte| matches!(byte, b' '..=b'~'))
        {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let line = String::from_utf8_lossy(event);
        let line = text::one_line(line.trim_end_matches(['\n', '\r']));
        let mut out = Vec::with_capacity(line.len() + 1);
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        self.0.write_all(&out)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;
    use crate::telemetry::testing::Captured;

    fn logged(filter: Option<&str>, format: LogFormat, act: impl FnOnce()) -> String {
        let captured = Captured::default();
        let subscriber = subscriber(filter, format, captured.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        captured.text()
    }

    #[test]
    fn attack_e17_one_event_is_one_line_in_both_formats() {
        let evil = "x\n2026-01-01 INFO forged \x1b[31m\u{9b}31m\r\u{2028}end";
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = logged(Some("info"), format, || {
                tracing::info!(path = evil, shown = %evil, "seen {evil}");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.trim_end_matches('\n').contains(text::is_unprintable), "{text:?}");
            assert!(text.contains("forged"));
        }
    }

    #[test]
    fn attack_e18_headers_that_other_crates_print_stay_out_whatever_the_filter_says() {
        let text = logged(Some("trace"), LogFormat::Human, || {
            tracing::trace!(target: "h2::hpack::decoder", "authorization: Bearer canary");
            tracing::debug!(target: "hyper::proto", "authorization: Bearer canary");
            tracing::trace!(target: "scopegate::authz", secret = ?Secret::new("canary".to_owned()), "ours");
            tracing::info!(target: "h2", "connection lost");
        });
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("ours") && text.contains("Secret(..)") && text.contains("connection lost"));
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(None, LogFormat::Json, || {
            tracing::info!(target: "scopegate", { authorization_server.id = "a\u{9b}" }, "keys fetched");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("a JSON object");
        assert_eq!(line["message"], "keys fetched");
        assert!(line["authorization_server.id"].is_string());
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = subscriber(Some("scopegate=loud"), LogFormat::Human, io::sink)
            .err()
            .expect("refused");
        assert!(error.to_string().contains("`scopegate=loud`"));
        assert!(subscriber(Some(" "), LogFormat::Human, io::sink).is_ok());
    }
}
