//! The second half of a decision: from a route and a caller to a permit or a denial.
//!
//! The order in which requirements are asked is fixed, because the first that fails is the answer:
//! the route's `deny`; a token at all; the authorization server; the key that the token is bound to;
//! the client; the scopes; how and when the user signed in; the condition; what is forwarded.
//! The binding comes before the rest: a stolen bound token must learn nothing from the answers.
//!
//! This is the only place where a [`Permit`] is built.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::model::reason::Reason;
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::policy::caller::{Caller, TokenFacts, VerifiedToken};
use crate::policy::challenge::{Complaint, Scheme};
use crate::policy::compiled::{Requirement, Rule, TokenRequirement};
use crate::policy::decision::{Decision, Denial, Permit};
use crate::policy::declared::Binding;
use crate::policy::facts::RequestFacts;
use crate::policy::forward::Changes;
use crate::policy::predicate::Input;
use crate::policy::select::Selected;
use crate::policy::trace::{Stage, Step, Tracer};

/// How far ahead of our clock an `auth_time` may lie.
const AUTH_TIME_LEEWAY: Duration = Duration::from_secs(60);

/// Decides on a request.
///
/// The caller's token, if there is one, is verified and alive: that is `authz`'s part. `now` is the
/// wall clock.
pub fn judge(
    selected: &Selected<'_>,
    facts: &RequestFacts<'_>,
    caller: &Caller,
    now: Timestamp,
    tracer: &mut impl Tracer,
) -> Decision {
    match decide(selected, facts, caller, now, tracer) {
        Ok(permit) => Decision::Allow(permit),
        Err(denial) => Decision::Deny(denial),
    }
}

fn decide(
    selected: &Selected<'_>,
    facts: &RequestFacts<'_>,
    caller: &Caller,
    now: Timestamp,
    tracer: &mut impl Tracer,
) -> Result<Permit, Denial> {
    let forward = &selected.api.forward;
    if selected.preflight {
        return Ok(permit(selected, None, forward.anonymise(false)));
    }
    let rules: SmallVec<[&Rule; 2]> = std::iter::once(selected.rule).chain(selected.also).collect();
    if rules.iter().any(|rule| matches!(rule.requirement, Requirement::Deny)) {
        tracer.step(|| Step::fail(Stage::Route, "the route says `deny`"));
        return Err(selected.close(Denial::because(Reason::RouteDenies, "the route says `deny`")));
    }
    let needed: SmallVec<[&TokenRequirement; 2]> = rules
        .iter()
        .filter_map(|rule| match &rule.requirement {
            Requirement::Token(needed) => Some(&**needed),
            _ => None,
        })
        .collect();
    let Caller::Token {
        token,
        proof,
        certificate,
        scheme,
    } = caller
    else {
        if !needed.is_empty() {
            tracer.step(|| Step::fail(Stage::Token, "there is no token, and the route needs one"));
            return Err(selected.refuse(Reason::MissingToken, "there is no token", None));
        }
        tracer.step(|| Step::pass(Stage::Token, "the route is public"));
        return Ok(permit(
            selected,
            None,
            forward.anonymise(selected.rule.forward_authorization),
        ));
    };
    let asker = Asker {
        selected,
        token,
        facts: token.facts(),
        scheme: *scheme,
    };
    if !selected.api.servers.contains(asker.facts.server()) {
        tracer.step(|| {
            Step::fail(
                Stage::Token,
                format!("`{}` does not vouch for this api's callers", asker.facts.server()),
            )
        });
        return Err(asker.refuse(
            Reason::InvalidToken,
            "the token is of another authorization server",
            Complaint::InvalidToken,
        ));
    }
    asker.check_binding(*proof, *certificate, &needed, tracer)?;
    let input = Input {
        claims: Some(asker.facts.claims()),
        captures: &selected.captures,
        facts,
    };
    if !needed.is_empty() {
        asker.check_api_client(tracer)?;
    }
    for requirement in &needed {
        asker.check_client(requirement, tracer)?;
    }
    asker.check_scopes(&needed, tracer)?;
    for requirement in &needed {
        asker.check_authentication(requirement, now, tracer)?;
        asker.check_condition(requirement, &input, tracer)?;
    }
    let changes = forward.identify(&input).map_err(|(reason, detail)| {
        tracer.step(|| Step::fail(Stage::Forward, detail));
        asker.close(Denial::because(reason, detail))
    })?;
    Ok(permit(selected, Some(Arc::clone(token)), changes))
}

fn permit(selected: &Selected<'_>, caller: Option<Arc<VerifiedToken>>, changes: Changes) -> Permit {
    Permit {
        route: Arc::clone(&selected.rule.route),
        caller,
        headers: changes.set,
        remove_always: changes.remove_always,
        remove: changes.remove,
        response_headers: Vec::new(),
        long_lived: selected.long_lived,
    }
}

/// A token before a route.
struct Asker<'a> {
    selected: &'a Selected<'a>,
    token: &'a Arc<VerifiedToken>,
    facts: &'a TokenFacts,
    scheme: Scheme,
}

impl Asker<'_> {
    fn refuse(&self, reason: Reason, detail: &'static str, complaint: Complaint<'_>) -> Denial {
        let mut denial = self.selected.refuse_with(reason, detail, Some(self.scheme), complaint);
        denial.caller = Some(Arc::clone(self.token));
        denial
    }

    fn close(&self, mut denial: Denial) -> Denial {
        denial.caller = Some(Arc::clone(self.token));
        self.selected.close(denial)
    }

    /// Whatever key the token is bound to must have been proven, on every route; and the route may
    /// ask that it be bound at all.
    fn check_binding(
        &self,
        proof: Option<crate::model::digest::Digest>,
        certificate: Option<crate::model::digest::Digest>,
        needed: &[&TokenRequirement],
        tracer: &mut impl Tracer,
    ) -> Result<(), Denial> {
        let confirmation = self.facts.confirmation();
        let fail = |tracer: &mut _, reason: Reason, detail: &'static str, scheme: Scheme| {
            Tracer::step(tracer, || Step::fail(Stage::Binding, detail));
            let complaint = match reason {
                Reason::InvalidDpopProof => Complaint::InvalidDpopProof,
                _ => Complaint::InvalidToken,
            };
            let mut denial = self.selected.refuse_with(reason, detail, Some(scheme), complaint);
            denial.caller = Some(Arc::clone(self.token));
            denial
        };
        match (confirmation.dpop_key, self.scheme) {
            (None, Scheme::Bearer) => {}
            (None, Scheme::Dpop) => {
                let detail = "the scheme is DPoP, but the token is bound to no DPoP key";
                return Err(fail(tracer, Reason::InvalidToken, detail, Scheme::Dpop));
            }
            (Some(_), Scheme::Bearer) => {
                let detail = "the token is bound to a DPoP key, but the scheme is Bearer";
                return Err(fail(tracer, Reason::InvalidToken, detail, Scheme::Dpop));
            }
            (Some(key), Scheme::Dpop) => {
                if proof != Some(key) {
                    let detail = "the proof is not by the key that the token is bound to";
                    return Err(fail(tracer, Reason::InvalidDpopProof, detail, Scheme::Dpop));
                }
                tracer.step(|| Step::pass(Stage::Binding, "the DPoP key is proven"));
            }
        }
        if let Some(bound) = confirmation.certificate {
            if certificate != Some(bound) {
                let detail = "the client's certificate is not the one that the token is bound to";
                return Err(fail(tracer, Reason::InvalidToken, detail, self.scheme));
            }
            tracer.step(|| Step::pass(Stage::Binding, "the client's certificate is proven"));
        }
        for requirement in needed {
            match requirement.bound {
                Some(Binding::Dpop) if confirmation.dpop_key.is_none() => {
                    let detail = "the route needs a token that is bound to a DPoP key";
                    return Err(fail(tracer, Reason::InvalidToken, detail, Scheme::Dpop));
                }
                Some(Binding::Mtls) if confirmation.certificate.is_none() => {
                    let detail = "the route needs a token that is bound to a client certificate";
                    return Err(fail(tracer, Reason::InvalidToken, detail, self.scheme));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_api_client(&self, tracer: &mut impl Tracer) -> Result<(), Denial> {
        if self.selected.api.clients.admit(self.facts.client()) {
            return Ok(());
        }
        tracer.step(|| {
            Step::fail(
                Stage::Client,
                format!(
                    "{} may not call the api; those that may: {}",
                    self.client(),
                    listed(&self.selected.api.clients)
                ),
            )
        });
        Err(self.close(Denial::because(
            Reason::ClientNotAllowed,
            "the client may not call the api",
        )))
    }

    fn check_client(&self, requirement: &TokenRequirement, tracer: &mut impl Tracer) -> Result<(), Denial> {
        let Some(clients) = &requirement.clients else {
            return Ok(());
        };
        if clients.admit(self.facts.client()) {
            return Ok(());
        }
        tracer.step(|| {
            Step::fail(
                Stage::Client,
                format!(
                    "{} may not call the route; those that may: {}",
                    self.client(),
                    listed(clients)
                ),
            )
        });
        Err(self.close(Denial::because(
            Reason::ClientNotAllowed,
            "the client may not call the route",
        )))
    }

    fn client(&self) -> String {
        match self.facts.client() {
            Some(client) => format!("the client `{client}`"),
            None => "a token that names no client".to_owned(),
        }
    }

    /// All scopes of all requirements at once, so that the answer names everything that is missing.
    fn check_scopes(&self, needed: &[&TokenRequirement], tracer: &mut impl Tracer) -> Result<(), Denial> {
        let held = self.facts.scopes();
        let mut holds = true;
        for requirement in needed {
            holds &= held.is_superset(&requirement.all);
            holds &= requirement.any.is_empty() || requirement.any.iter().any(|scope| held.contains(scope));
        }
        if holds {
            tracer.step(|| Step::pass(Stage::Scopes, format!("the token has what is needed: `{held}`")));
            return Ok(());
        }
        let missing = missing(held, needed);
        tracer.step(|| {
            Step::fail(
                Stage::Scopes,
                format!("the token has `{held}`; `{missing}` would grant"),
            )
        });
        let complaint = Complaint::InsufficientScope(&missing);
        let mut denial = self.refuse(Reason::InsufficientScope, "the token lacks a scope", complaint);
        denial.missing = missing;
        Err(denial)
    }

    /// RFC 9470: a token that does not say when the user signed in says nothing recent.
    fn check_authentication(
        &self,
        requirement: &TokenRequirement,
        now: Timestamp,
        tracer: &mut impl Tracer,
    ) -> Result<(), Denial> {
        let strong = requirement.acr.is_empty()
            || self
                .facts
                .acr()
                .is_some_and(|acr| requirement.acr.iter().any(|class| class == acr));
        let recent = requirement.max_age.is_none_or(|max_age| {
            self.facts
                .auth_time()
                .is_some_and(|at| at <= now.plus(AUTH_TIME_LEEWAY) && now.since(at) <= max_age)
        });
        if strong && recent {
            return Ok(());
        }
        let detail = if strong {
            "the user signed in too long ago"
        } else {
            "the user did not sign in by a method of the classes that are needed"
        };
        tracer.step(|| Step::fail(Stage::Authentication, detail));
        let complaint = Complaint::InsufficientUserAuthentication {
            acr: &requirement.acr,
            max_age: requirement.max_age,
        };
        Err(self.refuse(Reason::InsufficientUserAuthentication, detail, complaint))
    }

    fn check_condition(
        &self,
        requirement: &TokenRequirement,
        input: &Input<'_, '_>,
        tracer: &mut impl Tracer,
    ) -> Result<(), Denial> {
        let Some(when) = &requirement.when else { return Ok(()) };
        let detail = match when.holds(input) {
            Ok(true) => {
                tracer.step(|| Step::pass(Stage::Condition, format!("`{}` holds", when.text())));
                return Ok(());
            }
            Ok(false) => "the condition is false",
            Err(unevaluated) => unevaluated.detail(),
        };
        tracer.step(|| Step::fail(Stage::Condition, format!("{detail}: `{}`", when.text())));
        Err(self.close(Denial::because(Reason::ConditionFailed, detail)))
    }
}

/// The smallest set of scopes that would have granted what is not granted yet: what is missing of
/// `all`, and for an `any` of which none is held, its first that is not named already.
fn missing(held: &ScopeSet, needed: &[&TokenRequirement]) -> ScopeSet {
    let all: ScopeSet = needed
        .iter()
        .flat_map(|requirement| requirement.all.missing_from(held).iter().cloned().collect::<Vec<_>>())
        .collect();
    let any = needed
        .iter()
        .filter(|requirement| {
            !requirement
                .any
                .iter()
                .any(|scope| held.contains(scope) || all.contains(scope))
        })
        .filter_map(|requirement| requirement.any.first());
    all.iter().chain(any).cloned().collect()
}

fn listed(clients: &crate::policy::compiled::Clients) -> String {
    match clients {
        crate::policy::compiled::Clients::Any => "any".to_owned(),
        crate::policy::compiled::Clients::Only(clients) => {
            let names: Vec<&str> = clients.iter().map(crate::model::id::ClientId::as_str).collect();
            format!("`{}`", names.join("`, `"))
        }
    }
}

#[cfg(test)]
mod tests;
