//! Declarations, requests and callers for tests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::digest::Digest;
use crate::model::finding::{Finding, Severity};
use crate::model::id::{ApiName, AuthorizationServerId, Issuer};
use crate::model::location::{Located, Location};
use crate::model::scope::Scope;
use crate::model::time::Timestamp;
use crate::policy::caller::{Caller, ClaimNames, Scheme, VerifiedToken};
use crate::policy::claims::{Provenance, Statement};
use crate::policy::compile::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decide::judge;
use crate::policy::decision::{Decision, Denial, Permit};
use crate::policy::declared::{
    ApiDeclaration, BadToken, ClientsDeclaration, CorsPreflight, Declaration, DpopOptions, ForwardDeclaration,
    MethodOverride, Origin, PathOptions, RequirementDeclaration, RouteDeclaration, RouteTarget, ServerDeclaration,
    TokenRequirementDeclaration, VerbDeclaration,
};
use crate::policy::facts::{Header, RequestFacts};
use crate::policy::trace::{Trace, Untraced};

/// The wall clock of all tests.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

pub(crate) fn text(value: &str) -> Located<String> {
    Located::nowhere(value.to_owned())
}

pub(crate) fn texts(values: &[&str]) -> Vec<Located<String>> {
    values.iter().map(|value| text(value)).collect()
}

/// `public`, `authenticated`, `deny`, or scopes of which all are needed.
pub(crate) fn needs(what: &str) -> RequirementDeclaration {
    match what {
        "public" => RequirementDeclaration::Public,
        "authenticated" => RequirementDeclaration::Authenticated,
        "deny" => RequirementDeclaration::Deny,
        scopes => token(|token| token.all = texts(&scopes.split(' ').collect::<Vec<_>>())),
    }
}

pub(crate) fn token(change: impl FnOnce(&mut TokenRequirementDeclaration)) -> RequirementDeclaration {
    let mut requirement = TokenRequirementDeclaration::default();
    change(&mut requirement);
    RequirementDeclaration::Token(Box::new(requirement))
}

pub(crate) fn route(path: &str, verbs: &[(&str, RequirementDeclaration)]) -> RouteDeclaration {
    RouteDeclaration {
        location: Location::default(),
        target: RouteTarget::Path(text(path)),
        verbs: verbs
            .iter()
            .map(|(verb, requirement)| VerbDeclaration {
                verb: text(verb),
                requirement: requirement.clone(),
            })
            .collect(),
        method_override: MethodOverride::Refuse,
        forward_authorization: false,
    }
}

pub(crate) fn grpc(service: &str, methods: &[(&str, RequirementDeclaration)]) -> RouteDeclaration {
    RouteDeclaration {
        target: RouteTarget::Grpc(text(service)),
        ..route("/", methods)
    }
}

/// An API `name` on `host` with the authorization server `main`.
pub(crate) fn api(name: &str, host: &str, routes: Vec<RouteDeclaration>) -> ApiDeclaration {
    ApiDeclaration {
        name: Located::nowhere(ApiName::parse(name).expect("valid")),
        hosts: texts(&[host]),
        servers: vec![Located::nowhere(AuthorizationServerId::parse("main").expect("valid"))],
        clients: ClientsDeclaration::Any,
        paths: PathOptions::default(),
        cors_preflight: CorsPreflight::AsRoute,
        bad_token: BadToken::Ignore,
        hide: false,
        bind_sni: false,
        trust_xfcc: false,
        realm: None,
        resource_metadata: None,
        dpop: DpopOptions::default(),
        forward: ForwardDeclaration::default(),
        routes,
    }
}

pub(crate) fn server(id: &str, scopes: &[&str]) -> ServerDeclaration {
    ServerDeclaration {
        id: AuthorizationServerId::parse(id).expect("valid"),
        scopes: scopes.iter().map(|scope| Scope::parse(scope).expect("valid")).collect(),
        origin: Origin::File,
        clients: ["app", "mobile", "nightly-batch", "quickbooks"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// The APIs with the authorization server `main`, which defines `r`, `w`, `a`, `b` and `c`.
pub(crate) fn declare(apis: Vec<ApiDeclaration>) -> Declaration {
    Declaration {
        servers: vec![server("main", &["r", "w", "a", "b", "c"])],
        apis,
    }
}

pub(crate) fn compiled(apis: Vec<ApiDeclaration>) -> CompiledPolicy {
    compiled_of(&declare(apis))
}

pub(crate) fn compiled_of(declaration: &Declaration) -> CompiledPolicy {
    let (policy, findings) = compile(declaration);
    policy.unwrap_or_else(|| panic!("refused: {findings:#?}"))
}

/// One API `api` on `h.example` with these routes.
pub(crate) fn routes(routes: Vec<RouteDeclaration>) -> CompiledPolicy {
    compiled(vec![api("api", "h.example", routes)])
}

pub(crate) fn errors(declaration: &Declaration) -> Vec<Finding> {
    let (policy, findings) = compile(declaration);
    let errors: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    assert_eq!(
        policy.is_none(),
        !errors.is_empty(),
        "a policy exists only without errors"
    );
    errors
}

/// A request such as `GET https://h.example/x?y`, with headers as `name: value`.
pub(crate) fn request<'a>(line: &'a str, headers: &[&'a str]) -> RequestFacts<'a> {
    let (method, url) = line.split_once(' ').expect("a method and a URL");
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let end = rest.find(['/', '?', '*', '#', '\\']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    RequestFacts {
        method,
        scheme,
        host,
        target,
        headers: headers
            .iter()
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a name and a value");
                Header {
                    name,
                    value: value.as_bytes(),
                }
            })
            .collect(),
        raw_headers: true,
        ..RequestFacts::default()
    }
}

/// A Bearer token of `main` with these claims laid over `sub: ada`, `client_id: app`.
pub(crate) fn bearer(claims: Value) -> Caller {
    caller_of("main", claims)
}

pub(crate) fn caller_of(server: &str, claims: Value) -> Caller {
    let mut all = json!({"sub": "ada", "client_id": "app"});
    let (Value::Object(all), Value::Object(claims)) = (&mut all, claims) else {
        panic!("claims are an object")
    };
    all.extend(claims);
    // Null takes a claim away.
    all.retain(|_, value| !value.is_null());
    let provenance = Provenance {
        server: &AuthorizationServerId::parse(server).expect("valid"),
        issued_as: None,
        issuer: &Issuer::parse("https://issuer.example").expect("valid"),
        kid: None,
        expires_at: Timestamp::from_unix_seconds(NOW.unix_seconds() + 300),
    };
    let (names, claims) = (ClaimNames::default(), all.clone().into());
    let statement = Statement::read(provenance, &names, &claims).expect("good claims");
    let facts = statement.lay_out().expect("good claims");
    Caller::Token {
        token: Arc::new(VerifiedToken::assertion_by_authz(facts)),
        proof: None,
        certificate: None,
        scheme: Scheme::Bearer,
    }
}

pub(crate) fn scoped(scope: &str) -> Caller {
    bearer(json!({ "scope": scope }))
}

/// The same caller with the scheme DPoP and this proven key.
pub(crate) fn with_proof(caller: Caller, key: Option<Digest>) -> Caller {
    match caller {
        Caller::Token { token, certificate, .. } => Caller::Token {
            token,
            proof: key,
            certificate,
            scheme: Scheme::Dpop,
        },
        Caller::Anonymous => panic!("no token"),
    }
}

/// The same caller with this client certificate.
pub(crate) fn with_certificate(caller: Caller, thumbprint: Digest) -> Caller {
    match caller {
        Caller::Token {
            token, proof, scheme, ..
        } => Caller::Token {
            token,
            proof,
            certificate: Some(thumbprint),
            scheme,
        },
        Caller::Anonymous => panic!("no token"),
    }
}

/// Decides as `authz` does.
pub(crate) fn decide(policy: &CompiledPolicy, facts: &RequestFacts<'_>, caller: &Caller) -> Decision {
    match policy.select(facts, &mut Untraced) {
        Ok(selected) => judge(&selected, facts, caller, NOW, &mut Untraced),
        Err(denial) => Decision::Deny(denial),
    }
}

pub(crate) fn traced(policy: &CompiledPolicy, facts: &RequestFacts<'_>, caller: &Caller) -> (Decision, Trace) {
    let mut trace = Trace::default();
    let decision = match policy.select(facts, &mut trace) {
        Ok(selected) => judge(&selected, facts, caller, NOW, &mut trace),
        Err(denial) => Decision::Deny(denial),
    };
    (decision, trace)
}

pub(crate) fn allowed(decision: Decision) -> Permit {
    match decision {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("denied: {denial:?}"),
    }
}

pub(crate) fn denied(decision: Decision) -> Denial {
    match decision {
        Decision::Allow(permit) => panic!("allowed: {permit:?}"),
        Decision::Deny(denial) => denial,
    }
}

/// `allow`, or the reason of the denial.
pub(crate) fn verdict(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.reason().as_str(),
    }
}

/// The verdict on an anonymous request, as a route's name or a reason.
pub(crate) fn outcome(policy: &CompiledPolicy, line: &str) -> String {
    match decide(policy, &request(line, &[]), &Caller::Anonymous) {
        Decision::Allow(permit) => permit.route().name.to_string(),
        Decision::Deny(denial) => denial.reason().as_str().to_owned(),
    }
}
