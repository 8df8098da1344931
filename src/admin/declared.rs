//! What the file declares, as the administration shows it: the same documents, that nobody can change here.
//!
//! The parts of a server have no identifier in the file. Here each gets one that is made of its names: it stays the
//! same through every reload that leaves the names alone.

use std::sync::Arc;
use std::time::Duration;

use crate::issuer::directory::{Managed, ManagedClient, ManagedServer};
use crate::model::digest::Digest;
use crate::model::location::Located;
use crate::model::time::Timestamp;
use crate::oauth::declared::{
    AuthenticationMethod, AuthorizationServerDeclaration, ClaimDeclaration, ClaimPlace, ClientDeclaration, ClientKind,
    Consent, IssuerDeclaration, KeysDeclaration, PolicyClients, PolicyDeclaration, RuleDeclaration, RuleScopes,
    ScopeDeclaration, TokenProfile,
};
use crate::oauth::document::{
    AssignmentDocument, ClaimDocument, ClaimType, ClientDocument, ConsentDocument, EVERYONE, IdPrefix, KeyDocument,
    PolicyDocument, RefreshDocument, RotationDocument, RuleDocument, ScopeDocument, SecretDocument, ServerDocument,
    SigningDocument, Status, ValueType,
};
use crate::oauth::grant::GrantType;

/// When something of the file was made: that is not known.
pub const NEVER: Timestamp = Timestamp::from_unix_seconds(0);

/// An object of a list, and where it comes from.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The object.
    pub object: Arc<T>,
    /// Whether the file declares it: then it is read-only here.
    pub in_file: bool,
}

/// The authorization servers of the file.
#[must_use]
pub fn servers_of_file(declared: &IssuerDeclaration) -> Vec<Listed<ManagedServer>> {
    let listed = |server: &AuthorizationServerDeclaration| Listed {
        object: Arc::new(Managed::of_file(server.id.value.as_str(), self::server(server))),
        in_file: true,
    };
    declared.servers.iter().map(listed).collect()
}

/// The clients of the file.
#[must_use]
pub fn clients_of_file(declared: &IssuerDeclaration) -> Vec<Listed<ManagedClient>> {
    let listed = |client: &ClientDeclaration| Listed {
        object: Arc::new(Managed::of_file(client.id.value.as_str(), self::client(client))),
        in_file: true,
    };
    declared.clients.iter().map(listed).collect()
}

fn server(server: &AuthorizationServerDeclaration) -> ServerDocument {
    let id = server.id.value.as_str();
    let mut audiences = vec![server.audience.value.clone()];
    audiences.extend(texts(&server.options.resources));
    ServerDocument {
        name: server.options.name.clone().unwrap_or_else(|| id.to_owned()),
        description: server.options.description.clone().unwrap_or_default(),
        audiences,
        status: status(server.options.inactive),
        signing: SigningDocument {
            algorithm: server.signing.algorithm.value.clone(),
            rotate_every_seconds: server.signing.rotate_every.map(|every| every.as_secs()),
        },
        okta_profile: server.token_profile == TokenProfile::Okta,
        scopes: server.scopes.iter().map(|part| scope(id, part)).collect(),
        claims: server.claims.iter().map(|part| claim(id, part)).collect(),
        policies: server.policies.iter().map(|part| policy(id, part)).collect(),
        associated_servers: server
            .options
            .associated_servers
            .iter()
            .map(|id| id.value.to_string())
            .collect(),
        // Their keys are the file's matter, and change nothing here.
        trusted_issuers: Vec::new(),
        actors_max: server.options.actors_max,
    }
}

fn scope(server: &str, scope: &ScopeDeclaration) -> ScopeDocument {
    ScopeDocument {
        id: part_id(IdPrefix::Scope, &[server, &scope.name.value]),
        name: scope.name.value.clone(),
        display_name: None,
        description: scope.description.clone(),
        consent: match scope.consent {
            Consent::Implicit => ConsentDocument::Implicit,
            Consent::Required => ConsentDocument::Required,
            Consent::Flexible => ConsentDocument::Flexible,
        },
        optional: false,
        default: scope.default,
        metadata: scope.metadata,
        created_at: NEVER,
        updated_at: NEVER,
    }
}

fn claim(server: &str, claim: &ClaimDeclaration) -> ClaimDocument {
    let (claim_type, place) = match claim.place {
        ClaimPlace::AccessToken => (ClaimType::Resource, "access"),
        ClaimPlace::IdToken => (ClaimType::Identity, "id"),
        ClaimPlace::Userinfo => (ClaimType::Identity, "userinfo"),
    };
    ClaimDocument {
        id: part_id(IdPrefix::Claim, &[server, place, &claim.name.value]),
        name: claim.name.value.clone(),
        status: Status::Active,
        claim_type,
        value_type: ValueType::Expression,
        value: claim.value.value.clone(),
        group_filter: None,
        scopes: texts(&claim.scopes),
        always_include: claim.place != ClaimPlace::Userinfo,
        created_at: NEVER,
        updated_at: NEVER,
    }
}

fn policy(server: &str, policy: &PolicyDeclaration) -> PolicyDocument {
    let name = policy.name.value.as_str();
    PolicyDocument {
        id: part_id(IdPrefix::Policy, &[server, name]),
        name: name.to_owned(),
        description: String::new(),
        status: Status::Active,
        clients: match &policy.clients {
            PolicyClients::All(_) => None,
            PolicyClients::Only(ids) => Some(texts(ids)),
        },
        rules: policy.rules.iter().map(|part| rule(server, name, part)).collect(),
        created_at: NEVER,
        updated_at: NEVER,
    }
}

fn rule(server: &str, policy: &str, rule: &RuleDeclaration) -> RuleDocument {
    let has_user = |grant: &Located<String>| GrantType::parse(&grant.value).is_some_and(GrantType::has_user);
    let anybody = rule.groups.is_empty() && rule.users.is_empty() && rule.grants.iter().any(has_user);
    RuleDocument {
        id: part_id(IdPrefix::Rule, &[server, policy, &rule.name.value]),
        name: rule.name.value.clone(),
        status: Status::Active,
        grants: texts(&rule.grants),
        groups: if anybody {
            vec![EVERYONE.to_owned()]
        } else {
            texts(&rule.groups)
        },
        exclude_groups: texts(&rule.exclude_groups),
        users: texts(&rule.users),
        scopes: match &rule.scopes {
            RuleScopes::Any(_) => None,
            RuleScopes::Only(names) => Some(texts(names)),
        },
        access_token_seconds: rule.access_token.value.as_secs(),
        refresh_token: rule.refresh_token.map(|refresh| RefreshDocument {
            lifetime_seconds: refresh.lifetime.as_secs(),
            idle_seconds: refresh.idle.as_ref().map(Duration::as_secs),
        }),
        created_at: NEVER,
        updated_at: NEVER,
    }
}

fn client(client: &ClientDeclaration) -> ClientDocument {
    let id = client.id.value.as_str();
    let options = &client.options;
    let assigned = |list: &[Located<String>]| {
        let assignment = |id: &Located<String>| AssignmentDocument {
            id: id.value.clone(),
            created_at: NEVER,
        };
        list.iter().map(assignment).collect::<Vec<_>>()
    };
    let secret = |secret: &crate::oauth::declared::ClientSecretDeclaration| {
        let sha256 = secret.sha256.to_base64url();
        SecretDocument {
            id: part_id(IdPrefix::Secret, &[id, &sha256]),
            sha256,
            sealed: None,
            status: Status::Active,
            created_at: NEVER,
            updated_at: NEVER,
        }
    };
    let (keys, jwks_uri) = match &options.keys {
        Some(KeysDeclaration::Jwks(jwks)) => (self::keys(id, &jwks.value), None),
        Some(KeysDeclaration::JwksUri(uri)) => (Vec::new(), Some(uri.value.to_string())),
        None => (Vec::new(), None),
    };
    ClientDocument {
        name: options.name.clone().unwrap_or_else(|| id.to_owned()),
        status: status(options.inactive),
        kind: match client.kind {
            ClientKind::Web => "web",
            ClientKind::Native => "native",
            ClientKind::Browser => "browser",
            ClientKind::Service => "service",
        }
        .to_owned(),
        grants: texts(&client.grants),
        redirect_uris: texts(&client.redirect_uris),
        post_logout_redirect_uris: Vec::new(),
        authentication: options
            .authentication
            .as_ref()
            .map(|method| method_name(method.value).to_owned()),
        secrets: client.secrets.iter().map(secret).collect(),
        keys,
        jwks_uri,
        tls_subject: None,
        dpop_bound_access_tokens: options.dpop_bound_access_tokens,
        certificate_bound_access_tokens: options.certificate_bound_access_tokens,
        refresh: RotationDocument {
            rotates: options.refresh.rotates,
            grace_seconds: options.refresh.grace.as_secs(),
        },
        audiences: texts(&options.audiences),
        asks_consent: options.asks_consent,
        users: assigned(&client.assigned_users),
        groups: assigned(&client.assigned_groups),
        registration: None,
        extra: serde_json::Map::new(),
    }
}

fn keys(client: &str, jwks: &serde_json::Value) -> Vec<KeyDocument> {
    let keys = jwks.get("keys").and_then(serde_json::Value::as_array);
    let keys = keys.into_iter().flatten().filter_map(serde_json::Value::as_object);
    keys.enumerate()
        .map(|(index, jwk)| KeyDocument {
            id: part_id(IdPrefix::Key, &[client, &index.to_string()]),
            jwk: jwk.clone(),
            status: Status::Active,
            created_at: NEVER,
            updated_at: NEVER,
        })
        .collect()
}

fn method_name(method: AuthenticationMethod) -> &'static str {
    match method {
        AuthenticationMethod::None => "none",
        AuthenticationMethod::ClientSecretBasic => "client_secret_basic",
        AuthenticationMethod::ClientSecretPost => "client_secret_post",
        AuthenticationMethod::ClientSecretJwt => "client_secret_jwt",
        AuthenticationMethod::PrivateKeyJwt => "private_key_jwt",
        AuthenticationMethod::TlsClientAuth => "tls_client_auth",
        AuthenticationMethod::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
    }
}

fn status(inactive: bool) -> Status {
    if inactive { Status::Inactive } else { Status::Active }
}

fn texts(list: &[Located<String>]) -> Vec<String> {
    list.iter().map(|item| item.value.clone()).collect()
}

/// An identifier made of names.
fn part_id(prefix: IdPrefix, names: &[&str]) -> String {
    // A length before each name: two lists of names never read alike.
    let counted: Vec<String> = names.iter().map(|name| format!("{}:{name}", name.len())).collect();
    let text = counted.concat();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
    prefix.identifier(u128::from_be_bytes(bytes))
}
