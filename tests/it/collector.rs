//! Spans against a real collector: rotel, from pip, which prints what it receives.
//!
//! `tests/peers.sh` puts it under `target/peers/venv`; `SCOPEGATE_ROTEL` names another one. Where it
//! is missing the tests here are skipped loudly, or fail with `SCOPEGATE_PEERS=required`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use scopegate::clock::SystemClock;
use scopegate::model::event::{CacheOutcome, CheckEvent, Outcome, RouteIndex};
use scopegate::model::id::{ApiName, RouteName};
use scopegate::model::reason::Reason;
use scopegate::telemetry::Telemetry;
use scopegate::telemetry::settings::{OtlpSettings, TelemetrySettings};

/// How long a foreign program may take before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running rotel; it ends with this value.
pub(crate) struct Collector {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    endpoint: String,
}

impl Collector {
    /// Starts rotel on a free port of loopback. `None`, said loudly, if it is not installed.
    ///
    /// # Panics
    /// If it is not installed and `SCOPEGATE_PEERS=required`, or if it does not come up.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            let missing = "rotel is missing: run tests/peers.sh, or set SCOPEGATE_ROTEL";
            assert!(
                std::env::var_os("SCOPEGATE_PEERS").is_none_or(|value| value != "required"),
                "{missing}"
            );
            // Past the capture of the test harness, so that it is seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
            return None;
        };
        let (grpc, http) = (free_port(), free_port());
        let mut child = Command::new(program)
            .args(["start", "--exporter", "blackhole", "--disable-batching"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("rotel can be started");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (report, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if report.send(line).is_err() {
                    return;
                }
            }
        });
        let mut collector = Self {
            child,
            lines,
            seen: String::new(),
            endpoint: format!("http://127.0.0.1:{grpc}"),
        };
        collector.output_with("Starting Rotel");
        // It says so before it listens, and nothing when it does: all that one can do is ask again.
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", grpc)).is_ok() {
                return Some(collector);
            }
            if let Some(status) = collector.child.try_wait().expect("its state is known") {
                panic!("rotel ended with {status}:\n{}", collector.seen);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("rotel does not listen:\n{}", collector.seen);
    }

    /// Where it takes OTLP over gRPC.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Everything that it has printed, once this text is part of it.
    ///
    /// # Panics
    /// If the text does not come.
    pub(crate) fn output_with(&mut self, text: &str) -> &str {
        while !self.seen.contains(text) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                }
                Err(error) => panic!("rotel did not print `{text}` ({error}):\n{}", self.seen),
            }
        }
        &self.seen
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("SCOPEGATE_ROTEL") {
        return Some(program.into());
    }
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/lib");
    // The folder bears Python's version.
    std::fs::read_dir(libraries)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages/rotel/rotel-agent"))
        .find(|program| program.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn edge_o07_a_real_collector_receives_the_span_beneath_the_callers() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let settings = TelemetrySettings {
        otlp: Some(OtlpSettings {
            endpoint: collector.endpoint().to_owned(),
            sample: 0.0,
        }),
        ..TelemetrySettings::default()
    };
    let telemetry = Telemetry::start(&settings, &|_| None, Arc::new(SystemClock::start())).expect("it starts");
    let names = [(
        ApiName::parse("transfers").expect("a name"),
        RouteName::parse("GET /transfers/{id}").expect("a name"),
    )];
    let observer = telemetry.observer_for(&names);
    observer.check_decided(&CheckEvent {
        decision_id: "0198c0de-0000-7000-8000-000000000001",
        route: Some(RouteIndex(0)),
        api: Some("transfers"),
        route_name: Some("GET /transfers/{id}"),
        outcome: Outcome::Deny(Reason::InsufficientScope),
        detail: None,
        cache: CacheOutcome::Hit,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_789_000_000),
        latency: Duration::from_micros(42),
        method: "GET",
        host: "canary.example",
        path: "/canary",
        request_id: "canary",
        authorization_server: Some("bank"),
        subject: Some("canary"),
        client_id: Some("canary"),
        long_lived: false,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        tracestate: None,
    });
    assert!(telemetry.shutdown(PATIENCE), "the span is sent before the end");
    // The last of its attributes: the rest has been printed by then.
    let output = collector.output_with("authz.cache");
    for part in [
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "envoy.service.auth.v3.Authorization/Check",
        "insufficient_scope",
        "scopegate",
    ] {
        assert!(output.contains(part), "{part} in:\n{output}");
    }
    assert!(!output.contains("canary"), "attack E18:\n{output}");
}
