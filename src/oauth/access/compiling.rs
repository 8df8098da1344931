//! From what is declared to the model, or to every finding at once.
//!
//! A declaration with one error gives no model at all: a dropped element could widen what the rest
//! grants. Yet reading goes on after an error, so that one run shows all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use url::Url;

use crate::jose::alg::Algorithm;
use crate::model::finding::{Finding, Severity, nearest};
use crate::model::id::ClientId;
use crate::model::location::{Located, Location};
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{
    ACCESS_TOKEN_LIFETIME_MAX, ClientSelector, KEYS_MAX, Model, OIDC_SCOPES, Policy, RefreshLifetimes, Rule, ScopeInfo,
    ScopeSelector, Server, User, lint,
};
use crate::oauth::claims::{Claim, Expression, InvalidExpression, RESERVED};
use crate::oauth::client::{Client, Credentials, SECRETS_MAX};
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClaimDeclaration, ClientDeclaration, ClientKind, IssuerDeclaration, PolicyClients,
    PolicyDeclaration, RuleDeclaration, RuleScopes, ScopeDeclaration, UserDeclaration,
};
use crate::oauth::grant::GrantType;
use crate::oauth::redirect;

/// The algorithms that an authorization server can sign with.
const SIGNING: [Algorithm; 5] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

/// Compiles a declaration. The model is there only if no finding is an error.
#[must_use]
pub fn compile(declaration: &IssuerDeclaration) -> (Option<Model>, Vec<Finding>) {
    let mut compiler = Compiler::new(declaration);
    let clients = compiler.clients(&declaration.clients);
    let users = compiler.users(&declaration.users);
    let mut servers = BTreeMap::new();
    for declared in &declaration.servers {
        let id = &declared.id.value;
        if let Some(server) = compiler.server(declared)
            && servers.insert(id.clone(), Arc::new(server)).is_some()
        {
            compiler.error(
                "duplicate_authorization_server",
                declared.id.location,
                format!("the authorization server `{id}` is declared twice"),
                "give each its own name",
            );
        }
    }
    let findings = compiler.findings;
    let sound = findings.iter().all(|finding| finding.severity != Severity::Error);
    let model = Model {
        servers,
        clients,
        users,
    };
    (sound.then_some(model), findings)
}

/// The names that references are checked against, and what was found so far.
struct Compiler<'d> {
    clients: BTreeSet<&'d str>,
    groups: BTreeSet<&'d str>,
    /// Empty where users live in the store: then a login cannot be checked here.
    logins: BTreeSet<&'d str>,
    findings: Vec<Finding>,
}

impl<'d> Compiler<'d> {
    fn new(declaration: &'d IssuerDeclaration) -> Self {
        let mut compiler = Self {
            clients: declaration
                .clients
                .iter()
                .map(|client| client.id.value.as_str())
                .collect(),
            groups: BTreeSet::new(),
            logins: declaration.users.iter().map(|user| user.login.value.as_str()).collect(),
            findings: Vec::new(),
        };
        for group in &declaration.groups {
            if !compiler.groups.insert(&group.value) {
                let message = format!("the group `{}` is declared twice", group.value);
                compiler.error("duplicate_group", group.location, message, "leave one of them out");
            }
        }
        compiler
    }

    fn error(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::error(code, at, message).hint(hint));
    }

    fn warn(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::warning(code, at, message).hint(hint));
    }

    /// An unknown name, with the known one that may be meant.
    fn unknown<'n>(
        &mut self,
        code: &'static str,
        what: &str,
        name: &Located<String>,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(&name.value, known.iter().copied()) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None if known.is_empty() => format!("no {what} is declared"),
            None => format!("known: {}", quoted(&known)),
        };
        self.error(
            code,
            name.location,
            format!("no {what} is named `{}`", name.value),
            hint,
        );
    }

    // === Clients and users ===

    fn clients(&mut self, declared: &[ClientDeclaration]) -> HashMap<ClientId, Arc<Client>> {
        let mut clients = HashMap::new();
        for declaration in declared {
            let client = self.client(declaration);
            if clients.insert(client.id.clone(), Arc::new(client)).is_some() {
                let message = format!("the client `{}` is declared twice", declaration.id.value);
                self.error(
                    "duplicate_client",
                    declaration.id.location,
                    message,
                    "give each its own identifier",
                );
            }
        }
        clients
    }

    fn client(&mut self, declared: &ClientDeclaration) -> Client {
        let id = &declared.id;
        let name = id.value.as_str();
        if name == "ALL_CLIENTS" || !name.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) || name.len() > 100 {
            self.error(
                "invalid_client_id",
                id.location,
                format!("`{name}` is no client identifier"),
                "use at most 100 printable ASCII characters without space (RFC 6749 appendix A.1)",
            );
        }
        let mut grants = BTreeSet::new();
        for name in &declared.grants {
            let Some(grant) = self.grant(name) else { continue };
            if grant.is_allowed_for(declared.kind) {
                grants.insert(grant);
            } else {
                let kind = kind_name(declared.kind);
                let allowed: Vec<&str> = GrantType::ALL
                    .into_iter()
                    .filter(|grant| grant.is_allowed_for(declared.kind))
                    .map(GrantType::as_str)
                    .collect();
                self.error(
                    "grant_not_allowed_for_type",
                    name.location,
                    format!("a client of type `{kind}` cannot use the grant `{}`", grant.as_str()),
                    format!("it can use {}", quoted(&allowed)),
                );
            }
        }
        if declared.grants.is_empty() {
            self.error(
                "no_grant",
                id.location,
                format!("the client `{name}` has no grant type"),
                "say which ones it may use: `grants: […]`",
            );
        }
        let needs_code = matches!(declared.kind, ClientKind::Web | ClientKind::Native);
        if needs_code
            && !declared.grants.is_empty()
            && !declared.grants.iter().any(|grant| grant.value == "authorization_code")
        {
            self.error(
                "missing_authorization_code",
                declared.kind_location,
                format!(
                    "a client of type `{}` signs people in, and lacks the grant `authorization_code`",
                    kind_name(declared.kind)
                ),
                "add it, or use `type: service` for a client without a person",
            );
        }
        for uri in &declared.redirect_uris {
            if let Err(refusal) = redirect::may_register(&uri.value, declared.kind) {
                self.error(
                    refusal.code(),
                    uri.location,
                    format!("the redirect URI `{}` is refused: {refusal}", uri.value),
                    refusal.hint(),
                );
            }
        }
        let needs_redirect = grants.contains(&GrantType::AuthorizationCode) || grants.contains(&GrantType::Implicit);
        if needs_redirect && declared.redirect_uris.is_empty() {
            self.error(
                "missing_redirect_uri",
                id.location,
                format!("the client `{name}` signs people in and has no redirect URI"),
                "add `redirect_uris: […]`",
            );
        }
        for group in &declared.assigned_groups {
            self.group(group);
        }
        for login in &declared.assigned_users {
            self.login(login);
        }
        let texts = |list: &[Located<String>]| list.iter().map(|item| item.value.clone()).collect();
        Client {
            id: id.value.clone(),
            kind: declared.kind,
            grants,
            redirect_uris: declared.redirect_uris.iter().map(|uri| uri.value.clone()).collect(),
            credentials: self.credentials(declared),
            assigned_groups: texts(&declared.assigned_groups),
            assigned_users: texts(&declared.assigned_users),
        }
    }

    fn credentials(&mut self, declared: &ClientDeclaration) -> Credentials {
        let name = &declared.id.value;
        let public = matches!(declared.kind, ClientKind::Native | ClientKind::Browser);
        match declared.secrets.as_slice() {
            [] if public => Credentials::Public,
            [] => {
                self.error(
                    "missing_secret",
                    declared.id.location,
                    format!("the client `{name}` has no secret and could never authenticate"),
                    "add `secrets: [{ sha256: … }]`",
                );
                Credentials::Secrets(Vec::new())
            }
            [first, ..] if public => {
                self.error(
                    "secret_on_public_client",
                    first.location,
                    format!("a client of type `{}` cannot keep a secret", kind_name(declared.kind)),
                    "leave it out: PKCE protects it",
                );
                Credentials::Public
            }
            secrets => {
                if let Some(extra) = secrets.get(SECRETS_MAX) {
                    self.error(
                        "too_many_secrets",
                        extra.location,
                        format!("the client `{name}` has more than {SECRETS_MAX} secrets"),
                        "remove the ones that are out of use",
                    );
                }
                Credentials::Secrets(secrets.iter().map(|secret| secret.sha256).collect())
            }
        }
    }

    fn users(&mut self, declared: &[UserDeclaration]) -> BTreeMap<String, Arc<User>> {
        let mut users = BTreeMap::new();
        for declaration in declared {
            for group in &declaration.groups {
                self.group(group);
            }
            let user = User {
                login: declaration.login.value.clone(),
                groups: declaration.groups.iter().map(|group| group.value.clone()).collect(),
                profile: declaration.profile.clone(),
            };
            if users.insert(user.login.clone(), Arc::new(user)).is_some() {
                let message = format!("the user `{}` is declared twice", declaration.login.value);
                self.error(
                    "duplicate_user",
                    declaration.login.location,
                    message,
                    "leave one of them out",
                );
            }
        }
        users
    }

    fn group(&mut self, name: &Located<String>) {
        if !self.groups.contains(name.value.as_str()) {
            let known: Vec<&str> = self.groups.iter().copied().collect();
            self.unknown("unknown_group", "group", name, known);
        }
    }

    fn login(&mut self, name: &Located<String>) {
        if !self.logins.is_empty() && !self.logins.contains(name.value.as_str()) {
            let known: Vec<&str> = self.logins.iter().copied().collect();
            self.unknown("unknown_user", "user", name, known);
        }
    }

    fn grant(&mut self, name: &Located<String>) -> Option<GrantType> {
        let Some(grant) = GrantType::parse(&name.value) else {
            self.unknown(
                "unknown_grant",
                "grant type",
                name,
                GrantType::ALL.map(GrantType::as_str),
            );
            return None;
        };
        if grant.is_legacy() {
            self.warn(
                "legacy_grant",
                name.location,
                format!("the grant `{}` is legacy (RFC 9700 section 2)", grant.as_str()),
                "use `authorization_code`, with PKCE for public clients",
            );
        }
        Some(grant)
    }

    // === Authorization servers ===

    fn server(&mut self, declared: &AuthorizationServerDeclaration) -> Option<Server> {
        let id = declared.id.value.as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !id.bytes().all(plain) || id.len() > 100 {
            self.error(
                "invalid_authorization_server_id",
                declared.id.location,
                format!("`{id}` is no name of an authorization server: it is part of a URL"),
                "use letters, digits, `-` and `_`, at most 100",
            );
        }
        let audience = &declared.audience;
        if audience.value.is_empty() || (audience.value.contains(':') && Url::parse(&audience.value).is_err()) {
            self.error(
                "invalid_audience",
                audience.location,
                format!(
                    "`{}` is no audience: it has a `:` and is no URI, or is empty",
                    audience.value
                ),
                "use the URL of the API, or a plain name",
            );
        }
        let scopes = self.scopes(&declared.scopes);
        let claims = self.claims(&declared.claims, &scopes);
        let (policies, places) = self.policies(&declared.policies, &scopes);
        self.findings.extend(lint::shadowed_rules(&policies, &places));
        let algorithm = self.algorithm(&declared.signing.algorithm)?;
        let server = Server {
            id: declared.id.value.clone(),
            audience: audience.value.clone(),
            algorithm,
            rotate_every: declared.signing.rotate_every,
            profile: declared.token_profile,
            scopes,
            claims,
            policies,
        };
        self.rotation(&server, declared.signing.algorithm.location);
        Some(server)
    }

    fn algorithm(&mut self, name: &Located<String>) -> Option<Algorithm> {
        let found = SIGNING.into_iter().find(|algorithm| algorithm.as_str() == name.value);
        if found.is_none() {
            let known = SIGNING.map(Algorithm::as_str);
            let hint = nearest(&name.value, known).map_or_else(
                || format!("use one of {}", quoted(&known)),
                |near| format!("did you mean `{near}`?"),
            );
            self.error(
                "unknown_algorithm",
                name.location,
                format!("an authorization server cannot sign with `{}`", name.value),
                hint,
            );
        }
        found
    }

    /// A key stays published until its last token is dead: their number is lifetime by interval.
    fn rotation(&mut self, server: &Server, at: Location) {
        let Some(every) = server.rotate_every else { return };
        let lifetime = server.access_token_lifetime_max().as_secs();
        if every.is_zero() || lifetime / every.as_secs().max(1) > KEYS_MAX {
            self.error("rotation_too_fast", at, format!("rotating every {} s would publish more than {KEYS_MAX} keys, since access tokens live for {lifetime} s", every.as_secs()), "make `rotate_every` longer, or access tokens shorter");
        }
    }

    fn scopes(&mut self, declared: &[ScopeDeclaration]) -> BTreeMap<Scope, ScopeInfo> {
        let mut scopes = BTreeMap::new();
        for declaration in declared {
            let Located { value: name, location } = &declaration.name;
            let Ok(scope) = Scope::parse(name) else {
                self.error("invalid_scope_name", *location, format!("`{name}` is no scope name: it is empty, or has a space, a quote, a backslash or a character outside of ASCII"), format!("`{}` would be one (RFC 6749 section 3.3)", respelt(name)));
                continue;
            };
            if OIDC_SCOPES.contains(&name.as_str()) || name == "*" || lint::is_reserved_scope(name) {
                self.error(
                    "reserved_scope",
                    *location,
                    format!("the scope `{name}` is reserved"),
                    "leave it out: it has its own meaning, and rules allow it by themselves",
                );
                continue;
            }
            if name.contains('<') && name.contains('>') {
                self.error(
                    "invalid_scope_name",
                    *location,
                    format!("the scope name `{name}` has both `<` and `>`"),
                    "use at most one of them: it is shown to people",
                );
                continue;
            }
            if lint::is_generic_administrator(name) {
                self.warn(
                    "generic_admin_scope",
                    *location,
                    format!("the scope `{name}` gives everything to whoever holds it"),
                    "name what may be done, one scope for each kind of action",
                );
            }
            if declaration.default && declaration.consent == crate::oauth::declared::Consent::Required {
                self.warn("default_scope_needs_consent", *location, format!("the scope `{name}` is granted by default and needs consent: a service that names no scope is refused"), "make it one or the other");
            }
            let info = ScopeInfo {
                description: declaration.description.clone(),
                consent: declaration.consent,
                default: declaration.default,
                metadata: declaration.metadata,
            };
            if scopes.insert(scope, info).is_some() {
                self.error(
                    "duplicate_scope",
                    *location,
                    format!("the scope `{name}` is declared twice"),
                    "leave one of them out",
                );
            }
        }
        scopes
    }

    fn known_scope(&mut self, name: &Located<String>, scopes: &BTreeMap<Scope, ScopeInfo>) -> Option<Scope> {
        let found = Scope::parse(&name.value)
            .ok()
            .filter(|scope| scopes.contains_key(scope));
        if found.is_none() {
            self.unknown(
                "unknown_scope",
                "scope of this authorization server",
                name,
                scopes.keys().map(Scope::as_str),
            );
        }
        found
    }

    fn claims(&mut self, declared: &[ClaimDeclaration], scopes: &BTreeMap<Scope, ScopeInfo>) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for declaration in declared {
            let Located { value: name, location } = &declaration.name;
            if RESERVED.contains(&name.as_str()) {
                self.error(
                    "reserved_claim",
                    *location,
                    format!("the claim `{name}` is reserved: the issuer alone sets it"),
                    "choose another name",
                );
            } else if name.is_empty() || name.len() > 100 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.error(
                    "invalid_claim_name",
                    *location,
                    format!("`{name}` is no claim name"),
                    "use at most 100 printable ASCII characters without space",
                );
            } else if claims
                .iter()
                .any(|claim| claim.name == *name && claim.place == declaration.place)
            {
                self.error(
                    "duplicate_claim",
                    *location,
                    format!("the claim `{name}` is declared twice for the same document"),
                    "leave one of them out",
                );
            }
            let conditions = declaration.scopes.iter();
            let conditions = conditions.filter_map(|scope| self.known_scope(scope, scopes)).collect();
            match Expression::parse(&declaration.value.value) {
                Ok(value) => claims.push(Claim {
                    name: name.clone(),
                    place: declaration.place,
                    scopes: conditions,
                    value,
                }),
                Err(error) => {
                    let hint = match &error {
                        InvalidExpression::UnknownVariable {
                            nearest: Some(near), ..
                        } => format!("did you mean `{near}`?"),
                        InvalidExpression::Syntax { column, .. } => format!(
                            "see column {column} of `{}`; an expression looks like `user.profile.tier`",
                            declaration.value.value
                        ),
                        _ => "an expression looks like `user.profile.tier`".to_owned(),
                    };
                    let code = match &error {
                        InvalidExpression::UnknownVariable { .. } => "unknown_variable",
                        _ => "invalid_expression",
                    };
                    self.error(
                        code,
                        declaration.value.location,
                        format!("the claim `{name}`: {error}"),
                        hint,
                    );
                }
            }
        }
        claims
    }

    // === Policies ===

    fn policies(
        &mut self,
        declared: &[PolicyDeclaration],
        scopes: &BTreeMap<Scope, ScopeInfo>,
    ) -> (Vec<Policy>, Vec<Vec<Location>>) {
        let mut policies: Vec<Policy> = Vec::new();
        let mut places = Vec::new();
        for declaration in declared {
            let name = &declaration.name;
            if policies.iter().any(|policy| *policy.name == *name.value) {
                self.error(
                    "duplicate_policy",
                    name.location,
                    format!("the policy `{}` is declared twice", name.value),
                    "give each its own name: denials and traces name it",
                );
            }
            let clients = self.selector(&declaration.clients);
            let mut rules: Vec<Rule> = Vec::new();
            let mut rule_places = Vec::new();
            for rule in &declaration.rules {
                if rules.iter().any(|earlier| *earlier.name == *rule.name.value) {
                    self.error(
                        "duplicate_rule",
                        rule.name.location,
                        format!("the rule `{}` is declared twice in one policy", rule.name.value),
                        "give each its own name: denials and traces name it",
                    );
                }
                rules.push(self.rule(rule, scopes));
                rule_places.push(rule.name.location);
            }
            policies.push(Policy {
                name: Arc::from(name.value.as_str()),
                clients,
                rules,
            });
            places.push(rule_places);
        }
        (policies, places)
    }

    fn selector(&mut self, declared: &PolicyClients) -> ClientSelector {
        match declared {
            PolicyClients::All(location) => {
                self.warn(
                    "all_clients",
                    *location,
                    "the policy is for all clients, also for those that are added later",
                    "name the clients: `all` is for where no other solution is possible",
                );
                ClientSelector::All
            }
            PolicyClients::Only(names) => {
                let mut clients = BTreeSet::new();
                for name in names {
                    match ClientId::parse(&name.value) {
                        Ok(id) if self.clients.contains(id.as_str()) => {
                            clients.insert(id);
                        }
                        _ => {
                            let known: Vec<&str> = self.clients.iter().copied().collect();
                            self.unknown("unknown_client", "client", name, known);
                        }
                    }
                }
                ClientSelector::Only(clients)
            }
        }
    }

    fn rule(&mut self, declared: &RuleDeclaration, scopes: &BTreeMap<Scope, ScopeInfo>) -> Rule {
        let mut grants = BTreeSet::new();
        for name in &declared.grants {
            grants.extend(self.grant(name));
        }
        if declared.grants.is_empty() {
            self.error(
                "no_grant",
                declared.name.location,
                format!("the rule `{}` matches no grant type", declared.name.value),
                "say which ones: `grants: […]`",
            );
        }
        for group in declared.groups.iter().chain(&declared.exclude_groups) {
            self.group(group);
        }
        for login in &declared.users {
            self.login(login);
        }
        let selected = match &declared.scopes {
            RuleScopes::Any(_) => ScopeSelector::Any,
            RuleScopes::Only(names) => {
                let known: ScopeSet = names.iter().filter_map(|name| self.known_scope(name, scopes)).collect();
                ScopeSelector::Only(known)
            }
        };
        self.lifetimes(declared, &grants);
        let texts = |list: &[Located<String>]| list.iter().map(|item| item.value.clone()).collect();
        Rule {
            name: Arc::from(declared.name.value.as_str()),
            grants,
            groups: texts(&declared.groups),
            users: texts(&declared.users),
            exclude_groups: texts(&declared.exclude_groups),
            scopes: selected,
            access_token: declared.access_token.value,
            refresh_token: declared.refresh_token.map(|refresh| RefreshLifetimes {
                lifetime: refresh.lifetime,
                idle: refresh.idle,
            }),
        }
    }

    fn lifetimes(&mut self, declared: &RuleDeclaration, grants: &BTreeSet<GrantType>) {
        let Located {
            value: lifetime,
            location,
        } = declared.access_token;
        if lifetime > ACCESS_TOKEN_LIFETIME_MAX {
            self.error(
                "access_token_too_long",
                location,
                format!(
                    "an access token that lives for {} s lives longer than a day",
                    lifetime.as_secs()
                ),
                "use at most `24h`; minutes are usual where money moves",
            );
        } else if lifetime.as_secs() == 0 {
            self.error(
                "access_token_too_short",
                location,
                "an access token has to live for a second at least",
                "use `1m` or the like",
            );
        }
        let Some(refresh) = declared.refresh_token else { return };
        let at = declared.name.location;
        if refresh.lifetime < lifetime {
            self.error(
                "refresh_token_too_short",
                at,
                format!(
                    "a refresh token that lives for {} s dies before the access token of {} s",
                    refresh.lifetime.as_secs(),
                    lifetime.as_secs()
                ),
                "let it live at least as long as the access token",
            );
        }
        if refresh
            .idle
            .is_some_and(|idle| idle > refresh.lifetime || idle.is_zero())
        {
            self.error(
                "refresh_token_idle",
                at,
                "a refresh token's idle time is longer than its life, or nothing",
                "use a time between a second and its `lifetime`",
            );
        }
        if !grants.is_empty() && grants.iter().all(|grant| !grant.has_user()) {
            self.warn(
                "refresh_token_without_user",
                at,
                "a client on its own gets no refresh token (RFC 6749 section 4.4.3)",
                "leave `refresh_token` out of this rule",
            );
        }
    }
}

fn kind_name(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Web => "web",
        ClientKind::Native => "native",
        ClientKind::Browser => "browser",
        ClientKind::Service => "service",
    }
}

fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 8 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The name with what the grammar forbids replaced.
fn respelt(name: &str) -> String {
    let good = |character: char| {
        if Scope::parse(character.encode_utf8(&mut [0; 4])).is_ok() {
            character
        } else {
            ':'
        }
    };
    let respelt: String = name.trim().chars().map(good).collect();
    if respelt.is_empty() {
        "orders:read".to_owned()
    } else {
        respelt
    }
}
