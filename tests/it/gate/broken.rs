//! The rest of the fail-open census: faults inside the gate that no outside input causes. The gate's own service, around
//! checks that are broken on purpose, answers real Envoys with both settings of `failure_mode_allow`.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use scopegate::clock::{Clock, Now, SystemClock};
use scopegate::envoy::generated::GeneratedServices;
use scopegate::envoy::server::ExtAuthz;
use scopegate::envoy::service::{CheckService, CheckSettings, Checks, Decided, Step};
use scopegate::model::event::{CacheOutcome, CheckEvent, CheckObserver, Unobserved};
use scopegate::model::reason::Reason;
use scopegate::net::limits::{Limits, Stop};
use scopegate::policy::decision::{Decision, Denial};
use scopegate::policy::facts::RequestFacts;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic_health::server::HealthReporter;

use crate::support::envoy::{EnvoyBuilder, Service};
use crate::support::http1::Request;
use crate::support::upstream::Upstream;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The check itself panics.
    CheckPanics,
    /// What takes note of the check panics.
    ObserverPanics,
    /// The check waits for something, and fetching it panics.
    LookupPanics,
    /// … and fetching it never ends.
    LookupHangs,
    /// … and fetching it never helps.
    LookupIsVain,
}

struct BrokenChecks(Fault);

struct PanickingObserver;

impl CheckObserver for PanickingObserver {
    fn check_decided(&self, _event: &CheckEvent<'_>) {
        panic!("on purpose: the observer");
    }
}

impl Checks for BrokenChecks {
    type Lookup = ();

    fn check(&self, _facts: &RequestFacts<'_>, _: Now) -> Step<()> {
        match self.0 {
            Fault::CheckPanics => panic!("on purpose: the check"),
            Fault::ObserverPanics => Step::Decided(Decided {
                decision: Decision::Deny(Denial::new(Reason::NoRoute)),
                cache: CacheOutcome::Unused,
                observer: Arc::new(PanickingObserver),
            }),
            Fault::LookupPanics | Fault::LookupHangs | Fault::LookupIsVain => Step::Wait(()),
        }
    }

    fn finish(&self, (): ()) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.0 {
            Fault::LookupPanics => Box::pin(async { panic!("on purpose: the look-up") }),
            Fault::LookupHangs => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(())),
        }
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        Arc::new(Unobserved)
    }
}

/// The gate's service around broken checks.
struct BrokenGate {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl BrokenGate {
    async fn start(fault: Fault) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let settings = CheckSettings {
            deadline: Duration::from_millis(200),
            ..CheckSettings::default()
        };
        let io = tokio::runtime::Handle::current();
        let service = CheckService::new(Arc::new(BrokenChecks(fault)), clock, settings, io);
        let services = ExtAuthz::new(service, GeneratedServices::health(HealthReporter::new()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("port 0 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let services = services.clone();
                tokio::spawn(async move {
                    services.serve_plain(stream, &Limits::default(), &Stop::default()).await;
                });
            }
        });
        Self { address, accepting }
    }
}

impl Drop for BrokenGate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[tokio::test]
async fn edge_e25_edge_d06_attack_d01_attack_d02_attack_d04_a_fault_inside_the_gate_is_an_explicit_denial() {
    let rows = [
        (Fault::CheckPanics, 503, "internal"),
        (Fault::ObserverPanics, 503, "internal"),
        (Fault::LookupPanics, 503, "unavailable"),
        (Fault::LookupHangs, 503, "timeout"),
        (Fault::LookupIsVain, 503, "unavailable"),
    ];
    for (fault, status, reason) in rows {
        let gate = BrokenGate::start(fault).await;
        let upstream = Upstream::start().await;
        for allow in [false, true] {
            let envoy = EnvoyBuilder::recommended(Service::Tcp(gate.address), upstream.address)
                .filter(&json!({ "failure_mode_allow": allow, "status_on_error": { "code": "UpgradeRequired" } }))
                .start()
                .await;
            // More than once: a fault must not end the connection's or the worker's life.
            for _ in 0..3 {
                let reply = Request::get("/").send(envoy.address).await;
                let name = format!("{fault:?} with failure_mode_allow {allow}: {}", reply.text());
                assert_eq!(reply.status, status, "{name}");
                assert_eq!(reply.json()["reason"], reason, "{name}");
                assert_eq!(reply.header("retry-after").is_some(), status == 503, "{name}");
            }
            assert_eq!(envoy.stat(r"http\.ingress\.ext_authz\.error").await, 0, "{fault:?}");
        }
        assert_eq!(upstream.count(), 0, "{fault:?}");
    }
}
