//! `apis`: the gate's declaration.
//!
//! What hosts, templates, scopes and expressions mean is checked by `policy::compile`; here they only
//! change their form, and what the file leaves out gets its default.

use super::context::Context;
use super::file::api::{ApiFile, CertificateSource};
use crate::model::id::{ApiName, AuthorizationServerId};
use crate::model::location::Located;
use crate::policy::declared::{
    ApiDeclaration, ClientsDeclaration, DpopOptions, ForwardDeclaration, RequirementDeclaration,
};

impl Context<'_> {
    /// One API. `external` says whether a name is that of an external authorization server.
    pub(crate) fn api(&mut self, file: ApiFile, external: impl Fn(&str) -> bool) -> Option<ApiDeclaration> {
        let name = self.identifier(&file.name, ApiName::parse);
        let servers = self.servers_of(&file);
        let clients = self.clients_of(&file, &servers, external);
        let dpop = file.dpop.map_or_else(DpopOptions::default, |dpop| {
            let default = DpopOptions::default();
            DpopOptions {
                origin: dpop.origin.map(|url| url.0.origin().ascii_serialization()),
                require_nonce: dpop.nonce.map_or(default.require_nonce, |switch| switch.0),
                consume: dpop.replay.map_or(default.consume, |verify_only| !verify_only.0),
                max_age: dpop.max_age.map_or(default.max_age, |period| period.0),
            }
        });
        Some(ApiDeclaration {
            name: name?,
            hosts: file.hosts.0,
            servers,
            clients,
            paths: file.paths.map(|paths| paths.0).unwrap_or_default(),
            cors_preflight: file.cors_preflight.unwrap_or_default(),
            bad_token: file.bad_token.unwrap_or_default(),
            hide: file.hide.unwrap_or(false),
            bind_sni: file.bind_sni.unwrap_or(false),
            trust_xfcc: file.client_certificate == Some(CertificateSource::Xfcc),
            realm: file.realm,
            resource_metadata: file.resource_metadata,
            dpop,
            forward: file
                .forward
                .map_or_else(ForwardDeclaration::default, |forward| ForwardDeclaration {
                    token: forward.token.unwrap_or_default(),
                    headers: forward.headers.map(|headers| headers.0).unwrap_or_default(),
                }),
            routes: file.routes.into_iter().map(|route| route.0).collect(),
        })
    }

    /// The authorization servers that an API names, by either key.
    fn servers_of(&mut self, file: &ApiFile) -> Vec<Located<AuthorizationServerId>> {
        let named: Vec<&Located<String>> = match (&file.authorization_server, &file.authorization_servers) {
            (Some(one), Some(_)) => {
                let message = "`authorization_server` stands beside `authorization_servers`";
                self.error("several_server_keys", one.location, message, "keep one of them");
                vec![one]
            }
            (Some(one), None) => vec![one],
            (None, Some(many)) => many.0.iter().collect(),
            (None, None) => Vec::new(),
        };
        if named.is_empty() && needs_token(file) {
            let message = format!(
                "the API `{}` names no authorization server, and its routes need tokens",
                file.name.value
            );
            let hint = "say `authorization_server: …`: who mints the tokens that may call it";
            self.error("missing_key", file.at, message, hint);
        }
        named
            .into_iter()
            .filter_map(|name| self.identifier(name, AuthorizationServerId::parse))
            .collect()
    }

    /// The clients that may call an API. Where tokens come from elsewhere this must be said, since
    /// whoever is a client there would be one here.
    fn clients_of(
        &mut self,
        file: &ApiFile,
        servers: &[Located<AuthorizationServerId>],
        external: impl Fn(&str) -> bool,
    ) -> ClientsDeclaration {
        if let Some(clients) = &file.clients {
            return clients.0.clone();
        }
        let server = servers.iter().find(|server| external(server.value.as_str()));
        if let Some(server) = server.filter(|_| needs_token(file)) {
            let message = format!(
                "the API `{}` does not say which clients of `{}` may call it",
                file.name.value, server.value
            );
            let hint = "for an external authorization server this must be said: `clients: […]`, or `clients: any`";
            self.error("missing_clients", file.name.location, message, hint);
        }
        ClientsDeclaration::Any
    }
}

/// Whether any route of the API looks at tokens.
fn needs_token(file: &ApiFile) -> bool {
    file.routes.iter().flat_map(|route| &route.0.verbs).any(|verb| {
        !matches!(
            verb.requirement,
            RequirementDeclaration::Public | RequirementDeclaration::Deny
        )
    })
}
