//! What few clients and servers say, checked.

use std::collections::BTreeSet;

use crate::model::id::Issuer;
use crate::model::location::Located;
use crate::oauth::access::compiling::Compiler;
use crate::oauth::access::{REFRESH_GRACE_MAX, TrustedIssuer};
use crate::oauth::declared::{AuthenticationMethod, AuthorizationServerDeclaration, ClientDeclaration, ClientKind};
use crate::oauth::resource;

/// The longest chain of actors that may be asked for: each one makes the token longer.
const ACTORS_MAX: u32 = 16;

impl Compiler<'_> {
    pub(super) fn client_options(&mut self, declared: &ClientDeclaration) {
        let (name, options) = (&declared.id.value, &declared.options);
        if options.dpop_bound_access_tokens && options.certificate_bound_access_tokens {
            self.error(
                "two_bindings",
                declared.id.location,
                format!("the tokens of the client `{name}` are bound to a DPoP key and to a certificate"),
                "choose one: `dpop_bound_access_tokens` or `tls_client_certificate_bound_access_tokens`",
            );
        }
        if options.refresh.grace > REFRESH_GRACE_MAX {
            self.error(
                "refresh_grace_too_long",
                declared.id.location,
                format!(
                    "a used refresh token of the client `{name}` would be answered for {} s more",
                    options.refresh.grace.as_secs()
                ),
                "say at most `60s`: whoever has stolen one is served meanwhile",
            );
        }
        if !options.audiences.is_empty() && is_public(declared) {
            self.error(
                "audiences_of_public_client",
                options.audiences[0].location,
                format!("the client `{name}` proves nothing, and may introspect the tokens of others"),
                "only a client that authenticates can be a resource server: use `type: service`",
            );
        }
        let is_checked = self.audiences.is_some();
        let known = self.audiences.clone().unwrap_or_default();
        for audience in options.audiences.iter().filter(|_| is_checked) {
            if audience.value != "*" && !known.contains(audience.value.as_str()) {
                let known: Vec<&str> = known.iter().copied().collect();
                self.unknown("unknown_audience", "audience or resource", audience, known);
            }
        }
    }

    /// Checks what a server says besides, and reads whom it trusts.
    pub(super) fn server_options(&mut self, declared: &AuthorizationServerDeclaration) -> Vec<TrustedIssuer> {
        let options = &declared.options;
        let mut resources = BTreeSet::from([declared.audience.value.as_str()]);
        for resource in &options.resources {
            if !resource::is_well_formed(&resource.value) {
                self.error(
                    "invalid_resource",
                    resource.location,
                    format!(
                        "`{}` is no resource: it is no absolute URI, or has a fragment",
                        resource.value
                    ),
                    "use the URL of the API, without `#…` (RFC 8707 section 2)",
                );
            } else if !resources.insert(&resource.value) {
                self.error(
                    "duplicate_resource",
                    resource.location,
                    format!("the resource `{}` stands twice, or is the audience", resource.value),
                    "leave it out",
                );
            }
        }
        let is_checked = self.servers.is_some();
        let known = self.servers.clone().unwrap_or_default();
        for server in options.associated_servers.iter().filter(|_| is_checked) {
            if !known.contains(server.value.as_str()) {
                let name = Located::new(server.value.to_string(), server.location);
                let known: Vec<&str> = known.iter().copied().collect();
                self.unknown(
                    "unknown_authorization_server",
                    "local authorization server",
                    &name,
                    known,
                );
            }
        }
        if options.actors_max.is_some_and(|actors| actors > ACTORS_MAX) {
            self.error(
                "too_many_actors",
                declared.id.location,
                format!("a chain of more than {ACTORS_MAX} actors makes tokens that no header holds"),
                format!("say at most {ACTORS_MAX}; 4 is the default"),
            );
        }
        self.trusted_issuers(declared)
    }

    fn trusted_issuers(&mut self, declared: &AuthorizationServerDeclaration) -> Vec<TrustedIssuer> {
        let mut trusted: Vec<TrustedIssuer> = Vec::new();
        for declaration in &declared.options.trusted_issuers {
            let issuer = &declaration.issuer;
            if Issuer::parse(&issuer.value).is_err() {
                let message = format!("`{}` is no issuer", issuer.value);
                self.error(
                    "invalid_issuer",
                    issuer.location,
                    message,
                    "write the `iss` of its assertions exactly",
                );
            }
            if trusted.iter().any(|known| known.issuer == issuer.value) {
                self.error(
                    "duplicate_issuer",
                    issuer.location,
                    format!("the issuer `{}` stands twice", issuer.value),
                    "leave one of them out",
                );
            }
            let whose = format!("of the issuer `{}`", issuer.value);
            if let Some(keys) = self.peer_keys(&whose, &declaration.keys, declaration.allow_private_addresses) {
                trusted.push(TrustedIssuer {
                    issuer: issuer.value.clone(),
                    keys,
                    subject_claim: declaration.subject_claim.clone().unwrap_or_else(|| "sub".to_owned()),
                });
            }
        }
        trusted
    }
}

fn is_public(declared: &ClientDeclaration) -> bool {
    let method = declared.options.authentication.as_ref();
    matches!(declared.kind, ClientKind::Native | ClientKind::Browser)
        || method.is_some_and(|method| method.value == AuthenticationMethod::None)
}
