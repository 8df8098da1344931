//! `apis`: the gate's declaration.
//!
//! What hosts, templates, scopes and expressions mean is checked by `policy::compile`; here they only
//! change their form, and what the file leaves out gets its default.

use super::context::Context;
use super::file::api::{ApiFile, CertificateSource};
use crate::model::id::{ApiName, AuthorizationServerId};
use crate::model::location::Located;
use crate::policy::declared::{ApiDeclaration, ClientsDeclaration, DpopOptions, ForwardDeclaration};

impl Context<'_> {
    /// One API.
    pub(crate) fn api(&mut self, file: ApiFile) -> Option<ApiDeclaration> {
        let name = self.identifier(&file.name, ApiName::parse);
        let servers = self.servers_of(&file);
        let dpop = file.dpop.map_or_else(DpopOptions::default, |dpop| {
            let default = DpopOptions::default();
            DpopOptions {
                origin: dpop.origin.map(|origin| origin.url.origin().ascii_serialization()),
                require_nonce: dpop.nonce.map_or(default.require_nonce, |switch| switch.0),
                consume: dpop.replay.map_or(default.consume, |verify_only| !verify_only.0),
                max_age: dpop.max_age.map_or(default.max_age, |period| period.0),
            }
        });
        Some(ApiDeclaration {
            name: name?,
            hosts: file.hosts.0,
            servers,
            clients: file.clients.map_or(ClientsDeclaration::Unstated, |clients| clients.0),
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
        named
            .into_iter()
            .filter_map(|name| self.identifier(name, AuthorizationServerId::parse))
            .collect()
    }
}
