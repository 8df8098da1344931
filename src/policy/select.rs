//! The first half of a decision: from the request alone to the route, before any token is looked at.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::reason::Reason;
use crate::policy::challenge::{Complaint, Scheme};
use crate::policy::compiled::{Api, CompiledPolicy, Requirement, Rule};
use crate::policy::decision::{Denial, RouteRef};
use crate::policy::declared::{BadToken, Binding, CorsPreflight, DpopOptions, MethodOverride};
use crate::policy::facts::{Occurrence, RequestFacts};
use crate::policy::hygiene::{self, Override};
use crate::policy::path::{self, Segments};
use crate::policy::predicate::Captures;
use crate::policy::route::{HostEntry, Verbs};
use crate::policy::template::{Segment, Template};
use crate::policy::trace::{Stage, Step, Tracer};
use crate::policy::trie::Positions;
use crate::policy::{host, path::Ambiguity};

/// Whether a token is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenNeed {
    /// Do not look: the route is public, or denies whoever asks.
    None,
    /// Look if there is one: a good one gives an identity, a bad one is refused.
    Optional,
    /// Without one there is no passing.
    Required,
}

/// What `authz` needs to know to judge proofs.
#[derive(Debug, Clone, Copy)]
pub struct BindingOptions<'p> {
    /// How DPoP proofs are judged.
    pub dpop: &'p DpopOptions,
    /// Whether `x-forwarded-client-cert` names the client's certificate.
    pub trust_xfcc: bool,
    /// The kind of key that the route asks for.
    pub bound: Option<Binding>,
}

/// The route that a request is judged by.
#[derive(Debug)]
#[must_use]
pub struct Selected<'p> {
    pub(in crate::policy) api: &'p Api,
    pub(in crate::policy) rule: &'p Rule,
    /// The rule of the verb that a tolerated method override asks for.
    pub(in crate::policy) also: Option<&'p Rule>,
    pub(in crate::policy) preflight: bool,
    pub(in crate::policy) long_lived: bool,
    /// The wildcards' values, if a condition or a header reads them.
    pub(in crate::policy) captures: Captures,
}

impl<'p> Selected<'p> {
    /// The API.
    #[must_use]
    pub fn api(&self) -> &'p Api {
        self.api
    }

    /// The route.
    #[must_use]
    pub fn route(&self) -> &'p Arc<RouteRef> {
        &self.rule.route
    }

    /// Whether the request is a CORS preflight that needs no token.
    #[must_use]
    pub fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// Whether a token is to be looked at.
    #[must_use]
    pub fn needs(&self) -> TokenNeed {
        if self.preflight {
            return TokenNeed::None;
        }
        let need = |rule: &Rule| match rule.requirement {
            Requirement::Token(_) => TokenNeed::Required,
            Requirement::Public if self.api.bad_token == BadToken::Deny => TokenNeed::Optional,
            Requirement::Public | Requirement::Deny => TokenNeed::None,
        };
        let rules = || std::iter::once(self.rule).chain(self.also);
        // A route that denies does so without a look at the token.
        if rules().any(|rule| matches!(rule.requirement, Requirement::Deny)) {
            return TokenNeed::None;
        }
        if rules().any(|rule| need(rule) == TokenNeed::Required) {
            return TokenNeed::Required;
        }
        need(self.rule)
    }

    /// What is needed to judge proofs.
    #[must_use]
    pub fn binding_options(&self) -> BindingOptions<'p> {
        let bound = |rule: &Rule| match &rule.requirement {
            Requirement::Token(token) => token.bound,
            _ => None,
        };
        BindingOptions {
            dpop: &self.api.dpop,
            trust_xfcc: self.api.trust_xfcc,
            bound: bound(self.rule).or_else(|| self.also.and_then(bound)),
        }
    }

    /// A refusal on this route, with the challenges that go with it. `scheme` is that of the request's
    /// Authorization header, if there is one.
    pub fn refuse(&self, reason: Reason, detail: &'static str, scheme: Option<Scheme>) -> Denial {
        let complaint = match reason {
            Reason::MissingToken => Complaint::Missing,
            Reason::InvalidToken => Complaint::InvalidToken,
            Reason::InvalidRequest => Complaint::InvalidRequest,
            Reason::InvalidDpopProof => Complaint::InvalidDpopProof,
            Reason::UseDpopNonce => Complaint::UseDpopNonce,
            _ => return self.close(Denial::because(reason, detail)),
        };
        self.refuse_with(reason, detail, scheme, complaint)
    }

    pub(in crate::policy) fn refuse_with(
        &self,
        reason: Reason,
        detail: &'static str,
        scheme: Option<Scheme>,
        complaint: Complaint<'_>,
    ) -> Denial {
        let dpop = Scheme::Dpop;
        let protection = &self.api.protection;
        let mut denial = Denial::because(reason, detail);
        let about_proof = matches!(complaint, Complaint::InvalidDpopProof | Complaint::UseDpopNonce);
        if about_proof || scheme == Some(dpop) {
            denial.challenges.push(protection.challenge(dpop, complaint));
        } else if self.binding_options().bound == Some(Binding::Dpop) {
            // Both on a route that is bound to a DPoP key (case D03): the one that will do comes first.
            denial.challenges.push(protection.challenge(dpop, complaint));
            denial.challenges.push(protection.challenge(Scheme::Bearer, complaint));
        } else {
            denial.challenges.push(protection.challenge(Scheme::Bearer, complaint));
        }
        self.close(denial)
    }

    /// Puts the route in, and hides the refusal if the API says so.
    pub(in crate::policy) fn close(&self, mut denial: Denial) -> Denial {
        denial.route = Some(Arc::clone(&self.rule.route));
        if self.api.hide { denial.hidden() } else { denial }
    }
}

impl CompiledPolicy {
    /// Finds the route of a request: host, path, verb.
    ///
    /// # Errors
    /// A [`Denial`] when there is none, or when the request itself cannot be read with certainty.
    pub fn select<'p>(&'p self, facts: &RequestFacts<'_>, tracer: &mut impl Tracer) -> Result<Selected<'p>, Denial> {
        let hosts = match facts.pinned_api {
            None => &self.hosts,
            Some(name) => self.pinned.get(name).ok_or_else(|| {
                closed(
                    tracer,
                    Stage::Host,
                    "the route of envoy names an api that does not exist",
                )
            })?,
        };
        let host = host::normalise(facts.host).map_err(|bad| closed(tracer, Stage::Host, bad.0))?;
        let entry = hosts
            .find(&host)
            .ok_or_else(|| closed(tracer, Stage::Host, "no api has this host"))?;
        tracer.step(|| Step::pass(Stage::Host, format!("`{host}` belongs to an api")));

        let (verbs, place) = match find_path(entry, facts, tracer) {
            Ok(found) => found,
            Err(denial) => return Err(hide(entry, denial)),
        };
        let selected = self
            .select_verb(facts, verbs, &place, tracer)
            .map_err(|denial| hide(entry, denial))?;
        selected.check_request(facts, &host, tracer)?;
        Ok(selected)
    }

    fn select_verb<'p>(
        &'p self,
        facts: &RequestFacts<'_>,
        verbs: &'p Verbs,
        place: &Place<'_>,
        tracer: &mut impl Tracer,
    ) -> Result<Selected<'p>, Denial> {
        let select = |rule: &'p Rule, preflight: bool| -> Option<Selected<'p>> {
            Some(Selected {
                api: self.apis.get(rule.api)?,
                rule,
                also: None,
                preflight,
                long_lived: is_long_lived(facts),
                captures: if rule.reads_path {
                    place.captures(rule.template.as_ref())
                } else {
                    Captures::new()
                },
            })
        };
        if let Some(rule) = self.preflight(facts, verbs)
            && let Some(selected) = select(rule, true)
        {
            tracer.step(|| Step::pass(Stage::Route, "a CORS preflight, which the api lets in without a token"));
            return Ok(selected);
        }
        let rule = verbs.find(facts.method).and_then(|index| self.rule(index));
        let Some(mut selected) = rule.and_then(|rule| select(rule, false)) else {
            tracer.step(|| {
                let known: Vec<&str> = verbs.words().collect();
                Step::fail(
                    Stage::Route,
                    format!("the path has no rule for this method; it has `{}`", known.join("`, `")),
                )
            });
            return Err(Denial::because(Reason::NoRoute, "the path has no rule for this method"));
        };
        tracer.step(|| {
            Step::pass(
                Stage::Route,
                format!(
                    "`{}` of the api `{}`",
                    selected.rule.route.name, selected.rule.route.api
                ),
            )
        });

        match (hygiene::method_override(facts), selected.rule.method_override) {
            (Override::None, _) => {}
            (Override::To(method), MethodOverride::Both) => {
                let also = verbs.find(&method).and_then(|index| self.rule(index));
                let Some(also) = also.filter(|also| also.api == selected.rule.api) else {
                    tracer.step(|| {
                        Step::fail(
                            Stage::Request,
                            "the override names a method that the path has no rule for",
                        )
                    });
                    let denial = Denial::because(
                        Reason::NoRoute,
                        "the override names a method that the path has no rule for",
                    );
                    return Err(selected.close(denial));
                };
                if also.reads_path && selected.captures.is_empty() {
                    selected.captures = place.captures(also.template.as_ref());
                }
                tracer.step(|| {
                    Step::note(
                        Stage::Request,
                        format!("a method override: `{}` must hold as well", also.route.name),
                    )
                });
                selected.also = Some(also);
            }
            _ => {
                tracer.step(|| Step::fail(Stage::Request, "a method override, which this route does not tolerate"));
                let detail = "the request asks for another method than its own";
                return Err(selected.refuse(Reason::InvalidRequest, detail, None));
            }
        }
        Ok(selected)
    }

    /// The rule that lets a preflight in: one of an API with `cors_preflight: allow`, on this path,
    /// unless the path denies `OPTIONS` by name.
    fn preflight<'p>(&'p self, facts: &RequestFacts<'_>, verbs: &Verbs) -> Option<&'p Rule> {
        let once = |name| matches!(facts.header(name), Occurrence::Once(value) if !value.is_empty());
        if facts.method != "OPTIONS" || !once("origin") || !once("access-control-request-method") {
            return None;
        }
        let denied = verbs
            .exactly("OPTIONS")
            .and_then(|index| self.rule(index))
            .is_some_and(|rule| matches!(rule.requirement, Requirement::Deny));
        if denied || hygiene::method_override(facts) != Override::None {
            return None;
        }
        verbs.all().filter_map(|index| self.rule(index)).find(|rule| {
            self.apis
                .get(rule.api)
                .is_some_and(|api| api.cors_preflight == CorsPreflight::Allow)
        })
    }
}

impl Selected<'_> {
    /// What the request must not carry on any route of the API.
    fn check_request(&self, facts: &RequestFacts<'_>, host: &str, tracer: &mut impl Tracer) -> Result<(), Denial> {
        let fail = |tracer: &mut _, detail: &'static str| {
            Tracer::step(tracer, || Step::fail(Stage::Request, detail));
            self.refuse(Reason::InvalidRequest, detail, None)
        };
        if hygiene::token_in_query(facts.query()) {
            return Err(fail(tracer, "the query carries a token"));
        }
        if hygiene::nominates_protected(facts, &self.api.forward) {
            return Err(fail(tracer, "the connection header names a header of ours"));
        }
        if self.api.bind_sni {
            let name = facts.tls_server_name.and_then(|name| host::normalise(name).ok());
            if name.is_none_or(|name| name != host) {
                let detail = "the tls server name is not the host";
                tracer.step(|| Step::fail(Stage::Host, detail));
                return Err(self.close(Denial::because(Reason::MisdirectedRequest, detail)));
            }
        }
        Ok(())
    }
}

/// Where in the path the wildcards stand.
struct Place<'r> {
    segments: Segments<'r>,
    positions: Positions,
}

impl Place<'_> {
    /// The wildcards' names and decoded values.
    fn captures(&self, template: Option<&Template>) -> Captures {
        let Some(template) = template else {
            return Captures::new();
        };
        let wildcards = template.segments().iter().filter(|segment| segment.name().is_some());
        wildcards
            .zip(&self.positions)
            .filter_map(|(segment, position)| {
                let at = usize::from(*position);
                let value = match segment {
                    Segment::Rest(_) => self.segments.get(at..)?.join("/"),
                    _ => self.segments.get(at).map(Cow::to_string)?,
                };
                Some((Arc::from(segment.name()?), value))
            })
            .collect()
    }
}

fn find_path<'p, 'r>(
    entry: &'p HostEntry,
    facts: &RequestFacts<'r>,
    tracer: &mut impl Tracer,
) -> Result<(&'p Verbs, Place<'r>), Denial> {
    let raw = facts.path();
    if raw == "*" && facts.method == "OPTIONS" {
        let place = Place {
            segments: Segments::new(),
            positions: Positions::new(),
        };
        return Ok((entry.star(), place));
    }
    if raw.is_empty() && facts.method == "CONNECT" {
        return Err(closed(tracer, Stage::Path, "a CONNECT without a path is closed"));
    }
    let segments = path::read(raw, entry.options).map_err(|Ambiguity(detail)| {
        tracer.step(|| Step::fail(Stage::Path, detail));
        Denial::because(Reason::AmbiguousPath, detail)
    })?;
    let Some((verbs, positions)) = entry.find(&segments) else {
        return Err(closed(tracer, Stage::Path, "no route has this path"));
    };
    tracer.step(|| Step::pass(Stage::Path, "the path can be read in one way only"));
    Ok((verbs, Place { segments, positions }))
}

fn closed(tracer: &mut impl Tracer, stage: Stage, detail: &'static str) -> Denial {
    tracer.step(|| Step::fail(stage, detail));
    Denial::because(Reason::NoRoute, detail)
}

fn hide(entry: &HostEntry, denial: Denial) -> Denial {
    if entry.hide && denial.route.is_none() {
        denial.hidden()
    } else {
        denial
    }
}

/// Whether the request opens a connection that outlives it: an upgrade, or a CONNECT.
fn is_long_lived(facts: &RequestFacts<'_>) -> bool {
    facts.method == "CONNECT" || facts.header("upgrade") != Occurrence::None
}
