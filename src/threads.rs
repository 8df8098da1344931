//! Which threads step back when processors are few: the issuer's, never the gate's.
//!
//! The gate's threads run at the priority of the process. The threads of the I/O runtime, which answer the issuer's
//! clients, run below it, and those that verify passwords below these: a password costs tens of milliseconds on
//! purpose, and guessing at full speed must not take a processor from a check. Where processors are free, nobody
//! waits for anybody.
//!
//! A thread can lower its own priority and not raise it again (without a privilege), so this is done where threads
//! begin; one that is made by another starts with that one's priority.

/// How far the I/O runtime steps back: a third of a processor is left to it beside a gate that could use it whole,
/// so that probes and metrics answer under every load.
pub const IO: i32 = 5;

/// How far the verification of passwords steps back behind the I/O runtime, whose threads make its own: a tenth of a
/// processor is left to it.
pub const PASSWORDS: i32 = 5;

/// Lowers the priority of the calling thread. Where that does not go, nothing happens: it is no more than a courtesy.
#[cfg(target_os = "linux")]
pub fn step_back(by: i32) {
    // On Linux alone: elsewhere "the calling process" is the whole of it.
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(None, nice.saturating_add(by).min(19)) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Lowers the priority of the calling thread, where the system has such a thing.
#[cfg(not(target_os = "linux"))]
pub fn step_back(_: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The `nice` of the calling thread (proc(5): field 19).
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
        let (_, after_name) = stat.rsplit_once(')').expect("a name");
        after_name
            .split_whitespace()
            .nth(16)
            .expect("a field")
            .parse()
            .expect("a number")
    }

    #[test]
    fn a_thread_steps_back_alone() {
        let before = nice();
        let other = std::thread::spawn(|| {
            step_back(PASSWORDS);
            nice()
        });
        assert_eq!(other.join().expect("no panic"), (before + PASSWORDS).min(19));
        assert_eq!(nice(), before);
    }
}
