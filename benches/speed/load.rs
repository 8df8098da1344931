//! Load from h2load, which is somebody else's client: its cost does not count, and it is fast enough for all.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Connections and calls under way on each, as the figures are defined.
pub(crate) const CONNECTIONS: usize = 8;
/// See [`CONNECTIONS`].
pub(crate) const STREAMS: usize = 32;

/// What h2load saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Calls that were answered with 200. A gRPC call always is: ask the server's own counters what it said.
    pub(crate) answered: usize,
    pub(crate) per_second: f64,
    /// Milliseconds, with everything under way at once: a closed loop.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Asks for `path` with the bytes of `body`, `calls` times. `address` is `host:port` or `unix:/path`.
pub(crate) fn h2load(address: &str, path: &str, body: &Path, calls: usize) -> Seen {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("h2load.log");
    let mut command = Command::new("h2load");
    command.args([
        "-t1",
        "-c",
        &CONNECTIONS.to_string(),
        "-m",
        &STREAMS.to_string(),
        "-n",
        &calls.to_string(),
    ]);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    command.arg("-d").arg(body).arg("--log-file").arg(&log);
    if let Some(socket) = address.strip_prefix("unix:") {
        command.arg(format!("--base-uri=unix:{socket}"));
        command.arg(format!("http://localhost{path}"));
    } else {
        command.arg(format!("http://{address}{path}"));
    }
    let output = command.output().expect("h2load: run tests/peers.sh");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    let number_before = |mark: &str| -> f64 {
        let (before, _) = printed
            .split_once(mark)
            .unwrap_or_else(|| panic!("no `{mark}` in {printed}"));
        let text = before.rsplit([' ', '\n']).next().unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("`{text}` before `{mark}`"))
    };
    let answered = number_before(" 2xx,") as usize;
    assert_eq!(answered, calls, "every call is answered: {printed}");
    let mut times = log_times(&log);
    times.sort_unstable();
    Seen {
        answered,
        per_second: number_before(" req/s,"),
        p50: at(&times, 0.50),
        p99: at(&times, 0.99),
    }
}

/// The third column of the log: how long each call took, in microseconds.
fn log_times(log: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(log).expect("h2load writes its log");
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
        .collect()
}

/// A percentile of sorted times, a thousandth of their unit.
pub(crate) fn at(sorted: &[u32], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part) as usize;
    f64::from(sorted[place.min(sorted.len() - 1)]) / 1000.0
}

/// A plain HTTP/1.1 GET, for metrics: the body.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time-out");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}
