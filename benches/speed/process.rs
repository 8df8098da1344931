//! A server as a process of its own, and what the kernel says that it used.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// A server to compare with, of a program of benches/baselines, or without one of this program; the first line that
    /// it prints is its address.
    pub(crate) fn server(program: Option<&Path>, arguments: &[&str]) -> (Self, String) {
        let program = program.map_or_else(|| std::env::current_exe().expect("this program"), Path::to_owned);
        let mut child = Command::new(program)
            .arg("serve")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut address = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut address).expect("an address");
        (Self { child }, address.trim().to_owned())
    }

    /// `scopegate serve` as it is shipped, in `folder` with its `scopegate.yaml`.
    pub(crate) fn scopegate(folder: &Path, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(["serve", "--config", "scopegate.yaml"])
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("starts");
        Self { child }
    }

    /// Any other program.
    pub(crate) fn command(command: &mut Command) -> Self {
        Self {
            child: command.spawn().expect("starts"),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time of all threads so far, in microseconds. Read from each thread's `schedstat`, which counts
    /// nanoseconds where `stat` counts hundredths of a second.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_of("")
    }

    /// The same of the threads whose name begins so.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn cpu_of(&self, name: &str) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it is alive");
        let is_named = |task: &std::fs::DirEntry| {
            let comm = std::fs::read_to_string(task.path().join("comm"));
            comm.is_ok_and(|comm| comm.starts_with(name))
        };
        let nanoseconds: u64 = tasks
            .filter_map(Result::ok)
            .filter(|task| name.is_empty() || is_named(task))
            .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|text| text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()))
            .sum();
        nanoseconds as f64 / 1000.0
    }

    /// Resident memory, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it is alive");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kilobytes: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .expect("kB");
        (kilobytes * 1024) as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of this thread so far, in microseconds. The kernel brings it up to date when a thread leaves its
/// processor, so this one does.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn own_cpu() -> f64 {
    std::thread::sleep(Duration::from_millis(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds: u64 = text
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .expect("nanoseconds");
    nanoseconds as f64 / 1000.0
}

/// A port that nobody has just now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound").port()
}

/// Waits until somebody listens.
pub(crate) fn until_open(address: &str) {
    let started = Instant::now();
    let opens = || match address.strip_prefix("unix:") {
        Some(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        None => std::net::TcpStream::connect(address).is_ok(),
    };
    while !opens() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "nobody listens on {address}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
