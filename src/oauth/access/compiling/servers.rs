//! Authorization servers, their scopes and claims.

use std::collections::BTreeMap;

use url::Url;

use crate::jose::alg::Algorithm;
use crate::model::finding::nearest;
use crate::model::location::{Located, Location};
use crate::model::scope::Scope;
use crate::oauth::access::compiling::{Compiler, SIGNING, quoted};
use crate::oauth::access::{KEYS_MAX, OIDC_SCOPES, ScopeInfo, Server, lint};
use crate::oauth::claims::{Claim, Expression, InvalidExpression, RESERVED};
use crate::oauth::declared::{AuthorizationServerDeclaration, ClaimDeclaration, Consent, ScopeDeclaration};
use crate::oauth::keyring::LEEWAY_MAX;

impl Compiler<'_> {
    pub(super) fn server(&mut self, declared: &AuthorizationServerDeclaration) -> Option<Server> {
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
        let trusted_issuers = self.server_options(declared);
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
            trusted_issuers,
            options: declared.options.clone(),
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

    /// A key stays published until its last token is dead, for whoever verifies it with the most leeway: their
    /// number is that time by interval.
    fn rotation(&mut self, server: &Server, at: Location) {
        let Some(every) = server.rotate_every else { return };
        let lifetime = server.access_token_lifetime_max().as_secs();
        let published = (lifetime + LEEWAY_MAX.as_secs()) / every.as_secs().max(1);
        if every.is_zero() || published > KEYS_MAX {
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
            if declaration.default && declaration.consent == Consent::Required {
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

    pub(super) fn known_scope(&mut self, name: &Located<String>, scopes: &BTreeMap<Scope, ScopeInfo>) -> Option<Scope> {
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
