//! Clients, and how they become declarations.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::digest::Digest;
use crate::model::id::ClientId;
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::declared::{
    AuthenticationMethod, ClientDeclaration, ClientKind, ClientOptions, ClientSecretDeclaration, KeysDeclaration,
    RefreshRotation, TlsSubject,
};
use crate::oauth::document::server::{text, texts};
use crate::oauth::document::{InvalidDocument, Status, moment};

/// A client: Okta's OIDC app. Its identifier is the object's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientDocument {
    /// The name that people see (`label`, `client_name`).
    pub name: String,
    /// Whether it may do anything.
    #[serde(default)]
    pub status: Status,
    /// `web`, `native`, `browser` or `service`.
    pub kind: String,
    /// The grant types that it may use, by the names of the wire.
    pub grants: Vec<String>,
    /// Where authorization responses may go.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where a person may go after signing out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
    /// `token_endpoint_auth_method` (RFC 7591 section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<String>,
    /// Its secrets, newest last.
    #[serde(default)]
    pub secrets: Vec<SecretDocument>,
    /// Its public keys.
    #[serde(default)]
    pub keys: Vec<KeyDocument>,
    /// Where its public keys are, if not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The subject of its certificate: a field of RFC 8705 section 2.1.2, and its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_subject: Option<(String, String)>,
    /// Tokens are bound to a DPoP key always.
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// Tokens are bound to the certificate that the client shows.
    #[serde(default)]
    pub certificate_bound_access_tokens: bool,
    /// How its refresh tokens change.
    #[serde(default)]
    pub refresh: RotationDocument,
    /// The audiences that it is a resource server of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Whether a person is asked for consent (`consent_method: REQUIRED`).
    #[serde(default)]
    pub asks_consent: bool,
    /// The users that may use it, by identifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<AssignmentDocument>,
    /// The groups whose members may use it, by identifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<AssignmentDocument>,
    /// How it came to be, if it registered itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationDocument>,
    /// What is kept only for who reads it: `logo_uri`, `contacts`, …
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// A secret of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretDocument {
    /// Its identifier.
    pub id: String,
    /// Its SHA-256, in base64url.
    pub sha256: String,
    /// The secret itself, sealed, in base64url: only where it must be readable (`client_secret_jwt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// A public key of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDocument {
    /// Its identifier.
    pub id: String,
    /// The key (RFC 7517): public parts alone.
    pub jwk: Map<String, Value>,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// How refresh tokens change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationDocument {
    /// Each use gives a new one.
    pub rotates: bool,
    /// For how long the last one is still answered, in seconds.
    pub grace_seconds: u64,
}

impl Default for RotationDocument {
    fn default() -> Self {
        let usual = RefreshRotation::default();
        Self {
            rotates: usual.rotates,
            grace_seconds: usual.grace.as_secs(),
        }
    }
}

/// Somebody who may use a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignmentDocument {
    /// Who: the identifier of a user or group.
    pub id: String,
    /// Since when.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
}

/// How a client registered itself (RFC 7591).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationDocument {
    /// The SHA-256 of its registration access token, in base64url (RFC 7592 section 3).
    pub token_sha256: String,
    /// Who let it: the digest of an initial access token, an administrator, or nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// At which authorization server, if at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The digest of what it registered: who registers the same again gets the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// When it is forgotten if nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl ClientDocument {
    /// As the compiler reads it. `open` gives the text of a sealed secret.
    ///
    /// # Errors
    /// [`InvalidDocument`] for what has no declaration.
    pub fn declaration(
        &self,
        id: &ClientId,
        open: &dyn Fn(&SecretDocument) -> Option<Secret<String>>,
    ) -> Result<ClientDeclaration, InvalidDocument> {
        let kind = kind(&self.kind).ok_or_else(|| {
            invalid(format!(
                "`{}` is no type of application: use web, native, browser or service",
                self.kind
            ))
        })?;
        let active = || self.secrets.iter().filter(|secret| secret.status.is_active());
        let mut shared_secrets = Vec::new();
        for secret in active().filter(|secret| secret.sealed.is_some()) {
            let opened = open(secret).ok_or_else(|| invalid(format!("the secret `{}` does not open", secret.id)))?;
            shared_secrets.push(Located::nowhere(opened));
        }
        let assigned =
            |list: &[AssignmentDocument]| list.iter().map(|assignment| text(&assignment.id)).collect::<Vec<_>>();
        Ok(ClientDeclaration {
            id: Located::nowhere(id.clone()),
            kind,
            kind_location: Location::default(),
            grants: texts(&self.grants),
            redirect_uris: texts(&self.redirect_uris),
            secrets: active().map(SecretDocument::declaration).collect::<Result<_, _>>()?,
            assigned_groups: assigned(&self.groups),
            assigned_users: assigned(&self.users),
            options: ClientOptions {
                name: Some(self.name.clone()),
                inactive: !self.status.is_active(),
                authentication: self.authentication.as_deref().map(method).transpose()?,
                keys: self.key_set()?,
                // Who registers a client is not always who may open our network.
                allow_private_addresses: false,
                shared_secrets,
                tls_subject: self.tls_subject.as_ref().map(tls_subject).transpose()?,
                dpop_bound_access_tokens: self.dpop_bound_access_tokens,
                certificate_bound_access_tokens: self.certificate_bound_access_tokens,
                refresh: RefreshRotation {
                    rotates: self.refresh.rotates,
                    grace: Duration::from_secs(self.refresh.grace_seconds),
                },
                audiences: texts(&self.audiences),
                asks_consent: self.asks_consent,
            },
        })
    }

    fn key_set(&self) -> Result<Option<KeysDeclaration>, InvalidDocument> {
        let active: Vec<&Map<String, Value>> = self
            .keys
            .iter()
            .filter(|key| key.status.is_active())
            .map(|key| &key.jwk)
            .collect();
        match &self.jwks_uri {
            Some(_) if !active.is_empty() => Err(invalid("a client has either keys or a `jwks_uri`")),
            Some(uri) => {
                let url = uri
                    .parse()
                    .map_err(|_| invalid(format!("`{uri}` is no URL of a key set")))?;
                Ok(Some(KeysDeclaration::JwksUri(Located::nowhere(url))))
            }
            None if active.is_empty() => Ok(None),
            None => Ok(Some(KeysDeclaration::Jwks(Located::nowhere(json!({ "keys": active }))))),
        }
    }
}

impl SecretDocument {
    fn declaration(&self) -> Result<ClientSecretDeclaration, InvalidDocument> {
        let sha256 = Digest::from_base64url(&self.sha256)
            .ok_or_else(|| invalid(format!("the secret `{}` has no readable digest", self.id)))?;
        Ok(ClientSecretDeclaration {
            location: Location::default(),
            sha256,
        })
    }
}

fn invalid(text: impl Into<String>) -> InvalidDocument {
    InvalidDocument(text.into())
}

fn kind(text: &str) -> Option<ClientKind> {
    Some(match text {
        "web" => ClientKind::Web,
        "native" => ClientKind::Native,
        "browser" => ClientKind::Browser,
        "service" => ClientKind::Service,
        _ => return None,
    })
}

fn method(name: &str) -> Result<Located<AuthenticationMethod>, InvalidDocument> {
    let method = match name {
        "none" => AuthenticationMethod::None,
        "client_secret_basic" => AuthenticationMethod::ClientSecretBasic,
        "client_secret_post" => AuthenticationMethod::ClientSecretPost,
        "client_secret_jwt" => AuthenticationMethod::ClientSecretJwt,
        "private_key_jwt" => AuthenticationMethod::PrivateKeyJwt,
        "tls_client_auth" => AuthenticationMethod::TlsClientAuth,
        "self_signed_tls_client_auth" => AuthenticationMethod::SelfSignedTlsClientAuth,
        _ => return Err(invalid(format!("`{name}` is no way for a client to authenticate"))),
    };
    Ok(Located::nowhere(method))
}

fn tls_subject((field, value): &(String, String)) -> Result<TlsSubject, InvalidDocument> {
    let value = value.clone();
    Ok(match field.as_str() {
        "tls_client_auth_subject_dn" => TlsSubject::Dn(value),
        "tls_client_auth_san_dns" => TlsSubject::SanDns(value),
        "tls_client_auth_san_uri" => TlsSubject::SanUri(value),
        "tls_client_auth_san_ip" => TlsSubject::SanIp(value),
        "tls_client_auth_san_email" => TlsSubject::SanEmail(value),
        _ => return Err(invalid(format!("`{field}` is no field of a certificate's subject"))),
    })
}
