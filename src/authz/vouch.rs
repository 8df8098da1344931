//! Who vouches for a token: on the wire, the caches, then keys, then whoever can be asked.
//!
//! How a token is judged that no cache knows:
//!
//! | token | who is asked |
//! |---|---|
//! | three parts | the servers whose issuer its `iss` names, in the API's order, by their keys |
//! | three parts, of a server without keys | that server's introspection endpoint |
//! | anything else | the introspection endpoints of the API's servers, in order |
//!
//! **SECURITY:** a token that names an issuer is never sent to the endpoint of another one.

use std::sync::Arc;
use std::time::Duration;

use crate::authz::binding::{self, Asked, Bindings, Unproven};
use crate::authz::cache::{Known, REFUSAL_MAX, Refusal, Verdict, VerdictKey};
use crate::authz::credential::Credential;
use crate::authz::lookup::{Desk, Lookup};
use crate::authz::nonce::Nonces;
use crate::authz::replay::Replays;
use crate::authz::snapshot::{ServerSet, Snapshot};
use crate::authz::token;
use crate::clock::Now;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Expectations, LEEWAY_MAX, VerifyError, verify};
use crate::model::event::CacheOutcome;
use crate::policy::caller::VerifiedToken;
use crate::policy::select::Selected;
use crate::trust::settings::{KeySource, TrustedServerSettings};
use crate::trust::{KeysState, TrustedServer};

/// Where the pipeline learns what it cannot compute.
pub(crate) trait Vouch {
    /// Whether the token is one that the route's API believes.
    ///
    /// SECURITY: whoever implements it asks [`Credential::check_grammar`] of each token that it does not know by all its
    /// bytes, and answers [`Vouched::Malformed`].
    fn vouch(&self, credential: &Credential<'_>, selected: &Selected<'_>) -> Vouched;

    /// What the request proves to hold beside the token.
    fn bindings(&self, asked: &Asked<'_, '_>) -> Result<Bindings, Unproven>;
}

/// What is known of a token.
pub(crate) enum Vouched {
    /// It is good.
    Token(Arc<VerifiedToken>, CacheOutcome),
    /// It is no token at all, for this reason.
    Malformed(&'static str),
    /// It is not, for this reason.
    Refused(&'static str, CacheOutcome),
    /// Nobody can tell before this is fetched.
    Wait(Lookup),
    /// Nobody can tell; try again after so many seconds.
    Unavailable(&'static str, u32),
}

impl From<Known> for Vouched {
    fn from(known: Known) -> Self {
        match known {
            Known::Good(token, outcome) => Self::Token(token, outcome),
            Known::Revoked(detail) | Known::Bad(Refusal::Refused(detail)) => {
                Self::Refused(detail, CacheOutcome::NegativeHit)
            }
            Known::Bad(Refusal::Unavailable(detail, seconds)) => Self::Unavailable(detail, seconds),
        }
    }
}

/// The world as it is.
pub(crate) struct Live<'g> {
    pub(crate) desk: &'g Arc<Desk>,
    pub(crate) replays: &'g Replays,
    pub(crate) nonces: &'g Nonces,
    pub(crate) snapshot: &'g Snapshot,
    pub(crate) now: Now,
}

impl Vouch for Live<'_> {
    fn vouch(&self, credential: &Credential<'_>, selected: &Selected<'_>) -> Vouched {
        let Some(servers) = self.snapshot.servers(selected.route().index) else {
            if let Err(detail) = credential.check_grammar() {
                return Vouched::Malformed(detail);
            }
            return Vouched::Refused(
                "no authorization server vouches for the api's callers",
                CacheOutcome::Miss,
            );
        };
        match self.vouch_by(servers, credential) {
            Vouched::Token(token, _) if self.is_unheard(&token, servers) => {
                Vouched::Unavailable(UNHEARD, RETRY_SECONDS)
            }
            vouched => vouched,
        }
    }

    fn bindings(&self, asked: &Asked<'_, '_>) -> Result<Bindings, Unproven> {
        binding::prove(asked, self.replays, self.nonces)
    }
}

impl Live<'_> {
    fn vouch_by(&self, servers: &ServerSet, credential: &Credential<'_>) -> Vouched {
        let token = credential.expose_bytes();
        if let Some(known) = self.desk.verdicts.find_recent(token, servers.id, self.now) {
            return known.into();
        }
        // SECURITY: nothing outside the grammar is looked up by its digest, verified, or sent to an introspection endpoint.
        if let Err(detail) = credential.check_grammar() {
            return Vouched::Malformed(detail);
        }
        let key = VerdictKey {
            token: credential.digest(),
            servers: servers.id,
        };
        let find = || {
            let generation = || servers.generation();
            self.desk.verdicts.find(&key, token, generation, self.now)
        };
        if let Some(known) = find() {
            return known.into();
        }
        let _lead = self.desk.verdicts.lead(key);
        // Again, also for a worker that did not wait: another may have led between the look and the lead.
        if let Some(known) = find() {
            return known.into();
        }
        self.judge(credential.expose_token(), key, servers)
    }

    /// Whether the token may be revoked without our having heard of it. Where nothing is followed, one atomic look.
    fn is_unheard(&self, token: &VerifiedToken, servers: &ServerSet) -> bool {
        let is_its = |server: &&Arc<TrustedServer>| server.settings.id == *token.facts().server();
        self.desk.verdicts.revocations().is_stale(self.now.monotonic)
            && servers
                .servers
                .iter()
                .find(is_its)
                .is_none_or(|server| server.settings.is_ours)
    }

    fn judge(&self, token: &str, key: VerdictKey, servers: &ServerSet) -> Vouched {
        // Read before the keys are: a refusal under older keys must not outlive newer ones.
        let generation = servers.generation();
        let vouched = if let Ok(mut unverified) = Unverified::parse(token) {
            self.judge_signed(token, &mut unverified, key, servers)
        } else {
            let has_form = token.bytes().filter(|byte| *byte == b'.').count() == 2;
            let asked = |server: &&Arc<TrustedServer>| can_be_asked(server) && (!has_form || is_opaque(server));
            ask(token, key, servers, asked)
        };
        if let Vouched::Refused(detail, _) = vouched {
            let cooldown = servers.servers.iter().map(|server| server.settings.keys_cooldown).min();
            let age = REFUSAL_MAX.min(cooldown.unwrap_or(REFUSAL_MAX));
            let refusal = Refusal::Refused(detail);
            self.desk.verdicts.keep_refusal(key, refusal, generation, age, self.now);
        }
        vouched
    }

    fn judge_signed(&self, text: &str, token: &mut Unverified<'_>, key: VerdictKey, servers: &ServerSet) -> Vouched {
        let mut refused = None;
        let mut waits = None;
        let mut unavailable = false;
        for server in servers.of_issuer(token.issuer()).filter(|server| !is_opaque(server)) {
            if server.keys_state() != KeysState::Ready {
                unavailable = true;
                if server.may_refresh() {
                    waits = waits.or_else(|| Some(Lookup::keys(server)));
                }
                continue;
            }
            match self.verify(token, server) {
                Ok(verdict) => return self.keep(key, verdict),
                Err(Unverifiable::UnknownKid(detail)) => {
                    if server.may_refresh() {
                        waits = waits.or_else(|| Some(Lookup::keys(server)));
                    }
                    refused = refused.or(Some(detail));
                }
                Err(Unverifiable::Refused(detail)) => refused = refused.or(Some(detail)),
            }
        }
        if let Some(lookup) = waits {
            return Vouched::Wait(lookup);
        }
        if unavailable {
            return Vouched::Unavailable("the authorization server's keys cannot be had just now", RETRY_SECONDS);
        }
        if let Some(detail) = refused {
            return Vouched::Refused(detail, CacheOutcome::Miss);
        }
        // SECURITY: no key was tried on the way here: the claims, and with them `iss`, are still there.
        let asked = |server: &&Arc<TrustedServer>| {
            let its_own = token
                .issuer()
                .is_none_or(|issuer| issuer == server.settings.issuer.as_str());
            its_own && is_opaque(server) && can_be_asked(server)
        };
        ask(text, key, servers, asked)
    }

    fn verify(&self, token: &mut Unverified<'_>, server: &TrustedServer) -> Result<Verdict, Unverifiable> {
        let settings = &server.settings;
        let live = server.keys();
        // INVARIANT: the generation is read before the set, see `keys`.
        let generation = live.generation();
        let keys = live.load();
        self.desk.count_verification();
        let expectations = Expectations {
            issuer: &settings.issuer,
            audiences: &settings.audiences,
            algorithms: &settings.algorithms,
            token_types: &settings.token_types,
            leeway: settings.leeway,
            now: self.now.wall,
        };
        let claims = match verify(token, &keys, &expectations) {
            Ok(claims) => claims.into_inner(),
            Err(error @ VerifyError::UnknownKid) => return Err(Unverifiable::UnknownKid(error.detail())),
            Err(error) => return Err(Unverifiable::Refused(error.detail())),
        };
        let (facts, bytes) = token::statement(settings, &claims.members, claims.kid.as_ref(), claims.expires_at)
            .and_then(|statement| self.desk.kinds.share(&statement))
            .map_err(Unverifiable::Refused)?;
        let token = Arc::new(VerifiedToken::assertion_by_authz(facts));
        let verdict = Verdict::new(token, bytes, self.now, leeway(settings)).verified_by(Arc::clone(live), generation);
        Ok(match (&settings.keys, server.keys_age()) {
            // Keys that cannot be fetched anew are good for so long: no verdict outlives that.
            (KeySource::Discovery | KeySource::Uri(_) | KeySource::File(_), Some(age)) => verdict.kept(
                self.now,
                settings.keys_stale_max.saturating_sub(age).max(Duration::from_secs(1)),
            ),
            _ => verdict,
        })
    }

    /// Takes the verdict into the cache, dead or alive: a revoked token is found there next time.
    fn keep(&self, key: VerdictKey, verdict: Verdict) -> Vouched {
        let verdict = Arc::new(verdict);
        let dead = verdict.revoked(self.desk.verdicts.revocations());
        self.desk.verdicts.keep(key, Arc::clone(&verdict));
        match dead {
            Some(detail) => Vouched::Refused(detail, CacheOutcome::Miss),
            None => Vouched::Token(Arc::clone(verdict.token()), CacheOutcome::Miss),
        }
    }
}

/// What there is to wait for, if anybody can be asked.
fn ask(token: &str, key: VerdictKey, set: &ServerSet, asked: impl Fn(&&Arc<TrustedServer>) -> bool) -> Vouched {
    let servers: Vec<_> = set.servers.iter().filter(asked).cloned().collect();
    if servers.is_empty() {
        let detail = if set.lacks_one {
            ABSENT
        } else {
            "the token is of no authorization server of the api"
        };
        return Vouched::Refused(detail, CacheOutcome::Miss);
    }
    // Of the whole set: by that the refusal is found again, whoever of the set is asked.
    Vouched::Wait(Lookup::introspection(token, key, servers, set.generation()))
}

/// A server that comes later makes another set, so that this refusal does not outlive its absence.
const ABSENT: &str =
    "the token is of no authorization server of the api that is there: a managed one is not made, or inactive";

/// Beyond what the settings say, a gate that follows its issuer's store does not decide by what it has last heard.
const UNHEARD: &str = "revocations have not been heard of for too long, and the token may be revoked";

enum Unverifiable {
    UnknownKid(&'static str),
    Refused(&'static str),
}

/// When a client may try again whose token nobody can judge just now.
pub(crate) const RETRY_SECONDS: u32 = 1;

/// The leeway as `jose` applies it.
pub(crate) fn leeway(settings: &TrustedServerSettings) -> Duration {
    settings.leeway.min(LEEWAY_MAX)
}

fn is_opaque(server: &TrustedServer) -> bool {
    matches!(server.settings.keys, KeySource::None)
}

fn can_be_asked(server: &TrustedServer) -> bool {
    server.settings.introspection.is_some()
}
