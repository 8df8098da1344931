//! Puts the gate together: declared rules → compiled policy → one snapshot, swapped whole.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::bail;
use arc_swap::ArcSwap;

use crate::app::issuer::Issuer;
use crate::clock::Clock;
use crate::config::Settings;
use crate::envoy::service::{Checks, Decided, Step};
use crate::lifecycle::Lifecycle;
use crate::model::event::{CacheOutcome, CheckObserver};
use crate::model::finding::Severity;
use crate::model::reason::Reason;
use crate::policy::caller::Caller;
use crate::policy::compile::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decide::judge;
use crate::policy::decision::{Decision, Denial};
use crate::policy::facts::RequestFacts;
use crate::policy::select::TokenNeed;
use crate::policy::trace::Untraced;
use crate::telemetry::Telemetry;

/// The gate, and what is needed to give it another policy.
pub(super) struct Gate {
    checks: Arc<LiveGate>,
    telemetry: Arc<Telemetry>,
}

/// A policy that can be installed: nothing about it can fail any more.
pub(super) struct Prepared(Snapshot);

impl Gate {
    pub(super) fn start(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        telemetry: &Arc<Telemetry>,
        _issuer: Option<&Issuer>,
        _lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let Prepared(snapshot) = prepare(settings, telemetry)?;
        Ok(Self {
            checks: Arc::new(LiveGate {
                clock: clock.clone(),
                snapshot: ArcSwap::from_pointee(snapshot),
            }),
            telemetry: telemetry.clone(),
        })
    }

    /// What answers checks.
    pub(super) fn checks(&self) -> Arc<LiveGate> {
        self.checks.clone()
    }

    /// Makes everything that new settings ask for, and changes nothing yet.
    pub(super) fn prepare(&self, settings: &Settings) -> anyhow::Result<Prepared> {
        prepare(settings, &self.telemetry)
    }

    /// Puts it in force.
    pub(super) fn install(&self, prepared: Prepared) {
        self.checks.snapshot.store(Arc::new(prepared.0));
    }
}

fn prepare(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Prepared> {
    let (policy, findings) = compile(&settings.policy);
    let Some(policy) = policy else {
        // `config` has compiled it already to report what is wrong: this is for what it may have missed.
        let mut text = String::new();
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
            let _ = write!(text, "; {}:{}: {}", finding.location.line, finding.location.column, finding.message);
        }
        bail!("the rules cannot be used{text}");
    };
    let names: Vec<_> = policy
        .routes()
        .iter()
        .map(|route| (route.api.clone(), route.name.clone()))
        .collect();
    Ok(Prepared(Snapshot {
        observer: telemetry.observer_for(&names),
        policy,
    }))
}

/// What one check reads: never changed, only replaced.
struct Snapshot {
    policy: CompiledPolicy,
    observer: Arc<dyn CheckObserver>,
}

/// Answers checks by whichever snapshot is in force.
pub(super) struct LiveGate {
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
}

impl Checks for LiveGate {
    type Lookup = ();

    fn check(&self, facts: &RequestFacts<'_>) -> Step<()> {
        let snapshot = self.snapshot.load();
        let decision = match snapshot.policy.select(facts, &mut Untraced) {
            Err(denial) => Decision::Deny(denial),
            Ok(selected) if selected.needs() == TokenNeed::None => {
                judge(&selected, facts, &Caller::Anonymous, self.clock.now(), &mut Untraced)
            }
            Ok(selected) => {
                let mut denial = Denial::because(Reason::Unavailable, "nothing verifies tokens");
                denial.route = Some(selected.route().clone());
                Decision::Deny(denial)
            }
        };
        Step::Decided(Decided {
            decision,
            cache: CacheOutcome::Unused,
            observer: snapshot.observer.clone(),
        })
    }

    fn finish(&self, (): ()) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        self.snapshot.load().observer.clone()
    }
}
