//! From declared rules to a compiled policy, or to every mistake at once.
//!
//! A policy is refused as a whole if one element of it is wrong: leaving the element out could widen
//! what the rest allows. Codes of findings are stable:
//!
//! | errors | |
//! |---|---|
//! | `bad_host`, `no_hosts`, `duplicate_api`, `conflicting_paths` | hosts and APIs |
//! | `unknown_authorization_server`, `no_authorization_server`, `unknown_scope`, `missing_clients`, `unknown_client`, `no_clients` | names |
//! | `bad_path`, `bad_verb`, `bad_grpc_service`, `bad_grpc_method`, `no_routes`, `no_verbs`, `duplicate_route` | routes |
//! | `bad_expression`, `expression_too_long`, `expression_too_costly`, `bad_pattern`, `unknown_variable`, `unknown_function`, `unknown_wildcard`, `unknown_field`, `unknown_header`, `unknown_type` | expressions |
//! | `bad_header_name`, `protected_header`, `duplicate_header`, `too_many_headers` | what is forwarded |
//!
//! | warnings | |
//! |---|---|
//! | `looser_neighbour` | a wildcard route catches near misses of a stricter one |
//! | `unused_option` | an option that has no effect where it stands |

mod hosts;
mod requirement;
mod routes;
mod shadow;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::Env;

use crate::model::finding::{Finding, Severity};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::{Located, Location};
use crate::policy::challenge::Protection;
use crate::policy::compiled::{Api, Clients, CompiledPolicy, Rule};
use crate::policy::declared::{
    ApiDeclaration, ClientsDeclaration, Declaration, Origin, RequirementDeclaration, ServerDeclaration,
};
use crate::policy::forward::{DASHES_MAX, Forward, HEADERS_MAX, IdentityHeader};
use crate::policy::predicate::{BadExpression, Expression, environment};

/// Compiles the declared rules. The policy is there only if no finding is an error.
#[must_use]
pub fn compile(declaration: &Declaration) -> (Option<CompiledPolicy>, Vec<Finding>) {
    let mut compiler = Compiler {
        declaration,
        env: environment(),
        findings: Vec::new(),
        rules: Vec::new(),
        identity_names: identity_names(declaration),
    };
    let mut names: HashMap<&str, Location> = HashMap::new();
    let mut apis = Vec::with_capacity(declaration.apis.len());
    for (index, api) in declaration.apis.iter().enumerate() {
        let name = api.name.value.as_str();
        if let Some(earlier) = names.insert(name, api.name.location) {
            compiler.error(
                "duplicate_api",
                api.name.location,
                format!(
                    "the api `{name}` is declared twice; the first is on line {}",
                    earlier.line
                ),
            );
        }
        apis.push(compiler.api(index, api));
    }
    let (hosts, pinned) = compiler.hosts(&apis);
    compiler.report_shadows(&apis);
    let Compiler {
        mut findings, rules, ..
    } = compiler;
    findings.sort_by_key(|finding| (finding.location, finding.severity));
    findings.dedup();
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let policy = (!refused).then(|| CompiledPolicy {
        apis,
        routes: rules.iter().map(|rule| Arc::clone(&rule.route)).collect(),
        rules,
        hosts,
        pinned,
    });
    (policy, findings)
}

struct Compiler<'d> {
    declaration: &'d Declaration,
    env: Arc<Env>,
    findings: Vec<Finding>,
    rules: Vec<Rule>,
    /// The names of the identity headers of every API, in lower case.
    identity_names: BTreeSet<Arc<str>>,
}

fn identity_names(declaration: &Declaration) -> BTreeSet<Arc<str>> {
    let headers = declaration.apis.iter().flat_map(|api| &api.forward.headers);
    headers
        .map(|(name, _)| Arc::from(name.value.to_ascii_lowercase()))
        .collect()
}

impl<'d> Compiler<'d> {
    fn error(&mut self, code: &'static str, location: Location, message: impl Into<String>) {
        self.findings.push(Finding::error(code, location, message));
    }

    fn error_with_hint(
        &mut self,
        code: &'static str,
        location: Location,
        message: impl Into<String>,
        hint: Option<impl Into<String>>,
    ) {
        let finding = Finding::error(code, location, message);
        self.findings.push(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
    }

    fn api(&mut self, index: usize, api: &'d ApiDeclaration) -> Api {
        let servers = self.servers(api);
        let clients = self.api_clients(api, &servers);
        let hosts = self.declared_hosts(api);
        let forward = self.forward(api);
        let compiled = Api {
            name: api.name.value.clone(),
            hosts,
            servers: servers.iter().map(|server| server.id.clone()).collect(),
            clients,
            paths: api.paths,
            cors_preflight: api.cors_preflight,
            bad_token: api.bad_token,
            hide: api.hide,
            bind_sni: api.bind_sni,
            trust_xfcc: api.trust_xfcc,
            dpop: api.dpop.clone(),
            protection: Protection::new(
                api.realm.as_ref().map_or(api.name.value.as_str(), |realm| &realm.value),
                api.resource_metadata.as_ref().map(|url| url.value.as_str()),
            ),
            forward,
        };
        if api.routes.is_empty() {
            self.error_with_hint(
                "no_routes",
                api.name.location,
                format!("the api `{}` has no routes", api.name.value),
                Some("every route that is not written down is closed"),
            );
        }
        for route in &api.routes {
            self.route(index, api, &compiled, &servers, route);
        }
        if api.servers.is_empty() && needs_token(api) {
            self.error(
                "no_authorization_server",
                api.name.location,
                format!(
                    "the api `{}` names no authorization server, but has routes that need a token",
                    api.name.value
                ),
            );
        }
        compiled
    }

    fn servers(&mut self, api: &'d ApiDeclaration) -> Vec<&'d ServerDeclaration> {
        let mut found = Vec::new();
        for id in &api.servers {
            match self.server(&id.value) {
                Some(server) => found.push(server),
                None => self.unknown_server(id),
            }
        }
        found
    }

    fn server(&self, id: &AuthorizationServerId) -> Option<&'d ServerDeclaration> {
        self.declaration.servers.iter().find(|server| server.id == *id)
    }

    fn unknown_server(&mut self, id: &Located<AuthorizationServerId>) {
        let known = self.declaration.servers.iter().map(|server| server.id.as_str());
        let hint =
            crate::model::finding::nearest(id.value.as_str(), known).map(|near| format!("did you mean `{near}`?"));
        self.error_with_hint(
            "unknown_authorization_server",
            id.location,
            format!("there is no authorization server `{}`", id.value),
            hint,
        );
    }

    fn api_clients(&mut self, api: &'d ApiDeclaration, servers: &[&'d ServerDeclaration]) -> Clients {
        match &api.clients {
            ClientsDeclaration::Any => Clients::Any,
            ClientsDeclaration::Unstated => {
                let external = servers.iter().find(|server| server.origin == Origin::Elsewhere);
                if let Some(external) = external.filter(|_| needs_token(api)) {
                    self.error_with_hint(
                        "missing_clients",
                        api.name.location,
                        format!(
                            "the api `{}` does not say which clients may call it, and `{}` issues its tokens elsewhere",
                            api.name.value, external.id
                        ),
                        Some("write `clients: [..]`, or `clients: any`"),
                    );
                }
                Clients::Any
            }
            ClientsDeclaration::Only(clients) => {
                if clients.is_empty() {
                    self.error_with_hint(
                        "no_clients",
                        api.name.location,
                        format!(
                            "the api `{}` has an empty list of clients: nobody can call it",
                            api.name.value
                        ),
                        Some("name clients, or leave `clients` out"),
                    );
                }
                self.clients(clients, servers)
            }
        }
    }

    /// A list of clients, each known if every server is one whose clients we know.
    fn clients(&mut self, clients: &[Located<String>], servers: &[&'d ServerDeclaration]) -> Clients {
        let all_known = !servers.is_empty() && servers.iter().all(|server| server.origin == Origin::File);
        let mut ids = Vec::with_capacity(clients.len());
        for client in clients {
            let mut known = servers.iter().flat_map(|server| &server.clients).map(String::as_str);
            if all_known && !known.clone().any(|known| known == client.value) {
                let hint = crate::model::finding::nearest(&client.value, &mut known)
                    .map(|near| format!("did you mean `{near}`?"));
                self.error_with_hint(
                    "unknown_client",
                    client.location,
                    format!("there is no client `{}`", client.value),
                    hint,
                );
            }
            match ClientId::parse(&client.value) {
                Ok(id) => ids.push(id),
                Err(error) => self.error(
                    "unknown_client",
                    client.location,
                    format!("`{}` is no client: {error}", client.value),
                ),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Clients::Only(ids)
    }

    fn forward(&mut self, api: &'d ApiDeclaration) -> Forward {
        let declared = &api.forward.headers;
        if let Some((name, _)) = declared.get(HEADERS_MAX) {
            self.error(
                "too_many_headers",
                name.location,
                format!(
                    "the api `{}` sets more than {HEADERS_MAX} identity headers",
                    api.name.value
                ),
            );
        }
        let mut seen: HashMap<String, Location> = HashMap::new();
        let mut headers = Vec::with_capacity(declared.len());
        for (name, expression) in declared {
            let lower = name.value.to_ascii_lowercase();
            if let Some((code, message, hint)) = refused_header(&lower) {
                self.error_with_hint(code, name.location, message, hint);
            }
            if let Some(earlier) = seen.insert(lower.clone(), name.location) {
                self.error(
                    "duplicate_header",
                    name.location,
                    format!(
                        "the header `{lower}` is set twice; the first is on line {}",
                        earlier.line
                    ),
                );
            }
            // An API's headers are for all its routes, so only a wildcard that all of them have would
            // do; a name that one lacks is simply absent there.
            let wildcards: Vec<&str> = api.routes.iter().flat_map(routes::wildcard_names).collect();
            if let Some(expression) = self.expression(expression, &wildcards) {
                headers.push(IdentityHeader::new(&lower, expression));
            }
        }
        Forward::new(api.forward.token, headers, &self.identity_names)
    }

    fn expression(&mut self, text: &Located<String>, wildcards: &[&str]) -> Option<Expression> {
        let env = Arc::clone(&self.env);
        match Expression::parse(&env, &text.value, wildcards) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.bad_expression(text.location, error);
                None
            }
        }
    }

    fn bad_expression(&mut self, location: Location, error: BadExpression) {
        let message = format!("{} (column {} of the expression)", error.message, error.column);
        self.error_with_hint(error.code, location, message, error.hint);
    }
}

/// Whether any route of the API looks at tokens.
fn needs_token(api: &ApiDeclaration) -> bool {
    api.routes.iter().flat_map(|route| &route.verbs).any(|verb| {
        matches!(
            verb.requirement,
            RequirementDeclaration::Authenticated | RequirementDeclaration::Token(_)
        )
    })
}

/// Names that a client or Envoy gives a meaning to: setting them would change more than what the
/// upstream is told (case I11).
const PROTECTED: [&str; 27] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "grpc-timeout",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Why a header cannot be an identity header: code, message, way out.
fn refused_header(name: &str) -> Option<(&'static str, String, Option<&'static str>)> {
    if PROTECTED.contains(&name) || name.starts_with("x-envoy-") || name.starts_with(':') {
        return Some((
            "protected_header",
            format!("the header `{name}` is not ours to set"),
            Some("use a name of your own, such as `x-auth-subject`"),
        ));
    }
    let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = name.bytes().all(token) && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 128;
    if !valid {
        return Some((
            "bad_header_name",
            format!("`{name}` cannot be the name of an identity header"),
            Some("letters, digits and `-`; not `_`, which servers take for `-`"),
        ));
    }
    if name.bytes().filter(|byte| *byte == b'-').count() > DASHES_MAX {
        return Some((
            "bad_header_name",
            format!("the header `{name}` has more than {DASHES_MAX} dashes"),
            Some("each dash doubles the spellings that must be kept from the upstream"),
        ));
    }
    None
}

#[cfg(test)]
mod tests;
