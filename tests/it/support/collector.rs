//! A real OpenTelemetry collector: rotel, from pip, which prints what it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::peers::{free_port, rotel};
use super::process::Process;

/// The collector, printing each span that it gets.
pub(crate) fn collector(folder: &Path) -> (Process, SocketAddr) {
    let grpc = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(rotel());
    command.args([
        "start",
        "--exporter",
        "blackhole",
        "--disable-batching",
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
    ]);
    command.args([
        "--otlp-grpc-endpoint",
        &grpc.to_string(),
        "--otlp-http-endpoint",
        &http.to_string(),
    ]);
    command.current_dir(folder);
    (Process::spawn("rotel", command, folder), grpc)
}
