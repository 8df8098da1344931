//! A process that a test started, and that does not outlive it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait;

/// One running process; its output goes to a file. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output in `folder`.
    pub(crate) fn spawn(name: &'static str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::File::create(&log).expect("the log can be created");
        let child = command
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("a file can be cloned"))
            .stdout(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: {command:?}"));
        Self { child, name, log }
    }

    /// All that it has written so far, to both outputs.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The memory that it has in RAM, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("Linux says so");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number")
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "{} is gone already", self.name);
        // A signal is on its way when `kill` returns: whoever stops a process means that it stands still.
        let stat = format!("/proc/{pid}/stat");
        let stands = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
        while signal == "STOP" && !stands() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its exit status, once it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let name = self.name;
        let child = &mut self.child;
        wait::until(&format!("{name} ends"), || {
            let status = child.try_wait().expect("a child can be asked");
            async move { status }
        })
        .await
    }

    /// Fails with its output if it has ended although it should run.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be asked") {
            panic!("{} ended with {status}:\n{}", self.name, self.output());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL also ends a process that a test has stopped with SIGSTOP. An error means that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            eprintln!("--- the end of what {} wrote:", self.name);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
