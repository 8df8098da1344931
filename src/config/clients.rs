//! What few clients and local authorization servers say: how a client proves itself, whose assertions count, and the like.
//!
//! What it means is checked by `oauth::access::compile`; here it only changes its form. What has no place there, such as
//! two keys of the file of which one must be chosen, is checked here.

use super::context::Context;
use super::file::access::{ClientFile, KeySetJson, LocalServerFile, Rotation};
use super::scalar::UrlText;
use crate::model::id::AuthorizationServerId;
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::oauth::declared::{
    ClientOptions, KeysDeclaration, RefreshRotation, ServerOptions, TlsSubject, TrustedIssuerDeclaration,
};

impl Context<'_> {
    /// What a client says besides.
    pub(crate) fn client_options(&mut self, file: &ClientFile) -> ClientOptions {
        ClientOptions {
            name: file.name.clone(),
            inactive: file.active == Some(false),
            authentication: file.authentication.clone(),
            keys: self.peer_keys(file.jwks.as_ref(), file.jwks_uri.as_ref()),
            allow_private_addresses: file.allow_private_addresses.unwrap_or(false),
            shared_secrets: self.shared_secrets(file),
            tls_subject: self.tls_subject(file),
            dpop_bound_access_tokens: file.dpop_bound_access_tokens.unwrap_or(false),
            certificate_bound_access_tokens: file.tls_client_certificate_bound_access_tokens.unwrap_or(false),
            refresh: self.refresh_rotation(file),
            audiences: file.audiences.clone().unwrap_or_default(),
            asks_consent: file.asks_consent.unwrap_or(false),
        }
    }

    /// What a local authorization server says besides.
    pub(crate) fn server_options(&mut self, file: &LocalServerFile) -> ServerOptions {
        let mut trusted_issuers = Vec::new();
        for trusted in file.trusted_issuers.iter().flatten() {
            let Some(keys) = self.peer_keys(trusted.jwks.as_ref(), trusted.jwks_uri.as_ref()) else {
                if trusted.jwks.is_none() && trusted.jwks_uri.is_none() {
                    let message = format!(
                        "the issuer `{}` has no keys: no assertion of it could be verified",
                        trusted.issuer.value
                    );
                    let hint = "add `jwks_uri: https://…`, or `jwks: { keys: […] }`";
                    self.error("missing_keys", trusted.at, message, hint);
                }
                continue;
            };
            trusted_issuers.push(TrustedIssuerDeclaration {
                issuer: trusted.issuer.clone(),
                keys,
                subject_claim: trusted.subject_claim.clone(),
                allow_private_addresses: trusted.allow_private_addresses.unwrap_or(false),
            });
        }
        let mut associated_servers = Vec::new();
        for server in file.associated_servers.iter().flatten() {
            associated_servers.extend(self.identifier(server, AuthorizationServerId::parse));
        }
        ServerOptions {
            name: file.name.clone(),
            description: file.description.clone(),
            inactive: file.active == Some(false),
            resources: file.resources.clone().unwrap_or_default(),
            trusted_issuers,
            associated_servers,
            actors_max: file.actors_max.as_ref().map(|actors| actors.value.0),
            dpop_nonce_required: file.dpop_nonce_required.unwrap_or(false),
        }
    }

    fn peer_keys(
        &mut self,
        jwks: Option<&Located<KeySetJson>>,
        jwks_uri: Option<&Located<UrlText>>,
    ) -> Option<KeysDeclaration> {
        if let (Some(jwks), Some(_)) = (jwks, jwks_uri) {
            let message = "the keys stand here and at a URL: which ones count is anybody's guess";
            self.error(
                "two_key_sources",
                jwks.location,
                message,
                "leave out `jwks` or `jwks_uri`",
            );
        }
        if let Some(jwks) = jwks {
            return Some(KeysDeclaration::Jwks(Located::new(jwks.value.0.clone(), jwks.location)));
        }
        let uri = jwks_uri?;
        self.fetchable("jwks_uri", &uri.value.url, uri.location);
        Some(KeysDeclaration::JwksUri(Located::new(
            uri.value.url.clone(),
            uri.location,
        )))
    }

    fn shared_secrets(&mut self, file: &ClientFile) -> Vec<Located<Secret<String>>> {
        let mut secrets = Vec::new();
        for path in file.shared_secret_files.iter().flatten() {
            let Some(bytes) = self.secret(path) else {
                // Readable elsewhere, perhaps: as a secret that nobody has it lets the rest be checked.
                secrets.push(Located::new(Secret::new("unreadable".repeat(8)), path.location));
                continue;
            };
            if let Ok(text) = str::from_utf8(&bytes) {
                secrets.push(Located::new(Secret::new(text.to_owned()), path.location));
            } else {
                let message = "the client secret is no UTF-8 text";
                self.error("invalid_secret", path.location, message, "write it as text");
            }
        }
        secrets
    }

    fn tls_subject(&mut self, file: &ClientFile) -> Option<TlsSubject> {
        type Of = fn(String) -> TlsSubject;
        let stated: [(&Option<Located<String>>, Of); 5] = [
            (&file.tls_client_auth_subject_dn, TlsSubject::Dn),
            (&file.tls_client_auth_san_dns, TlsSubject::SanDns),
            (&file.tls_client_auth_san_uri, TlsSubject::SanUri),
            (&file.tls_client_auth_san_ip, TlsSubject::SanIp),
            (&file.tls_client_auth_san_email, TlsSubject::SanEmail),
        ];
        let mut found: Option<(TlsSubject, Location)> = None;
        for (text, of) in stated {
            let Some(text) = text else { continue };
            if let Some((_, first)) = &found {
                let message = format!(
                    "the client's certificate has two subjects: the other one stands in line {}",
                    first.line
                );
                let hint = "say one of them (RFC 8705 section 2.1.2)";
                self.error("two_tls_subjects", text.location, message, hint);
            } else {
                found = Some((of(text.value.clone()), text.location));
            }
        }
        found.map(|(subject, _)| subject)
    }

    fn refresh_rotation(&mut self, file: &ClientFile) -> RefreshRotation {
        let default = RefreshRotation::default();
        let Some(stated) = &file.refresh else { return default };
        let rotates = stated.rotation.is_none_or(|rotation| rotation == Rotation::Rotate);
        let Some(grace) = &stated.grace else {
            return RefreshRotation { rotates, ..default };
        };
        if grace.value.0 > crate::oauth::access::REFRESH_GRACE_MAX {
            let message = format!(
                "a used refresh token would be answered for {} s more",
                grace.value.0.as_secs()
            );
            let hint = "say at most `60s`: whoever has stolen one is served meanwhile";
            self.error("refresh_grace_too_long", grace.location, message, hint);
            return RefreshRotation { rotates, ..default };
        }
        RefreshRotation {
            rotates,
            grace: grace.value.0,
        }
    }
}

#[cfg(test)]
mod tests;
