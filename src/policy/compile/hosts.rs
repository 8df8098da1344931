//! Hosts: normalised, shared by the APIs that name them, and filled with routes.

use std::collections::HashMap;

use crate::model::event::RouteIndex;
use crate::model::finding::Finding;
use crate::model::id::ApiName;
use crate::policy::compiled::Api;
use crate::policy::declared::ApiDeclaration;
use crate::policy::host::normalise;
use crate::policy::route::Hosts;

use super::Compiler;

impl<'d> Compiler<'d> {
    /// The declared hosts of an API, normalised, each once.
    pub(super) fn declared_hosts(&mut self, api: &'d ApiDeclaration) -> Vec<String> {
        if api.hosts.is_empty() {
            self.error_with_hint(
                "no_hosts",
                api.name.location,
                format!("the api `{}` has no hosts", api.name.value),
                Some("write `hosts: [api.example.com]`"),
            );
        }
        let mut hosts = Vec::with_capacity(api.hosts.len());
        for host in &api.hosts {
            let text = host.value.as_str();
            let (wildcard, name) = match text.strip_prefix("*.") {
                Some(name) => (true, name),
                None => (false, text),
            };
            let problem = match normalise(name) {
                Ok(_) if name.contains(':') && !name.starts_with('[') || name.contains("]:") => {
                    Some("a rule's host has no port: it holds on every port".to_owned())
                }
                Ok(_) if wildcard && name.starts_with('[') => Some("an address has no subdomains".to_owned()),
                Ok(name) => {
                    let host = if wildcard {
                        format!("*.{name}")
                    } else {
                        name.into_owned()
                    };
                    if !hosts.contains(&host) {
                        hosts.push(host);
                    }
                    None
                }
                Err(error) => Some(error.0.to_owned()),
            };
            if let Some(problem) = problem {
                let hint = if text.contains('*') {
                    Some("a wildcard is `*.` before a whole name, such as `*.example.com`")
                } else if text.is_ascii() {
                    None
                } else {
                    Some("write the A-label, such as `xn--bcher-kva.example`")
                };
                self.error_with_hint("bad_host", host.location, format!("`{text}`: {problem}"), hint);
            }
        }
        hosts
    }

    /// Fills the host entries with the routes of all APIs, and for each API with its own alone.
    pub(super) fn hosts(&mut self, apis: &[Api]) -> (Hosts, HashMap<ApiName, Hosts>) {
        self.report_conflicting_paths(apis);
        let mut hosts = Hosts::default();
        let mut pinned: HashMap<ApiName, Hosts> = HashMap::new();
        let mut duplicates: Vec<(RouteIndex, RouteIndex)> = Vec::new();
        // An API's rules stand together, in the order of the APIs.
        let mut rules = self.rules.as_slice();
        for (index, api) in apis.iter().enumerate() {
            let end = rules.partition_point(|rule| rule.api == index);
            let (its, others) = rules.split_at(end);
            rules = others;
            let alone = pinned.entry(api.name.clone()).or_default();
            for host in &api.hosts {
                let shared = hosts.entry(host, api.paths);
                shared.hide |= api.hide;
                let own = alone.entry(host, api.paths);
                own.hide = api.hide;
                for rule in its {
                    let number = rule.route.index;
                    if let Err(earlier) = shared.verbs(rule.template.as_ref()).insert(&rule.verb, number)
                        && !duplicates.contains(&(earlier, number))
                    {
                        duplicates.push((earlier, number));
                    }
                    // What is twice in one API is twice among all of them.
                    let _ = own.verbs(rule.template.as_ref()).insert(&rule.verb, number);
                }
            }
        }
        for (earlier, later) in duplicates {
            self.report_duplicate(earlier, later);
        }
        (hosts, pinned)
    }

    fn report_duplicate(&mut self, earlier: RouteIndex, later: RouteIndex) {
        let rule = |index: RouteIndex| usize::try_from(index.0).ok().and_then(|index| self.rules.get(index));
        let (Some(earlier), Some(later)) = (rule(earlier), rule(later)) else {
            return;
        };
        let of = |api: &ApiName| {
            if earlier.route.api == later.route.api {
                String::new()
            } else {
                format!(" of the api `{api}`")
            }
        };
        let finding = Finding::error(
            "duplicate_route",
            later.location,
            format!(
                "`{}`{} is the same route as `{}`{} on line {}, column {}",
                later.route.name,
                of(&later.route.api),
                earlier.route.name,
                of(&earlier.route.api),
                earlier.location.line,
                earlier.location.column,
            ),
        )
        .hint("two routes that match the same requests: keep one; a wildcard's name makes no difference");
        self.findings.push(finding);
    }

    /// APIs that share a host must read its paths alike: the path is read before the API is known.
    fn report_conflicting_paths(&mut self, apis: &[Api]) {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (index, api) in apis.iter().enumerate() {
            for host in &api.hosts {
                let earlier = *first.entry(host).or_insert(index);
                let (Some(earlier), Some(declared)) = (apis.get(earlier), self.declaration.apis.get(index)) else {
                    continue;
                };
                if earlier.paths != api.paths {
                    let finding = Finding::error(
                        "conflicting_paths",
                        declared.name.location,
                        format!(
                            "the apis `{}` and `{}` share the host `{host}`, but not `paths`",
                            earlier.name, api.name
                        ),
                    )
                    .hint("give both the same `paths`, or each its own host");
                    self.findings.push(finding);
                }
            }
        }
    }
}
