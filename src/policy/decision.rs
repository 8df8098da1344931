//! What comes out: a permit or a denial. Neither has a default, and a denial always has a status.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::model::event::RouteIndex;
use crate::model::id::{ApiName, RouteName};
use crate::model::reason::Reason;
use crate::model::scope::ScopeSet;
use crate::policy::caller::VerifiedToken;

/// What every answer says alike, in the words of the protocol that carries it: whoever writes answers writes it once, and
/// copies it from then on.
///
/// INVARIANT: one room writes it (`envoy::reply`); a second protocol would need a place of its own.
#[derive(Debug, Default)]
pub struct Written(OnceLock<Box<[u8]>>);

impl Written {
    /// What was written; `write` writes it if nobody has.
    pub fn once(&self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.0.get_or_init(|| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            bytes.into_boxed_slice()
        })
    }
}

/// The route that a decision was made on.
#[derive(Debug)]
pub struct RouteRef {
    /// Its number in the compiled policy.
    pub index: RouteIndex,
    /// Its API.
    pub api: ApiName,
    /// Its name, for example `GET /transfers/{id}`.
    pub name: RouteName,
    /// What every allow on it says.
    pub allowed: Written,
}

/// Headers that are taken from requests, the same ones each time.
#[derive(Debug, Default)]
pub struct Removals {
    names: Box<[Arc<str>]>,
    written: Written,
}

impl Removals {
    /// These names, in lower case.
    #[must_use]
    pub fn new(names: Vec<Arc<str>>) -> Self {
        Self {
            names: names.into_boxed_slice(),
            written: Written::default(),
        }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// How an answer says them.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }
}

/// The answer to one check.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// The request may pass, changed as the permit says.
    Allow(Permit),
    /// The request is refused.
    Deny(Denial),
}

/// The right to pass. Built in `policy::decide` and nowhere else.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    pub(in crate::policy) route: Arc<RouteRef>,
    pub(in crate::policy) caller: Option<Arc<VerifiedToken>>,
    pub(in crate::policy) headers: Vec<(Arc<str>, String)>,
    pub(in crate::policy) remove_always: Arc<Removals>,
    pub(in crate::policy) remove: SmallVec<[Arc<str>; 6]>,
    pub(in crate::policy) response_headers: Vec<(&'static str, String)>,
    pub(in crate::policy) long_lived: bool,
}

impl Permit {
    /// A permit that nobody granted, for tests of what is done with one.
    #[cfg(test)]
    pub(crate) fn assertion_for_test(
        route: Arc<RouteRef>,
        caller: Option<Arc<VerifiedToken>>,
        headers: Vec<(Arc<str>, String)>,
        remove: Vec<Arc<str>>,
        response_headers: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            route,
            caller,
            headers,
            remove_always: Arc::default(),
            remove: remove.into(),
            response_headers,
            long_lived: false,
        }
    }

    /// The route that granted.
    #[must_use]
    pub fn route(&self) -> &Arc<RouteRef> {
        &self.route
    }

    /// The caller; `None` on a public route or a preflight.
    #[must_use]
    pub fn caller(&self) -> Option<&Arc<VerifiedToken>> {
        self.caller.as_ref()
    }

    /// Headers that replace whatever the client sent under the same name. Never empty values.
    #[must_use]
    pub fn headers(&self) -> &[(Arc<str>, String)] {
        &self.headers
    }

    /// Headers that are taken from the request. Never one of [`Permit::headers`]: Envoy would
    /// remove the header that it has just set.
    pub fn headers_to_remove(&self) -> impl Iterator<Item = &str> {
        let names = self.remove_always.names().iter().chain(&self.remove);
        names.map(|name| &**name)
    }

    /// Those of them that every permit of the API takes away. None of them is ever set.
    #[must_use]
    pub fn always_removed(&self) -> &Removals {
        &self.remove_always
    }

    /// The others.
    pub fn also_removed(&self) -> impl Iterator<Item = &str> {
        self.remove.iter().map(|name| &**name)
    }

    /// Headers added to the upstream's response (`DPoP-Nonce`).
    #[must_use]
    pub fn response_headers(&self) -> &[(&'static str, String)] {
        &self.response_headers
    }

    /// The same with one more header for the upstream's response.
    pub fn with_response_header(mut self, name: &'static str, value: String) -> Self {
        self.response_headers.push((name, value));
        self
    }

    /// Whether the request opens a long-lived connection.
    #[must_use]
    pub fn long_lived(&self) -> bool {
        self.long_lived
    }
}

/// A refusal. It cannot be built without a reason, and the reason has a status.
#[derive(Debug, Clone)]
#[must_use]
pub struct Denial {
    reason: Reason,
    status: u16,
    hidden: bool,
    /// The route, if one matched.
    pub route: Option<Arc<RouteRef>>,
    /// The caller, if the token was verified before another requirement failed: for logs and metadata.
    pub caller: Option<Arc<VerifiedToken>>,
    /// The scopes that were missing.
    pub missing: ScopeSet,
    /// Values of `WWW-Authenticate`, each a whole challenge.
    pub challenges: Vec<String>,
    /// Further headers of the answer: `Retry-After`, `DPoP-Nonce`.
    pub headers: Vec<(&'static str, String)>,
    /// One of a fixed list of sentences on what exactly failed; for logs, never for the client.
    pub detail: Option<&'static str>,
}

impl Denial {
    /// A refusal for this reason, with the status that goes with it.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            status: reason.http_status(),
            hidden: false,
            route: None,
            caller: None,
            missing: ScopeSet::default(),
            challenges: Vec::new(),
            headers: Vec::new(),
            detail: None,
        }
    }

    /// The same with a sentence for the log.
    pub fn because(reason: Reason, detail: &'static str) -> Self {
        Self {
            detail: Some(detail),
            ..Self::new(reason)
        }
    }

    /// Turns 403 into a 404 that tells nothing, for an API that hides what it has (`hide: true`): a
    /// route that exists but refuses looks like one that does not. Other statuses stay.
    pub fn hidden(mut self) -> Self {
        if self.status == 403 {
            self.status = 404;
            self.hidden = true;
            self.challenges.clear();
        }
        self
    }

    /// Whether the client must not learn the reason: the answer's body is that of an unknown route.
    /// Logs and metrics still have the reason.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The HTTP status of the answer: never below 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }
}
