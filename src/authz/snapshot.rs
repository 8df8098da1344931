//! What the gate decides by: compiled rules, the servers of each route, who takes note. Immutable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::model::event::{CheckObserver, RouteIndex};
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::policy::compiled::CompiledPolicy;
use crate::trust::{Trust, TrustedServer};

/// An API names an authorization server that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no authorization server `{0}`")]
pub struct UnknownServer(pub AuthorizationServerId);

/// One configuration, compiled.
pub struct Snapshot {
    pub(in crate::authz) policy: Arc<CompiledPolicy>,
    pub(in crate::authz) observer: Arc<dyn CheckObserver>,
    /// By route number.
    sets: Vec<Arc<ServerSet>>,
    /// Keeps the fetching of keys alive for as long as checks may use them.
    trust: Arc<Trust>,
}

/// The servers that may vouch for the callers of one API, in the order in which it names them.
pub(crate) struct ServerSet {
    /// Part of the key of each cached verdict: another set, another verdict (C03).
    pub(crate) id: u64,
    pub(crate) servers: Vec<Arc<TrustedServer>>,
    /// Where in `servers` those of an issuer are: a token's `iss` names one of a thousand, and each is somewhere else in memory.
    by_issuer: HashMap<Issuer, SmallVec<[usize; 1]>, RandomState>,
    /// Whether the API names one more, which is not there just now.
    pub(crate) lacks_one: bool,
}

static SETS: AtomicU64 = AtomicU64::new(1);

impl Snapshot {
    /// A snapshot of these rules and servers. The observer's handles must be those of this policy's
    /// routes.
    ///
    /// # Errors
    /// [`UnknownServer`] when an API names a server that `trust` does not have.
    pub fn new(
        policy: impl Into<Arc<CompiledPolicy>>,
        trust: Arc<Trust>,
        observer: Arc<dyn CheckObserver>,
    ) -> Result<Self, UnknownServer> {
        let policy = policy.into();
        let mut by_api = HashMap::new();
        for api in policy.apis() {
            let (absent, there): (Vec<_>, Vec<_>) = api.servers.iter().partition(|id| trust.is_absent(id));
            let servers = there.into_iter().map(|id| {
                let server = trust.server(id).cloned();
                server.ok_or_else(|| UnknownServer(id.clone()))
            });
            let id = SETS.fetch_add(1, Ordering::Relaxed);
            let set = ServerSet::new(id, servers.collect::<Result<_, _>>()?, !absent.is_empty());
            by_api.insert(api.name.clone(), Arc::new(set));
        }
        let nobody = Arc::new(ServerSet::new(0, Vec::new(), false));
        let sets = policy
            .routes()
            .iter()
            .map(|route| Arc::clone(by_api.get(&route.api).unwrap_or(&nobody)))
            .collect();
        Ok(Self {
            policy,
            observer,
            sets,
            trust,
        })
    }

    /// The same rules with other servers.
    ///
    /// # Errors
    /// [`UnknownServer`] when an API names a server that `trust` does not have.
    pub fn with_trust(&self, trust: Arc<Trust>) -> Result<Self, UnknownServer> {
        Self::new(Arc::clone(&self.policy), trust, Arc::clone(&self.observer))
    }

    /// The rules.
    #[must_use]
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// The servers.
    #[must_use]
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Who takes note.
    #[must_use]
    pub fn observer(&self) -> &Arc<dyn CheckObserver> {
        &self.observer
    }

    /// The servers of a route.
    pub(crate) fn servers(&self, route: RouteIndex) -> Option<&Arc<ServerSet>> {
        self.sets.get(usize::try_from(route.0).ok()?)
    }

    /// Takes over the numbers of the sets that are still the same servers, so that their verdicts stay.
    pub(in crate::authz) fn succeed(&mut self, previous: &Self) {
        // One for all routes of an API: each is looked for once.
        let olds: HashMap<u64, &Arc<ServerSet>> = previous.sets.iter().map(|set| (set.id, set)).collect();
        let mut olds: Vec<_> = olds.into_iter().collect();
        olds.sort_unstable_by_key(|(id, _)| *id);
        let mut heirs: HashMap<u64, Arc<ServerSet>> = HashMap::new();
        for set in &mut self.sets {
            let heir = heirs.entry(set.id).or_insert_with(|| {
                let same = olds.iter().find(|(_, old)| old.is_same(set));
                Arc::clone(same.map_or(&*set, |(_, old)| *old))
            });
            *set = Arc::clone(heir);
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("routes", &self.sets.len())
            .finish_non_exhaustive()
    }
}

impl ServerSet {
    fn new(id: u64, servers: Vec<Arc<TrustedServer>>, lacks_one: bool) -> Self {
        let mut by_issuer: HashMap<_, SmallVec<_>, _> = HashMap::default();
        for (place, server) in servers.iter().enumerate() {
            by_issuer.entry(server.settings.issuer.clone()).or_default().push(place);
        }
        Self {
            id,
            servers,
            by_issuer,
            lacks_one,
        }
    }

    /// Those whose issuer this is, in order. Not bound to `issuer`, which is the token's: the token is verified meanwhile.
    pub(crate) fn of_issuer<'s>(
        &'s self,
        issuer: Option<&str>,
    ) -> impl Iterator<Item = &'s Arc<TrustedServer>> + use<'s> {
        let places = issuer.and_then(|issuer| self.by_issuer.get(issuer));
        places.into_iter().flatten().map(|place| &self.servers[*place])
    }

    /// A number that changes whenever the keys of any of the servers do.
    pub(crate) fn generation(&self) -> u64 {
        self.servers
            .iter()
            .fold(0, |sum, server| sum.wrapping_add(server.keys().generation()))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.lacks_one == other.lacks_one
            && self.servers.len() == other.servers.len()
            && self
                .servers
                .iter()
                .zip(&other.servers)
                .all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }
}
