//! The one truth that issuer and gate share: what is dead, and since when.
//!
//! A revocation is a fact in an in-memory table. [`Revocations::revoke`] returns only when every
//! check that starts later sees the fact; that is the whole promise, and `tests` race it a million
//! times.
//!
//! How a cached verdict stays cheap and still dies at once:
//!
//! 1. Each fact moves the table's *epoch* on by one, before `revoke` returns.
//! 2. A verdict carries the epoch that it was judged under. Same epoch: nothing was revoked since,
//!    no look-up. Another epoch: one look-up in the table, and the verdict is stamped anew.
//! 3. A reader takes the epoch **before** it looks the token up. A fact that arrives in between
//!    leaves the stamp too old, which costs one more look-up; never the other way round.
//!
//! Facts about a session, subject, client or server say "dead since": they kill the tokens issued
//! up to and including that second, and those that do not say when they were issued. A token that is
//! asked for in that very second is dead with them, since nobody could tell it from the others: the
//! issuer does not give it out, and asks the client to come back in a second (`issuer/arrival.rs`).
//!
//! **Memory** is bounded by [`RevocationSettings::bytes_max`]. When single-token facts of one server
//! fill it, they are replaced by one stricter fact, "every token of this server up to now", and so are
//! the subjects of one client by "every token of this client": an overflow makes the gate refuse more,
//! never less.
//!
//! **Clocks.** "Issued up to" compares the clock of the node that minted with the clock of the node that
//! revoked. What is kept out until somebody lets it in again is therefore revoked up to
//! [`CLOCKS_APART_MAX`] from now ([`up_to_all_clocks`]): a node whose clock is ahead by no more has
//! issued nothing later. Who is let in again sooner waits for the rest of these seconds. A new password
//! is used at once: it revokes up to now, as its clock says it.
//!
//! Not here: telling other nodes, and keeping facts across restarts. The issuer's store does that
//! and replays into this table.

mod heard;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::model::event::CacheStats;
use crate::model::id::{AuthorizationServerId, ClientId, Jti, Kid, Subject};
use crate::model::time::Timestamp;
use crate::policy::caller::TokenFacts;
use crate::revocation::heard::Heard;

/// One fact: what is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// One token (RFC 7009).
    Token {
        /// Whose token.
        server: AuthorizationServerId,
        /// Its `jti`.
        jti: Jti,
        /// Its `exp`: the fact is forgotten some time after it.
        until: Timestamp,
    },
    /// Every token of a session or grant (`sid`).
    Session {
        /// Whose session.
        server: AuthorizationServerId,
        /// The `sid` of its tokens.
        session: String,
        /// Tokens issued up to this second are dead.
        before: Timestamp,
    },
    /// Every token of a subject.
    Subject {
        /// Whose subject; `None` for every server's.
        server: Option<AuthorizationServerId>,
        /// The `sub` of the tokens.
        subject: Subject,
        /// Tokens issued up to this second are dead.
        before: Timestamp,
    },
    /// Every token of a client, whichever server issued it.
    Client {
        /// The client.
        client: ClientId,
        /// Tokens issued up to this second are dead.
        before: Timestamp,
    },
    /// Every token of a subject that a client got, whichever server issued it.
    Assignment {
        /// The client.
        client: ClientId,
        /// The `sub` of the tokens.
        subject: Subject,
        /// Tokens issued up to this second are dead.
        before: Timestamp,
    },
    /// Every token that this key signed, for good.
    Key {
        /// Whose key.
        server: AuthorizationServerId,
        /// The key.
        kid: Kid,
    },
    /// Every token of a server.
    Server {
        /// Which server.
        server: AuthorizationServerId,
        /// Tokens issued up to this second are dead.
        before: Timestamp,
    },
}

impl Revocation {
    /// The word for logs and metrics ([`crate::model::event::Event::Revoked`]).
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Session { .. } => "session",
            Self::Subject { .. } => "subject",
            Self::Client { .. } => "client",
            Self::Assignment { .. } => "assignment",
            Self::Key { .. } => "key",
            Self::Server { .. } => "server",
        }
    }
}

impl Revocation {
    /// Every token of a grant that has ended is dead, also those that are being given just now: by a request that
    /// began before, or by another node whose clock is ahead. A grant that has ended gives no token ever again, so
    /// the margin costs nobody anything.
    #[must_use]
    pub fn ended_session(server: &AuthorizationServerId, session: &str, now: Timestamp) -> Self {
        Self::Session {
            server: server.clone(),
            session: session.to_owned(),
            before: now.plus(LEEWAY_MAX),
        }
    }
}

/// Everything about a token by which it can be revoked.
#[derive(Debug, Clone, Copy)]
pub struct Life<'a> {
    /// The server that vouches for it.
    pub server: &'a AuthorizationServerId,
    /// Its `jti`.
    pub jti: Option<&'a Jti>,
    /// Its `sid`.
    pub session: Option<&'a str>,
    /// Its `sub`.
    pub subject: Option<&'a Subject>,
    /// Its client.
    pub client: Option<&'a ClientId>,
    /// The key that signed it.
    pub kid: Option<&'a Kid>,
    /// Its `iat`. A token without one was issued before every "dead since".
    pub issued_at: Option<Timestamp>,
}

/// The same by the texts of its names alone.
#[derive(Debug, Clone, Copy)]
struct Names<'a> {
    server: &'a str,
    jti: Option<&'a str>,
    session: Option<&'a str>,
    subject: Option<&'a str>,
    client: Option<&'a str>,
    kid: Option<&'a str>,
    issued_at: Option<Timestamp>,
}

impl<'a> From<&Life<'a>> for Names<'a> {
    fn from(life: &Life<'a>) -> Self {
        Self {
            server: life.server.as_str(),
            jti: life.jti.map(Jti::as_str),
            session: life.session,
            subject: life.subject.map(Subject::as_str),
            client: life.client.map(ClientId::as_str),
            kid: life.kid.map(Kid::as_str),
            issued_at: life.issued_at,
        }
    }
}

impl<'a> From<&'a TokenFacts> for Names<'a> {
    fn from(facts: &'a TokenFacts) -> Self {
        Self {
            server: facts.issued_as().as_str(),
            jti: facts.jti(),
            session: facts.session(),
            subject: facts.subject(),
            client: facts.client().map(ClientId::as_str),
            kid: facts.kid().map(Kid::as_str),
            issued_at: facts.issued_at(),
        }
    }
}

/// How much is remembered, and for how long.
#[derive(Debug, Clone)]
pub struct RevocationSettings {
    /// The bytes that the table may hold.
    pub bytes_max: u64,
    /// The longest life of an access token: a "dead since" older than this kills nothing any more.
    pub token_lifetime_max: Duration,
}

impl Default for RevocationSettings {
    fn default() -> Self {
        Self {
            bytes_max: 256 * 1024 * 1024,
            // 31 days: longer than any provider lets an access token live (Okta: 24 h, Auth0: 30 days).
            token_lifetime_max: Duration::from_secs(31 * 24 * 3600),
        }
    }
}

/// The table of facts.
#[derive(Debug)]
pub struct Revocations {
    settings: RevocationSettings,
    clock: Arc<dyn Clock>,
    table: RwLock<Table>,
    /// INVARIANT: moved on under the table's write lock, after the table has changed.
    epoch: AtomicU64,
    heard: Heard,
}

/// What is dead, by server first.
#[derive(Debug, Default)]
struct Table {
    servers: HashMap<AuthorizationServerId, ServerFacts>,
    subjects: HashMap<Subject, Timestamp>,
    clients: HashMap<ClientId, ClientFacts>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct ClientFacts {
    before: Option<Timestamp>,
    subjects: HashMap<Subject, Timestamp>,
}

#[derive(Debug, Default)]
struct ServerFacts {
    before: Option<Timestamp>,
    keys: HashSet<Kid>,
    tokens: HashMap<Jti, Timestamp>,
    sessions: HashMap<Box<str>, Timestamp>,
    subjects: HashMap<Subject, Timestamp>,
}

/// What there can be very many of.
enum Crowded {
    /// Single tokens of a server.
    Tokens(AuthorizationServerId),
    /// Subjects who may not use a client any more.
    Subjects(ClientId),
}

/// What one fact costs beside its text: the entry, its counters, its share of the table's slack.
const FACT_BYTES: u64 = 96;

/// How far the clocks of our own nodes may be apart (case 154).
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(10);

/// A moment that no clock of our nodes has reached.
#[must_use]
pub fn up_to_all_clocks(now: Timestamp) -> Timestamp {
    now.plus(CLOCKS_APART_MAX)
}

/// A token is accepted for this long after its `exp` at most (the largest leeway that can be
/// configured), so a fact about it is kept for at least as long.
const LEEWAY_MAX: Duration = Duration::from_secs(60);

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Revocations {
    /// An empty table with the default bounds.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::with_settings(RevocationSettings::default(), clock)
    }

    /// An empty table.
    #[must_use]
    pub fn with_settings(settings: RevocationSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            clock,
            table: RwLock::default(),
            epoch: AtomicU64::new(0),
            heard: Heard::default(),
        })
    }

    /// Makes it dead. When this returns, every check that starts later sees it.
    pub fn revoke(&self, revocation: Revocation) {
        let mut table = self.table.write();
        let crowded = match &revocation {
            Revocation::Token { server, .. } => Some(Crowded::Tokens(server.clone())),
            Revocation::Assignment { client, .. } => Some(Crowded::Subjects(client.clone())),
            _ => None,
        };
        table.insert(revocation);
        if table.bytes > self.settings.bytes_max {
            table.prune(self.clock.now(), self.settings.token_lifetime_max);
            if let Some(crowded) = crowded
                && table.bytes > self.settings.bytes_max
            {
                table.collapse(&crowded, self.clock.now());
            }
        }
        // Release: who sees the new epoch sees the table; who holds the lock next sees both.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// The number of facts there have been. A verdict judged under the same number still holds.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether the token is dead, and by which kind of fact.
    #[must_use]
    pub fn dead(&self, life: &Life<'_>) -> Option<&'static str> {
        self.table.read().dead(&life.into())
    }

    /// The same for a token that the gate has verified.
    #[must_use]
    pub fn kills(&self, token: &TokenFacts) -> Option<&'static str> {
        let table = self.table.read();
        // The token's names are searched for in its claims: in vain, while nothing is revoked.
        if table.is_empty() {
            return None;
        }
        table.dead(&Names::from(token))
    }

    /// Whether this key is revoked: then it neither signs nor is published, whatever a store says of it.
    #[must_use]
    pub fn is_key_revoked(&self, server: &AuthorizationServerId, kid: &Kid) -> bool {
        let table = self.table.read();
        table.servers.get(server).is_some_and(|facts| facts.keys.contains(kid))
    }

    /// Forgets the facts that can kill no living token any more.
    pub fn prune(&self, now: Timestamp) {
        // No new epoch: what is forgotten has expired by itself.
        self.table.write().prune(now, self.settings.token_lifetime_max);
    }

    /// How much is remembered (`hits` and `misses` are not counted here).
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let table = self.table.read();
        CacheStats {
            entries: table.len(),
            bytes: table.bytes,
            bytes_max: self.settings.bytes_max,
            hits: 0,
            misses: 0,
        }
    }
}

// === impl Table ===

impl Table {
    fn insert(&mut self, revocation: Revocation) {
        let added = match revocation {
            Revocation::Token { server, jti, until } => {
                let weight = jti.as_str().len();
                keep_latest(&mut self.servers.entry(server).or_default().tokens, jti, until).then_some(weight)
            }
            Revocation::Session {
                server,
                session,
                before,
            } => {
                let weight = session.len();
                let sessions = &mut self.servers.entry(server).or_default().sessions;
                keep_latest(sessions, session.into_boxed_str(), before).then_some(weight)
            }
            Revocation::Subject {
                server,
                subject,
                before,
            } => {
                let weight = subject.as_str().len();
                let subjects = match server {
                    Some(server) => &mut self.servers.entry(server).or_default().subjects,
                    None => &mut self.subjects,
                };
                keep_latest(subjects, subject, before).then_some(weight)
            }
            Revocation::Client { client, before } => {
                let weight = client.as_str().len();
                let facts = self.clients.entry(client).or_default();
                let is_new = facts.before.is_none();
                facts.before = facts.before.max(Some(before));
                is_new.then_some(weight)
            }
            Revocation::Assignment {
                client,
                subject,
                before,
            } => {
                let weight = subject.as_str().len();
                let subjects = &mut self.clients.entry(client).or_default().subjects;
                keep_latest(subjects, subject, before).then_some(weight)
            }
            Revocation::Key { server, kid } => {
                let weight = kid.as_str().len();
                let keys = &mut self.servers.entry(server).or_default().keys;
                keys.insert(kid).then_some(weight)
            }
            Revocation::Server { server, before } => {
                let facts = self.servers.entry(server).or_default();
                facts.before = facts.before.max(Some(before));
                None
            }
        };
        if let Some(text) = added {
            self.bytes += weigh(text);
        }
    }

    fn is_empty(&self) -> bool {
        // SECURITY: each map by name: one that is left out here would kill nothing.
        let Self {
            servers,
            subjects,
            clients,
            bytes: _,
        } = self;
        servers.is_empty() && subjects.is_empty() && clients.is_empty()
    }

    fn dead(&self, life: &Names<'_>) -> Option<&'static str> {
        let issued_by = |before: &Timestamp| life.issued_at.is_none_or(|issued_at| issued_at <= *before);
        if let Some(facts) = self.servers.get(life.server) {
            if facts.before.as_ref().is_some_and(issued_by) {
                return Some("the authorization server's tokens are revoked");
            }
            if life.kid.is_some_and(|kid| facts.keys.contains(kid)) {
                return Some("the signing key is revoked");
            }
            if life.jti.is_some_and(|jti| facts.tokens.contains_key(jti)) {
                return Some("the token is revoked");
            }
            if life
                .session
                .and_then(|session| facts.sessions.get(session))
                .is_some_and(issued_by)
            {
                return Some("the session is revoked");
            }
            if life
                .subject
                .and_then(|subject| facts.subjects.get(subject))
                .is_some_and(issued_by)
            {
                return Some("the subject's tokens are revoked");
            }
        }
        if life
            .subject
            .and_then(|subject| self.subjects.get(subject))
            .is_some_and(issued_by)
        {
            return Some("the subject's tokens are revoked");
        }
        let facts = self.clients.get(life.client?)?;
        if facts.before.as_ref().is_some_and(issued_by) {
            return Some("the client's tokens are revoked");
        }
        facts
            .subjects
            .get(life.subject?)
            .is_some_and(issued_by)
            .then_some("the subject's tokens of this client are revoked")
    }

    fn prune(&mut self, now: Timestamp, token_lifetime_max: Duration) {
        let expired = now.minus(LEEWAY_MAX);
        let forgotten = expired.minus(token_lifetime_max);
        let mut freed = 0;
        for facts in self.servers.values_mut() {
            freed += retain_after(&mut facts.tokens, expired, |jti| jti.as_str().len());
            freed += retain_after(&mut facts.sessions, forgotten, |session| session.len());
            freed += retain_after(&mut facts.subjects, forgotten, |subject| subject.as_str().len());
            facts.before = facts.before.filter(|before| *before >= forgotten);
        }
        freed += retain_after(&mut self.subjects, forgotten, |subject| subject.as_str().len());
        self.clients.retain(|client, facts| {
            freed += retain_after(&mut facts.subjects, forgotten, |subject| subject.as_str().len());
            if facts.before.take_if(|before| *before < forgotten).is_some() {
                freed += weigh(client.as_str().len());
            }
            facts.before.is_some() || !facts.subjects.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// Trades what fills the table for one stricter fact.
    fn collapse(&mut self, crowded: &Crowded, now: Timestamp) {
        let freed: u64 = match crowded {
            Crowded::Tokens(server) => {
                let facts = self.servers.entry(server.clone()).or_default();
                facts.before = facts.before.max(Some(now));
                let tokens = std::mem::take(&mut facts.tokens);
                tokens.keys().map(|jti| weigh(jti.as_str().len())).sum()
            }
            Crowded::Subjects(client) => {
                let facts = self.clients.entry(client.clone()).or_default();
                let subjects = std::mem::take(&mut facts.subjects);
                let latest = subjects.values().max().copied();
                if facts.before.is_none() {
                    self.bytes += weigh(client.as_str().len());
                }
                facts.before = facts.before.max(latest).max(Some(now));
                subjects.keys().map(|subject| weigh(subject.as_str().len())).sum()
            }
        };
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn len(&self) -> u64 {
        let of_servers: usize = self
            .servers
            .values()
            .map(|facts| {
                facts.keys.len()
                    + facts.tokens.len()
                    + facts.sessions.len()
                    + facts.subjects.len()
                    + usize::from(facts.before.is_some())
            })
            .sum();
        let of_clients: usize = self
            .clients
            .values()
            .map(|facts| facts.subjects.len() + usize::from(facts.before.is_some()))
            .sum();
        u64::try_from(of_servers + of_clients + self.subjects.len()).unwrap_or(u64::MAX)
    }
}

/// Writes the later of two moments; says whether the key is new.
fn keep_latest<K: Eq + std::hash::Hash>(facts: &mut HashMap<K, Timestamp>, key: K, moment: Timestamp) -> bool {
    match facts.entry(key) {
        Entry::Occupied(mut known) => {
            let latest = moment.max(*known.get());
            known.insert(latest);
            false
        }
        Entry::Vacant(free) => {
            free.insert(moment);
            true
        }
    }
}

/// Drops the facts of moments before `oldest`; gives the bytes that they weighed.
fn retain_after<K: Eq + std::hash::Hash>(
    facts: &mut HashMap<K, Timestamp>,
    oldest: Timestamp,
    text: impl Fn(&K) -> usize,
) -> u64 {
    let mut freed = 0;
    facts.retain(|key, moment| {
        let keep = *moment >= oldest;
        if !keep {
            freed += weigh(text(key));
        }
        keep
    });
    if facts.len() < facts.capacity() / 4 {
        facts.shrink_to_fit();
    }
    freed
}

fn weigh(text: usize) -> u64 {
    FACT_BYTES + u64::try_from(text).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
