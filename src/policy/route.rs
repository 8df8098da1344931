//! From host, path and verb to a route.
//!
//! 1. **Host**: the exact entry, else the entry with the longest `*.suffix`. `*.x.example` matches
//!    `a.x.example` and `a.b.x.example`, not `x.example`. The entry that is found is final: a path
//!    that it lacks is not looked up under a looser host.
//! 2. **Path**: the most specific one over all APIs of that host (see `trie`). It is final, too.
//! 3. **Verb**: the exact one; for `HEAD` then `GET`; then `*`, which stands for the methods of
//!    [`ANY`] and so never for `TRACE`, `CONNECT` or an unknown verb. Verbs are case-sensitive.
//!
//! A verb that the path lacks is no route. Falling through to a looser path instead would hand
//! `DELETE /files/secret` to the rule for `/{rest...}` only because nobody wrote down that verb.
//!
//! `OPTIONS *` (RFC 9110 section 9.3.7) is matched by the rule for the path `*` alone.

use std::borrow::Cow;

use crate::model::event::RouteIndex;
use crate::policy::declared::PathOptions;
use crate::policy::template::Template;
use crate::policy::trie::{Named, Positions, Trie};

/// The methods that `*` stands for.
pub const ANY: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The verbs of one path.
#[derive(Debug, Default)]
pub struct Verbs {
    exact: Vec<(Box<str>, RouteIndex)>,
    any: Option<RouteIndex>,
}

impl Verbs {
    /// Puts a verb in.
    ///
    /// # Errors
    /// The route that already has this verb.
    pub fn insert(&mut self, verb: &str, route: RouteIndex) -> Result<(), RouteIndex> {
        if verb == "*" {
            if let Some(earlier) = self.any {
                return Err(earlier);
            }
            self.any = Some(route);
            return Ok(());
        }
        if let Some(earlier) = self.exactly(verb) {
            return Err(earlier);
        }
        self.exact.push((verb.into(), route));
        Ok(())
    }

    /// The route of exactly this verb.
    #[must_use]
    pub fn exactly(&self, verb: &str) -> Option<RouteIndex> {
        self.exact
            .iter()
            .find(|(known, _)| **known == *verb)
            .map(|(_, route)| *route)
    }

    /// The route for a request of this method.
    #[must_use]
    pub fn find(&self, method: &str) -> Option<RouteIndex> {
        self.exactly(method)
            .or_else(|| (method == "HEAD").then(|| self.exactly("GET")).flatten())
            .or_else(|| self.any.filter(|_| ANY.contains(&method)))
    }

    /// Every route of the path.
    pub fn all(&self) -> impl Iterator<Item = RouteIndex> {
        self.exact.iter().map(|(_, route)| *route).chain(self.any)
    }

    /// The verbs, for explanations.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|(verb, _)| &**verb).chain(self.any.map(|_| "*"))
    }
}

/// What one host entry holds.
#[derive(Debug)]
pub struct HostEntry {
    /// How its paths are read: the APIs that share it agree.
    pub options: PathOptions,
    /// Whether an API of it hides what it has.
    pub hide: bool,
    paths: Trie<Verbs>,
    star: Verbs,
}

impl HostEntry {
    /// An entry without routes.
    #[must_use]
    pub fn new(options: PathOptions) -> Self {
        Self {
            options,
            hide: false,
            paths: Trie::new(options.ignore_case, options.ignore_trailing_slash),
            star: Verbs::default(),
        }
    }

    /// The verbs of a template (`None` for `*`), made empty if it is new.
    pub fn verbs(&mut self, template: Option<&Template>) -> &mut Verbs {
        match template {
            Some(template) => self.paths.entry(template.segments()),
            None => &mut self.star,
        }
    }

    /// The most specific path, and where its wildcards begin.
    #[must_use]
    pub fn find(&self, segments: &[Cow<'_, str>]) -> Option<(&Verbs, Positions)> {
        self.paths.find(segments)
    }

    /// The verbs of `*`.
    #[must_use]
    pub fn star(&self) -> &Verbs {
        &self.star
    }
}

/// The host entries.
#[derive(Debug, Default)]
pub struct Hosts {
    exact: Named<HostEntry>,
    /// By what follows the `*`: `.x.example`.
    suffixes: Named<HostEntry>,
}

impl Hosts {
    /// The entry of a declared host (normalised, exact or `*.suffix`), made if it is new.
    pub fn entry(&mut self, host: &str, options: PathOptions) -> &mut HostEntry {
        let (table, key) = match host.strip_prefix('*') {
            Some(suffix) => (&mut self.suffixes, suffix),
            None => (&mut self.exact, host),
        };
        table.entry(key.into()).or_insert_with(|| HostEntry::new(options))
    }

    /// The entry for a request's host.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&HostEntry> {
        if let Some(entry) = self.exact.get(host) {
            return Some(entry);
        }
        if self.suffixes.is_empty() {
            return None;
        }
        // The leftmost dot leaves the longest suffix. A host never begins with a dot.
        host.match_indices('.')
            .find_map(|(dot, _)| self.suffixes.get(&host[dot..]))
    }
}

#[cfg(test)]
mod tests;
