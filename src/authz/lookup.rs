//! What a check may have to wait for: newer keys, or the answer of an introspection endpoint.
//!
//! A look-up leaves its result where the next try finds it: keys in the server, answers in the verdict
//! cache. One question is asked per token however many checks wait (C09). No usable answer is no yes:
//! it is kept for a second or so, or for as long as the endpoint asks, as "unavailable" (C12, J27).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};

use crate::authz::cache::{REFUSAL_MAX, Refusal, Verdict, VerdictKey, Verdicts};
use crate::authz::kinds::Kinds;
use crate::authz::token;
use crate::authz::vouch::{RETRY_SECONDS, leeway};
use crate::clock::{Clock, Now};
use crate::jose::json::whole_number;
use crate::model::id::AuthorizationServerId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::policy::caller::VerifiedToken;
use crate::trust::settings::TrustedServerSettings;
use crate::trust::{Introspection, TrustedServer};

/// The most introspections at a time: a flood of opaque tokens must not become one of connections.
const QUESTIONS_MAX: usize = 256;

/// The longest pause that an endpoint can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The shortest time that an answer is kept: the checks that wait for it must find it.
const KEEP_MIN: Duration = Duration::from_secs(1);

/// What must be fetched before a check can be decided.
#[must_use]
pub struct Lookup(Wanted);

enum Wanted {
    Keys(Arc<TrustedServer>),
    Introspection {
        token: Secret<String>,
        key: VerdictKey,
        servers: Vec<Arc<TrustedServer>>,
        generation: u64,
    },
}

/// What checks and look-ups share.
pub(crate) struct Desk {
    pub(crate) verdicts: Verdicts,
    pub(crate) kinds: Kinds,
    pub(crate) clock: Arc<dyn Clock>,
    questions: Semaphore,
    /// Who asks about which token; the channel closes when the question is settled.
    flights: Mutex<HashMap<VerdictKey, watch::Receiver<()>>>,
    /// On the monotonic clock: endpoints that asked for a pause. One entry per server at most.
    pauses: Mutex<HashMap<AuthorizationServerId, Duration>>,
    verifications: AtomicU64,
    introspections: AtomicU64,
}

// === impl Lookup ===

impl Lookup {
    pub(crate) fn keys(server: &Arc<TrustedServer>) -> Self {
        Self(Wanted::Keys(Arc::clone(server)))
    }

    /// `generation` is that of the server set that the token is for.
    pub(crate) fn introspection(
        token: &str,
        key: VerdictKey,
        servers: Vec<Arc<TrustedServer>>,
        generation: u64,
    ) -> Self {
        Self(Wanted::Introspection {
            token: Secret::new(token.to_owned()),
            key,
            servers,
            generation,
        })
    }

    pub(crate) async fn finish(self, desk: Arc<Desk>) {
        match self.0 {
            // Whether it helped shows in the keys.
            Wanted::Keys(server) => {
                let _ = server.refresh_for_unknown_kid().await;
            }
            Wanted::Introspection {
                token,
                key,
                servers,
                generation,
            } => desk.introspect(&token, key, &servers, generation).await,
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Wanted::Keys(_) => "Lookup(keys)",
            Wanted::Introspection { .. } => "Lookup(introspection)",
        })
    }
}

// === impl Desk ===

impl Desk {
    pub(crate) fn new(verdicts: Verdicts, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            verdicts,
            kinds: Kinds::default(),
            clock,
            questions: Semaphore::new(QUESTIONS_MAX),
            flights: Mutex::default(),
            pauses: Mutex::default(),
            verifications: AtomicU64::new(0),
            introspections: AtomicU64::new(0),
        })
    }

    pub(crate) fn count_verification(&self) {
        self.verifications.fetch_add(1, Ordering::Relaxed);
    }

    /// Verifications, introspections.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.verifications.load(Ordering::Relaxed),
            self.introspections.load(Ordering::Relaxed),
        )
    }

    fn now(&self) -> Now {
        self.clock.read()
    }

    async fn introspect(
        &self,
        token: &Secret<String>,
        key: VerdictKey,
        servers: &[Arc<TrustedServer>],
        generation: u64,
    ) {
        let Some(_flight) = self.take_off_or_wait(key).await else {
            return;
        };
        let mut refusal = Refusal::Refused("no authorization server knows the token");
        let mut age = REFUSAL_MAX;
        for server in servers {
            let settings = &server.settings;
            match self.ask(server, token).await {
                Introspection::Active(claims) => match self.believe(settings, claims) {
                    Ok(verdict) => {
                        self.verdicts.keep(key, Arc::new(verdict));
                        return;
                    }
                    Err(detail) => refusal = refusal.or(Refusal::Refused(detail)),
                },
                Introspection::Inactive => {
                    let detail = "the authorization server says that the token is not good";
                    refusal = refusal.or(Refusal::Refused(detail));
                    age = age.min(keep_max(settings));
                }
                Introspection::Unavailable { retry_after } => {
                    let pause = retry_after.map_or(KEEP_MIN, |pause| pause.clamp(KEEP_MIN, PAUSE_MAX));
                    let seconds = u32::try_from(pause.as_secs()).unwrap_or(RETRY_SECONDS);
                    refusal =
                        Refusal::Unavailable("the introspection endpoint gives no usable answer just now", seconds);
                    age = age.min(pause);
                }
            }
        }
        self.verdicts.keep_refusal(key, refusal, generation, age, self.now());
    }

    async fn ask(&self, server: &TrustedServer, token: &Secret<String>) -> Introspection {
        let id = &server.settings.id;
        let now = self.clock.monotonic();
        let pause = self.pauses.lock().get(id).map(|until| until.saturating_sub(now));
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            // Rounded up: nobody should come back a moment too early.
            let retry_after = Some(Duration::from_secs(
                pause.as_secs() + u64::from(pause.subsec_nanos() > 0),
            ));
            return Introspection::Unavailable { retry_after };
        }
        let Ok(_question) = self.questions.try_acquire() else {
            return Introspection::Unavailable { retry_after: None };
        };
        self.introspections.fetch_add(1, Ordering::Relaxed);
        let answer = server.introspect(token.expose_secret()).await;
        if let Introspection::Unavailable {
            retry_after: Some(pause),
        } = answer
        {
            let until = self.clock.monotonic() + pause.min(PAUSE_MAX);
            self.pauses.lock().insert(id.clone(), until);
        }
        answer
    }

    fn believe(&self, settings: &TrustedServerSettings, claims: Map<String, Value>) -> Result<Verdict, &'static str> {
        let now = self.now();
        let keep = keep_max(settings);
        let expires_at = match claims.get("exp") {
            None => now.wall.plus(keep),
            Some(value) => whole_number(value)
                .map(Timestamp::from_unix_seconds)
                .ok_or("the introspection answer's `exp` is not a whole number of seconds")?,
        };
        // What the endpoint says of its answer is not what the token says.
        let mut claims = claims;
        claims.remove("active");
        let claims = claims.into();
        let (facts, bytes) = self
            .kinds
            .share(&token::statement(settings, &claims, None, expires_at)?)?;
        let token = Arc::new(VerifiedToken::assertion_by_authz(facts));
        Ok(Verdict::new(token, bytes, now, leeway(settings))
            .kept(now, keep)
            .awaited())
    }

    /// Leads the question about this token, or waits for who does: then `None`.
    async fn take_off_or_wait(&self, key: VerdictKey) -> Option<Flight<'_>> {
        let mut other = {
            let mut flights = self.flights.lock();
            if let Some(other) = flights.get(&key) {
                other.clone()
            } else {
                let (landing, flight) = watch::channel(());
                flights.insert(key, flight);
                return Some(Flight {
                    desk: self,
                    key,
                    _landing: landing,
                });
            }
        };
        // Nothing is ever sent: it ends by the sender's end, however that comes about.
        while other.changed().await.is_ok() {}
        None
    }
}

/// A question under way. Dropping it, by a cancelled check too, lets the others go on.
struct Flight<'d> {
    desk: &'d Desk,
    key: VerdictKey,
    _landing: watch::Sender<()>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.desk.flights.lock().remove(&self.key);
    }
}

impl Refusal {
    /// Of several servers' answers, one that could not be had counts more than a no.
    fn or(self, other: Self) -> Self {
        match self {
            Self::Unavailable(..) => self,
            Self::Refused(_) => other,
        }
    }
}

fn keep_max(settings: &TrustedServerSettings) -> Duration {
    let cache = settings
        .introspection
        .as_ref()
        .map_or(KEEP_MIN, |endpoint| endpoint.cache);
    cache.max(KEEP_MIN)
}
