//! When to read the configuration again: on SIGHUP, and when its file changes.
//!
//! The folder is watched, not the file: editors replace a file, and Kubernetes swaps the symlink
//! `..data` that a mounted ConfigMap's files point through. Whatever happens there, a change is what
//! changes the bytes that are read at the path. Events that come close together count once.
//!
//! A change only asks for a new load; whether its outcome is installed is the caller's decision.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::yaml::TEXT_BYTES_MAX;
use crate::model::digest::Digest;

/// For how long the folder must be quiet before the file is looked at: an editor's or a kubelet's
/// steps come within it.
const QUIET: Duration = Duration::from_millis(100);

/// How long the folder may go without a quiet moment before the file is looked at all the same: a log
/// that is written beside it must not keep a change from being seen.
const STIRRED_MAX: Duration = Duration::from_secs(1);

/// Asks for reloads. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    requests: mpsc::Receiver<Request>,
    _watcher: Option<notify::RecommendedWatcher>,
}

/// Why a reload is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: load, whether or not anything changed.
    Signal,
    /// The file's bytes are others than before.
    Change,
}

impl Watch {
    /// The next reason to load the configuration anew. `None` only if nothing can ask any more.
    pub async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }
}

/// Watches a configuration file, and SIGHUP. Must be called within a tokio runtime. Changes count from
/// this call on.
///
/// Where the file system cannot be watched, signals still are: the error comes with the watch.
pub fn watch(path: &Path) -> (Watch, Option<notify::Error>) {
    let (send, requests) = mpsc::channel(1);
    let (stir, stirred) = mpsc::channel(1);
    let (watcher, error) = match watch_folder(path, stir) {
        Ok(watcher) => (Some(watcher), None),
        Err(error) => (None, Some(error)),
    };
    // each task ends when its receiver is gone
    tokio::spawn(changes(path.to_owned(), fingerprint(path).ok(), stirred, send.clone()));
    signals(send);
    let watch = Watch {
        requests,
        _watcher: watcher,
    };
    (watch, error)
}

fn watch_folder(path: &Path, stir: mpsc::Sender<()>) -> Result<notify::RecommendedWatcher, notify::Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
        let reading = event.as_ref().is_ok_and(|event| event.kind.is_access());
        if !reading {
            // a full channel already says that there is something to look at
            let _ = stir.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

async fn changes(
    path: PathBuf,
    mut seen: Option<Digest>,
    mut stirred: mpsc::Receiver<()>,
    send: mpsc::Sender<Request>,
) {
    while stirred.recv().await.is_some() {
        let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, stirred.recv()).await {} };
        // Either way it is time to look: quiet has come, or has been waited for long enough.
        let _ = tokio::time::timeout(STIRRED_MAX, quiet).await;
        // a file that is away for a moment is no change: the last good configuration stays
        if let Ok(now) = fingerprint(&path)
            && seen != Some(now)
        {
            seen = Some(now);
            if send.send(Request::Change).await.is_err() {
                return;
            }
        }
    }
}

/// Blocks for a read of at most a mebibyte of a local file: seldom, and not on the gate's workers.
fn fingerprint(path: &Path) -> io::Result<Digest> {
    let mut bytes = Vec::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(Digest::of(&bytes))
}

/// Takes SIGHUP over at once: until then it would end the process.
#[cfg(unix)]
fn signals(send: mpsc::Sender<Request>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be received; the configuration is reloaded on file changes only");
            return;
        }
    };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                signal = hangup.recv() => {
                    if signal.is_none() || send.send(Request::Signal).await.is_err() {
                        return;
                    }
                }
                () = send.closed() => return,
            }
        }
    });
}

#[cfg(not(unix))]
fn signals(send: mpsc::Sender<Request>) {
    tokio::spawn(async move { send.closed().await });
}

#[cfg(test)]
mod tests;
