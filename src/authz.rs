//! The gate's use case: one check, from its facts to its decision.
//!
//! ```text
//!  facts ─ policy.select ─ credential ─ vouch ─ bindings ─ policy.judge ─ decision
//!             route          token       │         │
//!                                        │         └ DPoP proof, nonce, replay; client certificate
//!                                        └ recent → cache → verify → Wait: keys, introspection
//! ```
//!
//! **Invariants**
//! - `check` is the only pipeline. The wire, `explain` and `test` run it; they differ in the
//!   `Vouch` that they hand in: `vouch::Live` verifies, [`explain`] assumes.
//! - A check is synchronous and awaits nothing. What must be fetched comes out as [`Step::Wait`];
//!   after [`Gate::finish`] the check is made again from its start.
//! - A check sees one [`Snapshot`] from begin to end; the next check sees the next one (O03, C10).
//! - A token is tried only against the servers of the route's API whose `iss` it names. A token of
//!   another product, or of the management API, is no token here (J15, J26).
//! - Every failure is a denial with a reason: bad tokens 401 without saying which check failed (A42),
//!   what we cannot tell just now 503 with `Retry-After` (D06).
//!
//! Where to look next: [`credential`], `recent`, `cache`, `kinds`, `vouch`, `lookup`, `binding`, [`replay`], [`nonce`].

mod binding;
mod cache;
pub mod credential;
pub mod explain;
mod kinds;
mod lookup;
pub mod nonce;
mod recent;
pub mod replay;
pub mod snapshot;
mod token;
mod vouch;

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::authz::binding::{Asked, Bindings, Unproven};
use crate::authz::cache::Verdicts;
use crate::authz::credential::Presented;
use crate::authz::lookup::Desk;
pub use crate::authz::lookup::Lookup;
use crate::authz::nonce::Nonces;
use crate::authz::replay::Replays;
pub use crate::authz::snapshot::{Snapshot, UnknownServer};
use crate::authz::vouch::{Live, Vouch, Vouched};
use crate::clock::{Clock, Now};
use crate::model::event::{CacheOutcome, CacheStats, CheckObserver};
use crate::model::reason::Reason;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::policy::caller::Caller;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decide::judge;
use crate::policy::decision::{Decision, Denial};
use crate::policy::facts::RequestFacts;
use crate::policy::select::TokenNeed;
use crate::policy::trace::{Stage, Step as TraceStep, Tracer, Untraced};
use crate::revocation::Revocations;

/// How much the gate keeps.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// The bytes of verdicts on good tokens.
    pub verdict_bytes_max: u64,
    /// The bytes of refusals of bad ones.
    pub refusal_bytes_max: u64,
    /// The bytes of DPoP proofs that were used.
    pub replay_bytes_max: u64,
    /// What DPoP nonces are made with; `None` for a secret of this process. Gates that serve the same
    /// clients need the same one.
    pub nonce_secret: Option<Secret<Vec<u8>>>,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            verdict_bytes_max: 256 * 1024 * 1024,
            refusal_bytes_max: 16 * 1024 * 1024,
            replay_bytes_max: 64 * 1024 * 1024,
            nonce_secret: None,
        }
    }
}

/// The gate.
pub struct Gate {
    snapshot: ArcSwap<Snapshot>,
    desk: Arc<Desk>,
    replays: Replays,
    nonces: Nonces,
}

/// How far a check came.
#[must_use]
pub enum Step {
    /// It is decided.
    Decided(Decided),
    /// Something must be fetched first: hand it to [`Gate::finish`], then check again.
    Wait(Lookup),
}

/// A decision, with what telemetry wants to know of it.
#[must_use]
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// Where the verdict on the token came from.
    pub cache: CacheOutcome,
    /// Who takes note of it: of the same snapshot as the decision, so that route numbers fit.
    pub observer: Arc<dyn CheckObserver>,
}

/// The gate's caches, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateStats {
    /// Good tokens.
    pub verdicts: CacheStats,
    /// Bad ones.
    pub refusals: CacheStats,
    /// DPoP proofs that were used.
    pub replays: CacheStats,
    /// Revocations.
    pub revocations: CacheStats,
    /// How many signatures were verified since the start.
    pub verifications: u64,
    /// How many questions were put to introspection endpoints since the start.
    pub introspections: u64,
}

impl Gate {
    /// A gate that decides by this snapshot.
    #[must_use]
    pub fn new(
        settings: &GateSettings,
        snapshot: Snapshot,
        clock: Arc<dyn Clock>,
        revocations: Arc<Revocations>,
    ) -> Arc<Self> {
        let verdicts = Verdicts::new(settings.verdict_bytes_max, settings.refusal_bytes_max, revocations);
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            desk: Desk::new(verdicts, clock),
            replays: Replays::new(settings.replay_bytes_max),
            nonces: Nonces::new(settings.nonce_secret.as_ref()),
        })
    }

    /// Puts another snapshot in force. When this returns, no later check uses the old one. Verdicts on
    /// tokens of server sets that are still the same stay.
    pub fn install(&self, mut snapshot: Snapshot) {
        snapshot.succeed(&self.snapshot.load());
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Decides, or says what must be fetched first. Neither blocks on I/O nor awaits.
    pub fn check(&self, facts: &RequestFacts<'_>) -> Step {
        self.check_at(facts, self.desk.clock.read())
    }

    /// The same for a caller that has just read the clocks.
    pub fn check_at(&self, facts: &RequestFacts<'_>, now: Now) -> Step {
        self.check_by(facts, now, &mut Untraced)
    }

    /// The same, with every step told: for a live `explain`.
    pub fn check_traced(&self, facts: &RequestFacts<'_>, tracer: &mut impl Tracer) -> Step {
        self.check_by(facts, self.desk.clock.read(), tracer)
    }

    fn check_by(&self, facts: &RequestFacts<'_>, now: Now, tracer: &mut impl Tracer) -> Step {
        let snapshot = self.snapshot.load();
        let world = Live {
            desk: &self.desk,
            replays: &self.replays,
            nonces: &self.nonces,
            snapshot: &snapshot,
            now,
        };
        match check(&snapshot.policy, facts, &world, now.wall, tracer) {
            Outcome::Decided(decision, cache) => Step::Decided(Decided {
                decision,
                cache,
                observer: Arc::clone(&snapshot.observer),
            }),
            Outcome::Wait(lookup) => Step::Wait(lookup),
        }
    }

    /// Fetches what a check waits for. It bounds its own time; whether it helped shows when the check
    /// is made again. A future that is dropped half-way leaves nothing half-known (O02).
    pub fn finish(&self, lookup: Lookup) -> impl Future<Output = ()> + Send + use<> {
        lookup.finish(Arc::clone(&self.desk))
    }

    /// Forgets what can matter no more. To be called now and then, off the check path.
    pub fn tidy(&self) {
        let now = self.desk.clock.read();
        self.replays.prune(now.wall);
        self.desk.verdicts.tidy(now);
        self.desk.verdicts.revocations().prune(now.wall);
    }

    /// How much is kept, and how often it helped.
    #[must_use]
    pub fn stats(&self) -> GateStats {
        let (verdicts, refusals) = self.desk.verdicts.stats();
        let (verifications, introspections) = self.desk.counts();
        GateStats {
            verdicts,
            refusals,
            replays: self.replays.stats(),
            revocations: self.desk.verdicts.revocations().stats(),
            verifications,
            introspections,
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decided(decided) => f.debug_tuple("Decided").field(&decided.decision).finish(),
            Self::Wait(lookup) => f.debug_tuple("Wait").field(lookup).finish(),
        }
    }
}

/// What one try comes to.
pub(crate) enum Outcome {
    Decided(Decision, CacheOutcome),
    Wait(Lookup),
}

/// The pipeline.
pub(crate) fn check(
    policy: &CompiledPolicy,
    facts: &RequestFacts<'_>,
    world: &impl Vouch,
    now: Timestamp,
    tracer: &mut impl Tracer,
) -> Outcome {
    let unseen = |denial: Denial| Outcome::Decided(Decision::Deny(denial), CacheOutcome::Unused);
    let selected = match policy.select(facts, tracer) {
        Ok(selected) => selected,
        Err(denial) => return unseen(denial),
    };
    let anonymous = Caller::Anonymous;
    if selected.needs() == TokenNeed::None {
        return Outcome::Decided(judge(&selected, facts, &anonymous, now, tracer), CacheOutcome::Unused);
    }
    let credential = match credential::read(facts) {
        Ok(Presented::Token(credential)) => credential,
        Ok(Presented::Nothing) => {
            return Outcome::Decided(judge(&selected, facts, &anonymous, now, tracer), CacheOutcome::Unused);
        }
        Err(detail) => {
            tracer.step(|| TraceStep::fail(Stage::Token, detail));
            return unseen(selected.refuse(Reason::InvalidRequest, detail, None));
        }
    };
    let scheme = credential.scheme;
    let (token, cache) = match world.vouch(&credential, &selected) {
        Vouched::Token(token, cache) => (token, cache),
        Vouched::Malformed(detail) => {
            tracer.step(|| TraceStep::fail(Stage::Token, detail));
            return unseen(selected.refuse(Reason::InvalidRequest, detail, None));
        }
        Vouched::Refused(detail, cache) => {
            tracer.step(|| TraceStep::fail(Stage::Token, detail));
            let denial = selected.refuse(Reason::InvalidToken, detail, Some(scheme));
            return Outcome::Decided(Decision::Deny(denial), cache);
        }
        Vouched::Unavailable(detail, seconds) => {
            tracer.step(|| TraceStep::fail(Stage::Token, detail));
            let mut denial = selected.refuse(Reason::Unavailable, detail, Some(scheme));
            denial.headers.push(("Retry-After", seconds.max(1).to_string()));
            return Outcome::Decided(Decision::Deny(denial), CacheOutcome::Miss);
        }
        Vouched::Wait(lookup) => return Outcome::Wait(lookup),
    };
    tracer.step(|| {
        let server = token.facts().server();
        TraceStep::pass(
            Stage::Token,
            format!("the authorization server `{server}` vouches for the token"),
        )
    });
    let asked = Asked {
        facts,
        options: selected.binding_options(),
        credential,
        token: token.facts(),
        now,
    };
    let Bindings {
        proof,
        certificate,
        next_nonce,
    } = match world.bindings(&asked) {
        Ok(bindings) => bindings,
        Err(Unproven { reason, detail, nonce }) => {
            tracer.step(|| TraceStep::fail(Stage::Binding, detail));
            let mut denial = selected.refuse(reason, detail, Some(scheme));
            denial.caller = Some(token);
            denial.headers.extend(nonce.map(|nonce| (NONCE_HEADER, nonce)));
            return Outcome::Decided(Decision::Deny(denial), cache);
        }
    };
    let caller = Caller::Token {
        token,
        proof,
        certificate,
        scheme,
    };
    let decision = match (judge(&selected, facts, &caller, now, tracer), next_nonce) {
        (Decision::Allow(permit), Some(nonce)) => Decision::Allow(permit.with_response_header(NONCE_HEADER, nonce)),
        (Decision::Deny(mut denial), Some(nonce)) => {
            denial.headers.push((NONCE_HEADER, nonce));
            Decision::Deny(denial)
        }
        (decision, None) => decision,
    };
    Outcome::Decided(decision, cache)
}

/// RFC 9449 section 8.1.
const NONCE_HEADER: &str = "DPoP-Nonce";

#[cfg(test)]
mod tests;
