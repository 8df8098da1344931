//! One Check, from its metadata to its answer, and the guards around it.
//!
//! Whatever happens in between, the caller gets an explicit decision:
//!
//! | what happens | answer |
//! |---|---|
//! | the message cannot be read | 400 `malformed_check` |
//! | the check's code panics | 503 `internal` |
//! | the deadline passes: ours, or a little before the caller's `grpc-timeout` | 503 `timeout`, with Retry-After |
//! | more checks are under way than the cap | 503 `overloaded`, with Retry-After |
//! | a look-up (keys, introspection) does not help | 503 `unavailable`, with Retry-After |
//!
//! and exactly one [`CheckEvent`] is recorded, by a guard that does so on drop, for a call that was cancelled too.
//!
//! The check itself is synchronous. Only where keys or an introspection answer are missing does it wait, and then the
//! look-up runs on the I/O runtime, never on the gate's worker: it goes on when its check gives up, since others wait for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;

use crate::clock::{Clock, Now};
use crate::envoy::decision_id::{DecisionId, DecisionIds};
use crate::envoy::grpc::{self, Answer, RpcError, Unreadable};
use crate::envoy::reply::{Audience, Sendable};
use crate::envoy::view;
use crate::model::event::{CacheOutcome, CheckEvent, CheckObserver, Outcome};
use crate::model::id::ClientId;
use crate::model::reason::Reason;
use crate::policy::caller::TokenFacts;
use crate::policy::decision::{Decision, Denial};
use crate::policy::facts::{Occurrence, RequestFacts};

/// What decides. Implemented by the gate, and by the fakes of tests.
pub trait Checks: Send + Sync + 'static {
    /// Something that must be fetched before the check can be decided.
    type Lookup: Send + 'static;

    /// Decides, or says what is missing. Neither blocks nor awaits.
    fn check(&self, facts: &RequestFacts<'_>, now: Now) -> Step<Self::Lookup>;

    /// Fetches what was missing. Bounds its own time; whether it helped shows when the check is made again.
    fn finish(&self, lookup: Self::Lookup) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Who takes note of checks that never reached a decision of [`Checks::check`].
    fn observer(&self) -> Arc<dyn CheckObserver>;
}

/// How far a check came.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every check is decided; a box for that would cost an allocation"
)]
pub enum Step<L> {
    /// It is decided.
    Decided(Decided),
    /// It must wait for this.
    Wait(L),
}

/// A decision, with what telemetry wants to know of it.
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// Where the verdict on the token came from.
    pub cache: CacheOutcome,
    /// Who takes note: of the same snapshot as the decision, so that route numbers fit.
    pub observer: Arc<dyn CheckObserver>,
}

impl std::fmt::Debug for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decided")
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}

/// How a gate's worker bounds its checks.
#[derive(Debug, Clone)]
pub struct CheckSettings {
    /// The longest that a check may take. Envoy's own time-out is 200 ms by default: stay below it.
    pub deadline: Duration,
    /// How much of the caller's `grpc-timeout` is left for the answer's way back.
    pub margin: Duration,
    /// How many checks a worker has under way, at most; one more is denied at once.
    pub in_flight_max: usize,
    /// The largest message that is read, in bytes.
    pub message_bytes_max: usize,
    /// For how long a connection that has answered keeps its thread awake for the next check. Zero: not at all.
    pub busy_poll: Duration,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(150),
            margin: Duration::from_millis(20),
            in_flight_max: 4096,
            message_bytes_max: grpc::MESSAGE_BYTES_MAX,
            busy_poll: Duration::ZERO,
        }
    }
}

/// How often a check is made anew after a look-up. Two answer any honest need (new keys, then introspection).
const ROUNDS_MAX: usize = 4;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The Check method of one worker.
pub struct CheckService<C> {
    checks: Arc<C>,
    clock: Arc<dyn Clock>,
    settings: CheckSettings,
    io: Handle,
    ids: DecisionIds,
    in_flight: AtomicUsize,
}

impl<C: Checks> CheckService<C> {
    /// A service for one worker; look-ups run on `io`.
    pub fn new(checks: Arc<C>, clock: Arc<dyn Clock>, settings: CheckSettings, io: Handle) -> Arc<Self> {
        Arc::new(Self {
            checks,
            clock,
            settings,
            io,
            ids: DecisionIds::new(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// How many calls are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// See [`CheckSettings::busy_poll`].
    pub(super) fn busy_poll(&self) -> Duration {
        self.settings.busy_poll
    }

    /// The monotonic clock.
    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The time, to be noted once for all calls that are read together.
    pub(super) fn arrival(&self) -> Arrival {
        Arrival {
            monotonic: self.clock.monotonic(),
            system: self.clock.system_time(),
        }
    }

    /// Counts a call in, as soon as its headers have arrived: a call that queues for its worker is counted, and its time
    /// runs.
    pub(super) fn begin(self: &Arc<Self>, metadata: &HeaderMap, arrival: Arrival) -> Call<C> {
        Call::begin(self.clone(), metadata, arrival)
    }
}

/// When a call's headers were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    monotonic: Duration,
    system: SystemTime,
}

/// How far a call came.
pub(super) enum Progress<C: Checks> {
    /// It is answered.
    Answered(Answer),
    /// Something must be fetched first.
    Undecided(Undecided<C>),
}

/// A call that waits for something.
pub(super) struct Undecided<C: Checks> {
    call: Call<C>,
    lookup: C::Lookup,
}

impl<C: Checks> Undecided<C> {
    /// Fetches what is missing, and decides.
    pub(super) async fn settle(self) -> Answer {
        let Self { mut call, mut lookup } = self;
        for _ in 1..ROUNDS_MAX {
            let finished = call.service.io.spawn(call.service.checks.finish(lookup));
            // A look-up that panicked has not helped: the next round says so.
            if tokio::time::timeout(call.left(), finished).await.is_err() {
                return call.too_late("the deadline passed during a look-up");
            }
            lookup = match call.round() {
                Round::Answered(reply) => return Answer::Message(reply),
                Round::Wait(lookup) => lookup,
            };
        }
        call.deny(Denial::because(
            Reason::Unavailable,
            "look-ups did not settle the check",
        ))
    }
}

/// One call under way. Dropping it counts it out and, if nothing was recorded yet, records that it was broken off.
pub(super) struct Call<C: Checks> {
    service: Arc<CheckService<C>>,
    id: DecisionId,
    /// On the monotonic clock.
    arrived: Duration,
    started: SystemTime,
    budget: Duration,
    admitted: bool,
    compressed: bool,
    traceparent: Option<HeaderValue>,
    tracestate: Option<HeaderValue>,
    message: Bytes,
    recorded: bool,
}

impl<C: Checks> Call<C> {
    fn begin(service: Arc<CheckService<C>>, metadata: &HeaderMap, arrival: Arrival) -> Self {
        let under_way = service.in_flight.fetch_add(1, Ordering::Relaxed);
        let settings = &service.settings;
        let budget = grpc::timeout(metadata).map_or(settings.deadline, |timeout| {
            // A caller with little time gets half of it rather than none.
            let usable = timeout.saturating_sub(settings.margin).max(timeout / 2);
            usable.min(settings.deadline)
        });
        Self {
            id: service.ids.next(),
            arrived: arrival.monotonic,
            started: arrival.system,
            budget,
            admitted: under_way < settings.in_flight_max,
            compressed: grpc::is_compressed(metadata),
            traceparent: metadata.get(TRACEPARENT).cloned(),
            tracestate: metadata.get(TRACESTATE).cloned(),
            message: Bytes::new(),
            recorded: false,
            service,
        }
    }

    /// How much of the call's time is left.
    pub(super) fn left(&self) -> Duration {
        let spent = self.service.clock.monotonic().saturating_sub(self.arrived);
        self.budget.saturating_sub(spent)
    }

    /// The largest message that the call may bring.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.service.settings.message_bytes_max
    }

    /// Decides by the message, or says what is missing.
    pub(super) fn decide(mut self, message: Result<Bytes, Unreadable>) -> Progress<C> {
        if self.compressed {
            return Progress::Answered(self.fail(RpcError::Compressed));
        }
        self.message = match message {
            Ok(message) => message,
            Err(Unreadable::Rpc(error)) => return Progress::Answered(self.fail(error)),
            Err(Unreadable::Malformed(detail)) => {
                return Progress::Answered(self.deny(Denial::because(Reason::MalformedCheck, detail)));
            }
        };
        if !self.admitted {
            return Progress::Answered(self.deny(Denial::because(Reason::Overloaded, "too many checks are under way")));
        }
        match self.round() {
            Round::Answered(reply) => Progress::Answered(Answer::Message(reply)),
            Round::Wait(lookup) => Progress::Undecided(Undecided { call: self, lookup }),
        }
    }

    /// A denial for want of time.
    pub(super) fn too_late(self, detail: &'static str) -> Answer {
        self.deny(Denial::because(Reason::Timeout, detail))
    }

    /// One synchronous try, with its answer encoded and recorded. A panic in it is an answer too.
    fn round(&mut self) -> Round<C::Lookup> {
        let now = self.service.clock.read();
        if now.monotonic.saturating_sub(self.arrived) >= self.budget {
            let late = Denial::because(Reason::Timeout, "the deadline passed before the check began");
            return Round::Answered(self.denied(late));
        }
        let message = self.message.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| match view::read(&message) {
            Ok(facts) => match self.service.checks.check(&facts, now) {
                Step::Decided(decided) => Round::Answered(self.answer(decided, Some(&facts))),
                Step::Wait(lookup) => Round::Wait(lookup),
            },
            Err(error) => {
                let denial = Denial::because(Reason::MalformedCheck, error.0);
                Round::Answered(self.answer(self.undecided(denial), None))
            }
        }));
        outcome
            .unwrap_or_else(|_| Round::Answered(self.denied(Denial::because(Reason::Internal, "the check panicked"))))
    }

    fn undecided(&self, denial: Denial) -> Decided {
        Decided {
            decision: Decision::Deny(denial),
            cache: CacheOutcome::Unused,
            observer: self.service.checks.observer(),
        }
    }

    /// A denial that no check has made.
    fn deny(mut self, denial: Denial) -> Answer {
        Answer::Message(self.denied(denial))
    }

    fn denied(&mut self, denial: Denial) -> Bytes {
        let message = self.message.clone();
        // Guarded too: this is where a panic is answered, and the reader may be what panicked.
        let facts = catch_unwind(|| view::read(&message).ok()).unwrap_or(None);
        let decided = self.undecided(denial);
        self.answer(decided, facts.as_ref())
    }

    /// Ends the call with an RPC error: only for what no client of Envoy can bring about.
    fn fail(mut self, error: RpcError) -> Answer {
        let detail = match error {
            RpcError::ResourceExhausted => "the message is larger than the gate takes",
            RpcError::Compressed => "the message is compressed",
            RpcError::UnknownMethod => "there is no such method",
        };
        let decided = self.undecided(Denial::because(Reason::MalformedCheck, detail));
        self.record(&decided.decision, decided.cache, &*decided.observer, None);
        Answer::Error(error)
    }

    /// Encodes an answer and records it.
    fn answer(&mut self, decided: Decided, facts: Option<&RequestFacts<'_>>) -> Bytes {
        let sendable = Sendable::new(decided.decision);
        let mut buffer = grpc::buffer(REPLY_BYTES_USUAL);
        let audience = match sendable.decision() {
            Decision::Allow(_) => Audience::default(),
            Decision::Deny(_) => facts.map(audience).unwrap_or_default(),
        };
        sendable.encode(self.id.as_str(), audience, &mut buffer);
        self.record(sendable.decision(), decided.cache, &*decided.observer, facts);
        grpc::frame(buffer)
    }

    fn record(
        &mut self,
        decision: &Decision,
        cache: CacheOutcome,
        observer: &dyn CheckObserver,
        facts: Option<&RequestFacts<'_>>,
    ) {
        // First: an observer that panics is not asked again.
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let (outcome, route, caller, detail, long_lived) = match decision {
            Decision::Allow(permit) => (
                Outcome::Allow,
                Some(permit.route()),
                permit.caller(),
                None,
                permit.long_lived(),
            ),
            Decision::Deny(denial) => (
                Outcome::Deny(denial.reason()),
                denial.route.as_ref(),
                denial.caller.as_ref(),
                denial.detail,
                false,
            ),
        };
        let token = caller.map(|caller| caller.facts());
        let (traceparent, tracestate) = self.trace_context(facts);
        observer.check_decided(&CheckEvent {
            decision_id: self.id.as_str(),
            route: route.map(|route| route.index),
            api: route.map(|route| route.api.as_str()),
            route_name: route.map(|route| route.name.as_str()),
            outcome,
            detail,
            cache,
            started: self.started,
            latency: self.service.clock.monotonic().saturating_sub(self.arrived),
            method: facts.map_or("", |facts| facts.method),
            host: facts.map_or("", |facts| facts.host),
            path: facts.map_or("", RequestFacts::path),
            request_id: facts.map_or("", |facts| facts.request_id),
            authorization_server: token.map(|token| token.server().as_str()),
            subject: token.and_then(TokenFacts::subject),
            client_id: token.and_then(TokenFacts::client).map(ClientId::as_str),
            long_lived,
            traceparent,
            tracestate,
        });
    }

    /// Our span's parent: Envoy's own span, from the gRPC metadata, before the one that the request carries (case O07).
    fn trace_context<'s, 'm: 's>(&'s self, facts: Option<&RequestFacts<'m>>) -> (Option<&'s str>, Option<&'s str>) {
        if let Some(parent) = &self.traceparent {
            let text = |value: &'s HeaderValue| value.to_str().ok();
            return (text(parent), self.tracestate.as_ref().and_then(text));
        }
        let Some(facts) = facts else { return (None, None) };
        let once = |name: &str| match facts.header(name) {
            Occurrence::Once(value) => std::str::from_utf8(value).ok(),
            Occurrence::None | Occurrence::Several => None,
        };
        match once(TRACEPARENT.as_str()) {
            Some(parent) => (Some(parent), once(TRACESTATE.as_str())),
            None => (None, None),
        }
    }
}

impl<C: Checks> Drop for Call<C> {
    fn drop(&mut self) {
        self.service.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.recorded {
            // Nobody waits for an answer any more. An observer that panics must not do so in a drop.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                self.denied(Denial::because(Reason::Timeout, "the caller broke the call off"))
            }));
        }
    }
}

/// What came out of one try.
enum Round<L> {
    /// The framed answer.
    Answered(Bytes),
    /// Something must be fetched first.
    Wait(L),
}

/// Room for a usual answer, so that its buffer grows once at most.
const REPLY_BYTES_USUAL: usize = 1024;

/// How the caller of the protected API reads a denial.
fn audience(facts: &RequestFacts<'_>) -> Audience {
    match facts.header("content-type") {
        Occurrence::Once(value) if grpc::is_grpc(value) => Audience::Grpc,
        _ if facts.method == "HEAD" => Audience::Head,
        _ => Audience::Http,
    }
}

#[cfg(test)]
mod tests;
