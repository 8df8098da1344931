//! `scopegate serve`: runs gate and issuer until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use crate::app::{App, Options, Part};
use crate::clock::SystemClock;
use crate::config::source::{Source as _, System};
use crate::config::{self, Settings};
use crate::entropy;
use crate::lifecycle::{DrainSettings, ExitReport, Signals};
use crate::telemetry::log::{self, LogFormat};
use crate::threads;

/// Run the gate and the issuer.
///
/// Stops on SIGTERM and SIGINT: first it withdraws its readiness and serves on for the drain delay, then it lets calls finish
/// until the drain deadline. A second signal shortens either wait. Reads the file again on SIGHUP and when it changes: a
/// file with errors leaves the last good one in force.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Run this part alone.
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Only>,
    /// How many threads answer checks; as many as there are processors if not said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    gate_threads: Option<u16>,
    /// On SIGTERM, serve on for this long after readiness was withdrawn.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    drain_delay: Duration,
    /// Then let calls and connections finish for this long.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    drain_deadline: Duration,
    /// The form of the log on standard error. Which lines there are, SCOPEGATE_LOG says (for example `debug`).
    #[arg(long, value_enum, default_value_t = Format::Human)]
    log_format: Format,
}

/// A part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Answer Envoy's checks; mint nothing.
    Gate,
    /// Mint tokens; answer no checks.
    Issuer,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Runs the command: exit code 0 if it was asked to stop, 1 if it could not start or go on.
///
/// # Errors
/// What could not be started, in one line; the report of a configuration with errors goes to standard error by itself.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let format = match args.log_format {
        Format::Human => LogFormat::Human,
        Format::Json => LogFormat::Json,
    };
    log::init(System.variable(log::FILTER_VARIABLE).as_deref(), format)?;
    report_panics();
    // The generator gathers entropy for a while when it is first asked: beside the reading of the file.
    std::thread::spawn(entropy::random_bytes::<1>);
    let settings = match config::load_for_serving(&args.config, &System) {
        Ok(settings) => settings,
        Err(report) => {
            super::complain(&report);
            return Ok(ExitCode::FAILURE);
        }
    };
    if settings.report.warnings() > 0 {
        super::complain(&settings.report);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("io")
        .on_thread_start(|| threads::step_back(threads::IO))
        .build()
        .context("cannot start the I/O threads")?;
    let report = runtime.block_on(serve(settings, args.options()))?;
    // What still runs on it was cut already.
    runtime.shutdown_timeout(Duration::from_millis(100));
    tell(&report);
    Ok(ExitCode::from(report.exit_code()))
}

async fn serve(settings: Settings, options: Options) -> anyhow::Result<ExitReport> {
    // Before anything is bound: a signal that comes during the start must not kill what is half there.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let app = App::start(settings, options, Arc::new(SystemClock::start()), Arc::new(System)).await?;
    let (asks, asked) = mpsc::channel(4);
    tokio::spawn(async move { while asks.send(signals.next().await).await.is_ok() {} });
    Ok(app.run(asked).await)
}

fn tell(report: &ExitReport) {
    tracing::info!(
        connections_cut = report.connections_cut,
        telemetry_flushed = report.telemetry_flushed,
        "ended: {:?}",
        report.cause
    );
}

impl ServeArgs {
    fn options(&self) -> Options {
        Options {
            only: self.only.map(|only| match only {
                Only::Gate => Part::Gate,
                Only::Issuer => Part::Issuer,
            }),
            gate_threads: self.gate_threads.map(usize::from),
            drain: DrainSettings {
                delay: self.drain_delay,
                deadline: self.drain_deadline,
            },
            ..Options::default()
        }
    }
}

/// A panic's text may hold what a peer sent: the log gets its place alone (attack E18).
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("a fault of ours: panicked at {place}");
    }));
}

/// `500ms`, `3s`, `2m` or `0`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let count: u32 = digits
        .parse()
        .map_err(|_| "say for example `3s` or `500ms`".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(count.into())),
        "s" => Ok(Duration::from_secs(count.into())),
        "m" => Ok(Duration::from_secs(u64::from(count) * 60)),
        "" if count == 0 => Ok(Duration::ZERO),
        _ => Err("the units are `ms`, `s` and `m`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "s", "3", "3 s", "-1s", "3h"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
