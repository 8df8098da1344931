//! The shadow report: wildcard routes that catch near misses of a stricter route.
//!
//! `/admin/`, `/Admin` and `/admin.json` are not `/admin`. Where a wildcard beside it asks for less,
//! such a path gets the looser verdict, and an upstream that is lax about spelling serves it the
//! strict route's resource. That may be meant; the operator is told at load (cases P20, P22).

use std::collections::HashMap;

use crate::model::finding::Finding;
use crate::policy::compiled::{Api, Clients, Requirement, Rule, TokenRequirement};
use crate::policy::route::ANY;
use crate::policy::template::{Segment, Template};

use super::Compiler;

impl Compiler<'_> {
    pub(super) fn report_shadows(&mut self, apis: &[Api]) {
        let mut findings = Vec::new();
        let hosts = |rule: &Rule| apis.get(rule.api).map_or(&[][..], |api| &api.hosts);
        // Nothing is looser than `deny`, nothing stricter than `public`.
        let wides = self
            .rules
            .iter()
            .filter(|rule| !matches!(rule.requirement, Requirement::Deny));
        let mut narrows: HashMap<&str, Paths<'_>> = HashMap::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let Some(template) = &rule.template else { continue };
            if !matches!(rule.requirement, Requirement::Public) {
                for host in hosts(rule) {
                    narrows.entry(host).or_default().insert(template.segments(), place);
                }
            }
        }
        let mut near = Vec::new();
        for wide in wides {
            let Some(template) = wide
                .template
                .as_ref()
                .filter(|template| template.names().next().is_some())
            else {
                continue;
            };
            near.clear();
            for paths in hosts(wide).iter().filter_map(|host| narrows.get(host.as_str())) {
                paths.near(template.segments(), &mut near);
            }
            near.sort_unstable();
            near.dedup();
            let mut strict = near.iter().filter_map(|place| self.rules.get(*place)).filter(|narrow| {
                let catches = |narrow: &Template| catches(template, narrow);
                share_verb(&wide.verb, &narrow.verb)
                    && narrow.template.as_ref().is_some_and(catches)
                    && looser(wide, narrow, apis)
            });
            if let Some(first) = strict.next() {
                let more = strict.count();
                let others = if more == 0 {
                    String::new()
                } else {
                    format!(" and {more} more")
                };
                findings.push(
                    Finding::warning(
                        "looser_neighbour",
                        wide.location,
                        format!(
                            "`{}` asks for less than `{}`{others}, and catches its near misses (another case, `/` at the end, `.json`)",
                            wide.route.name, first.route.name
                        ),
                    )
                    .hint("ask for as much, or narrow the wildcard"),
                );
            }
        }
        self.findings.append(&mut findings);
    }
}

/// The rules of a host by their paths, so that a rule is compared with its neighbours and not with all: there may be
/// ten thousand.
#[derive(Default)]
struct Paths<'t> {
    literals: HashMap<&'t str, Self>,
    capture: Option<Box<Self>>,
    /// Rules whose path ends here, and those that go on with anything.
    rules: Vec<usize>,
}

impl<'t> Paths<'t> {
    fn insert(&mut self, segments: &'t [Segment], rule: usize) {
        match segments.split_first() {
            None | Some((Segment::Rest(_), _)) => self.rules.push(rule),
            Some((Segment::Literal(text), rest)) => self.literals.entry(text).or_default().insert(rest, rule),
            Some((Segment::Capture(_), rest)) => self.capture.get_or_insert_default().insert(rest, rule),
        }
    }

    /// Every rule that [`catches`] may say yes to, and few others.
    fn near(&self, wide: &[Segment], found: &mut Vec<usize>) {
        match wide.split_first() {
            None => found.extend(&self.rules),
            Some((Segment::Literal(text), rest)) => {
                if let Some(next) = self.literals.get(&**text) {
                    next.near(rest, found);
                }
            }
            Some((Segment::Capture(_), rest)) => {
                for next in self.literals.values().chain(self.capture.as_deref()) {
                    next.near(rest, found);
                }
            }
            Some((Segment::Rest(_), _)) => self.all(found),
        }
    }

    fn all(&self, found: &mut Vec<usize>) {
        found.extend(&self.rules);
        for next in self.literals.values().chain(self.capture.as_deref()) {
            next.all(found);
        }
    }
}

/// Whether a near miss of `narrow` (its last segment spelt otherwise, or a slash at its end) can be
/// matched by `wide`, another path.
fn catches(wide: &Template, narrow: &Template) -> bool {
    let (wide, narrow) = (wide.segments(), narrow.segments());
    if same_shape(wide, narrow) {
        return false;
    }
    for (index, segment) in wide.iter().enumerate() {
        match (segment, narrow.get(index)) {
            (Segment::Rest(_), _) => return index <= narrow.len(),
            (Segment::Literal(wide), Some(Segment::Literal(narrow))) if wide == narrow => {}
            (Segment::Capture(_), Some(Segment::Literal(text))) if !text.is_empty() => {}
            (Segment::Capture(_), Some(Segment::Capture(_))) => {}
            _ => return false,
        }
    }
    // Without a rest, only a wildcard at the place of a literal catches another spelling of it.
    wide.len() == narrow.len()
        && wide
            .iter()
            .zip(narrow)
            .any(|(wide, narrow)| matches!((wide, narrow), (Segment::Capture(_), Segment::Literal(_))))
}

fn same_shape(one: &[Segment], other: &[Segment]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Segment::Literal(one), Segment::Literal(other)) => one == other,
            (Segment::Capture(_), Segment::Capture(_)) | (Segment::Rest(_), Segment::Rest(_)) => true,
            _ => false,
        })
}

fn share_verb(one: &str, other: &str) -> bool {
    one == other
        || (one == "*" && ANY.contains(&other))
        || (other == "*" && ANY.contains(&one))
        || matches!((one, other), ("GET", "HEAD") | ("HEAD", "GET"))
}

/// Whether some caller that `narrow` refuses is let in by `wide`, as far as scopes, clients and kinds
/// of requirement tell. Conditions are not compared: they count only by being there or not.
fn looser(wide: &Rule, narrow: &Rule, apis: &[Api]) -> bool {
    match (&wide.requirement, &narrow.requirement) {
        (Requirement::Deny, _) | (_, Requirement::Public) => false,
        (_, Requirement::Deny) | (Requirement::Public, _) => true,
        (Requirement::Token(loose), Requirement::Token(strict)) => {
            let clients = |rule: &Rule| apis.get(rule.api).map(|api| &api.clients);
            !at_least(loose, strict) || (wide.api != narrow.api && clients(wide) != clients(narrow))
        }
    }
}

/// Whether `one` asks for everything that `other` asks for.
fn at_least(one: &TokenRequirement, other: &TokenRequirement) -> bool {
    let clients = match (&one.clients, &other.clients) {
        (_, None | Some(Clients::Any)) => true,
        (Some(Clients::Only(one)), Some(Clients::Only(other))) => one.iter().all(|client| other.contains(client)),
        _ => false,
    };
    let any = other.any.is_empty()
        || other.any.iter().any(|scope| one.all.contains(scope))
        || (!one.any.is_empty() && one.any.iter().all(|scope| other.any.contains(scope)));
    let age = match (one.max_age, other.max_age) {
        (_, None) => true,
        (Some(one), Some(other)) => one <= other,
        (None, Some(_)) => false,
    };
    let acr = other.acr.is_empty() || (!one.acr.is_empty() && one.acr.iter().all(|class| other.acr.contains(class)));
    clients
        && any
        && age
        && acr
        && one.all.is_superset(&other.all)
        && (other.when.is_none() || one.when.is_some())
        && (other.bound.is_none() || one.bound == other.bound)
}
