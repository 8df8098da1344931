//! Authorization servers with all that is in them, and how they become declarations.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::id::AuthorizationServerId;
use crate::model::location::{Located, Location};
use crate::model::time::Timestamp;
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClaimDeclaration, ClaimPlace, Consent, KeysDeclaration, PolicyClients,
    PolicyDeclaration, RefreshDeclaration, RuleDeclaration, RuleScopes, ScopeDeclaration, ServerOptions,
    SigningDeclaration, TokenProfile, TrustedIssuerDeclaration,
};
use crate::oauth::document::{EVERYONE, InvalidDocument, Status, moment};
use crate::oauth::grant::GrantType;

/// A refresh token without an end of its own lives so long: a hundred years.
const UNLIMITED: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// An authorization server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerDocument {
    /// The name that people see, unique.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The `aud` of its access tokens; the others are resources that a token may be for (RFC 8707).
    pub audiences: Vec<String>,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// How it signs.
    pub signing: SigningDocument,
    /// Okta's profile of access tokens; that of RFC 9068 otherwise.
    #[serde(default)]
    pub okta_profile: bool,
    /// Its scopes.
    #[serde(default)]
    pub scopes: Vec<ScopeDocument>,
    /// Its claims.
    #[serde(default)]
    pub claims: Vec<ClaimDocument>,
    /// Its policies, in order.
    #[serde(default)]
    pub policies: Vec<PolicyDocument>,
    /// Authorization servers of ours whose tokens may be exchanged here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associated_servers: Vec<String>,
    /// Issuers whose assertions are a grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_issuers: Vec<TrustedIssuerDocument>,
    /// How many actors a chain of delegation may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actors_max: Option<u32>,
}

/// How an authorization server signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningDocument {
    /// `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    pub algorithm: String,
    /// How old a key gets; never by itself if not said (Okta's `MANUAL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every_seconds: Option<u64>,
}

/// An issuer whose assertions are a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuerDocument {
    /// The `iss` of its assertions.
    pub issuer: String,
    /// Its keys, here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Its keys, at this URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The claim that holds the login of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
}

/// A scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeDocument {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What a person is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a person is asked.
    #[serde(default)]
    pub consent: ConsentDocument,
    /// Whether a person may untick it.
    #[serde(default)]
    pub optional: bool,
    /// Granted when a request names no scope.
    #[serde(default)]
    pub default: bool,
    /// Named in the metadata documents.
    #[serde(default)]
    pub metadata: bool,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// Whether a person is asked for a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsentDocument {
    /// Never.
    #[default]
    Implicit,
    /// Always, unless a grant is remembered.
    Required,
    /// As required, but a client without a person gets it silently.
    Flexible,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimDocument {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// What carries it.
    pub claim_type: ClaimType,
    /// How its value is given.
    pub value_type: ValueType,
    /// The CEL expression, or what the group filter compares with.
    pub value: String,
    /// How groups are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_filter: Option<GroupFilter>,
    /// Present only if one of these scopes was granted; always if there are none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// In the ID token too, not at userinfo alone.
    #[serde(default)]
    pub always_include: bool,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// What carries a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClaimType {
    /// The access token.
    Resource,
    /// Userinfo, and the ID token where it is always included.
    Identity,
}

/// How the value of a claim is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ValueType {
    /// By a CEL expression.
    Expression,
    /// It is the user's groups that pass a filter.
    Groups,
}

/// How a group filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GroupFilter {
    /// The name begins so, in any case.
    StartsWith,
    /// The name is this, in any case.
    Equals,
    /// The name holds this, in any case.
    Contains,
    /// The name matches this regular expression.
    Regex,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// The clients that it is for; every client if not said (Okta's `ALL_CLIENTS`).
    pub clients: Option<Vec<String>>,
    /// Its rules, in order.
    #[serde(default)]
    pub rules: Vec<RuleDocument>,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    /// The grant types that it matches.
    pub grants: Vec<String>,
    /// The groups one of which the user must be in; [`EVERYONE`] is each user.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The groups none of which the user may be in.
    #[serde(default)]
    pub exclude_groups: Vec<String>,
    /// The users, by identifier or login, that it matches beside the groups.
    #[serde(default)]
    pub users: Vec<String>,
    /// The scopes that it allows; every scope if not said (Okta's `*`).
    pub scopes: Option<Vec<String>>,
    /// How long an access token lives.
    pub access_token_seconds: u64,
    /// How long a refresh token lives, if one is given at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<RefreshDocument>,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "moment")]
    pub updated_at: Timestamp,
}

/// How long a refresh token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshDocument {
    /// From the sign-in on; 0 is without end.
    pub lifetime_seconds: u64,
    /// Without being used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
}

// === impl ServerDocument ===

impl ServerDocument {
    /// As the compiler reads it. A client that a policy names and that `is_client` does not know is left
    /// out: a policy only ever allows, so that less is named is less allowed.
    ///
    /// # Errors
    /// [`InvalidDocument`] for what has no declaration.
    pub fn declaration(
        &self,
        id: &AuthorizationServerId,
        is_client: &dyn Fn(&str) -> bool,
    ) -> Result<AuthorizationServerDeclaration, InvalidDocument> {
        let Some((audience, resources)) = self.audiences.split_first() else {
            return Err(invalid("`audiences` is empty: name the audience of its access tokens"));
        };
        let active = self.policies.iter().filter(|policy| policy.status.is_active());
        let mut claims = Vec::new();
        for claim in self.claims.iter().filter(|claim| claim.status.is_active()) {
            claims.extend(claim.declarations()?);
        }
        Ok(AuthorizationServerDeclaration {
            id: Located::nowhere(id.clone()),
            audience: text(audience),
            signing: SigningDeclaration {
                algorithm: text(&self.signing.algorithm),
                rotate_every: self.signing.rotate_every_seconds.map(Duration::from_secs),
            },
            token_profile: if self.okta_profile {
                TokenProfile::Okta
            } else {
                TokenProfile::Rfc9068
            },
            scopes: self.scopes.iter().map(ScopeDocument::declaration).collect(),
            claims,
            policies: active
                .map(|policy| policy.declaration(is_client))
                .collect::<Result<_, _>>()?,
            options: ServerOptions {
                name: Some(self.name.clone()),
                description: Some(self.description.clone()).filter(|text| !text.is_empty()),
                inactive: !self.status.is_active(),
                resources: texts(resources),
                trusted_issuers: self
                    .trusted_issuers
                    .iter()
                    .map(TrustedIssuerDocument::declaration)
                    .collect::<Result<_, _>>()?,
                associated_servers: self
                    .associated_servers
                    .iter()
                    .map(|id| AuthorizationServerId::parse(id).map(Located::nowhere))
                    .collect::<Result<_, _>>()
                    .map_err(|error| invalid(format!("`associated_servers`: {error}")))?,
                actors_max: self.actors_max,
                dpop_nonce_required: false,
            },
        })
    }
}

impl TrustedIssuerDocument {
    fn declaration(&self) -> Result<TrustedIssuerDeclaration, InvalidDocument> {
        let keys = match (&self.jwks, &self.jwks_uri) {
            (Some(jwks), None) => KeysDeclaration::Jwks(Located::nowhere(jwks.clone())),
            (None, Some(uri)) => KeysDeclaration::JwksUri(Located::nowhere(
                uri.parse()
                    .map_err(|_| invalid(format!("`{uri}` is no URL of a key set")))?,
            )),
            _ => return Err(invalid("a trusted issuer has either `jwks` or `jwks_uri`")),
        };
        Ok(TrustedIssuerDeclaration {
            issuer: text(&self.issuer),
            keys,
            subject_claim: self.subject_claim.clone(),
            allow_private_addresses: false,
        })
    }
}

impl ScopeDocument {
    fn declaration(&self) -> ScopeDeclaration {
        ScopeDeclaration {
            name: text(&self.name),
            description: self.description.clone().or_else(|| self.display_name.clone()),
            consent: match self.consent {
                ConsentDocument::Implicit => Consent::Implicit,
                ConsentDocument::Required => Consent::Required,
                ConsentDocument::Flexible => Consent::Flexible,
            },
            default: self.default,
            metadata: self.metadata,
        }
    }
}

impl ClaimDocument {
    /// An identity claim is asked for at userinfo, and stands in the ID token too if it always does.
    fn declarations(&self) -> Result<Vec<ClaimDeclaration>, InvalidDocument> {
        let places: &[ClaimPlace] = match (self.claim_type, self.always_include) {
            (ClaimType::Resource, _) => &[ClaimPlace::AccessToken],
            (ClaimType::Identity, false) => &[ClaimPlace::Userinfo],
            (ClaimType::Identity, true) => &[ClaimPlace::IdToken, ClaimPlace::Userinfo],
        };
        let value = match self.value_type {
            ValueType::Expression => self.value.clone(),
            ValueType::Groups => self.group_expression()?,
        };
        let declaration = |place| ClaimDeclaration {
            name: text(&self.name),
            value: text(&value),
            place,
            scopes: texts(&self.scopes),
        };
        Ok(places.iter().copied().map(declaration).collect())
    }

    /// The filter as an expression over the names of the user's groups.
    fn group_expression(&self) -> Result<String, InvalidDocument> {
        let Some(filter) = self.group_filter else {
            return Err(invalid(format!("the claim `{}` has no `group_filter_type`", self.name)));
        };
        let escaped = escaped(&self.value);
        let pattern = match filter {
            GroupFilter::StartsWith => format!("(?i)^{escaped}"),
            GroupFilter::Equals => format!("(?i)^{escaped}$"),
            GroupFilter::Contains => format!("(?i){escaped}"),
            GroupFilter::Regex => self.value.clone(),
        };
        // A JSON text is a text of CEL too.
        Ok(format!("user.groups.filter(g, g.matches({}))", json!(pattern)))
    }
}

impl PolicyDocument {
    fn declaration(&self, is_client: &dyn Fn(&str) -> bool) -> Result<PolicyDeclaration, InvalidDocument> {
        let active = self.rules.iter().filter(|rule| rule.status.is_active());
        Ok(PolicyDeclaration {
            name: text(&self.name),
            clients: match &self.clients {
                None => PolicyClients::All(Location::default()),
                Some(ids) => PolicyClients::Only(ids.iter().filter(|id| is_client(id)).map(|id| text(id)).collect()),
            },
            rules: active.map(RuleDocument::declaration).collect::<Result<_, _>>()?,
        })
    }
}

impl RuleDocument {
    /// Whether it says whom it is for, or needs not.
    fn has_people(&self) -> bool {
        let named = !self.groups.is_empty() || !self.users.is_empty();
        let has_user = |name: &String| GrantType::parse(name).is_none_or(GrantType::has_user);
        named || !self.grants.iter().any(has_user)
    }

    fn declaration(&self) -> Result<RuleDeclaration, InvalidDocument> {
        // SECURITY: a declaration without people is for anybody; here, nobody is named by mistake.
        if !self.has_people() {
            let name = &self.name;
            return Err(invalid(format!(
                "the rule `{name}` is for nobody: name groups or users, `{EVERYONE}` for each user"
            )));
        }
        if self.exclude_groups.iter().any(|group| group == EVERYONE) {
            return Err(invalid(format!("the rule `{}` excludes `{EVERYONE}`", self.name)));
        }
        let everyone = self.groups.iter().any(|group| group == EVERYONE);
        let (groups, users): (&[String], &[String]) = if everyone {
            (&[], &[])
        } else {
            (&self.groups, &self.users)
        };
        Ok(RuleDeclaration {
            name: text(&self.name),
            grants: texts(&self.grants),
            groups: texts(groups),
            exclude_groups: texts(&self.exclude_groups),
            users: texts(users),
            scopes: match &self.scopes {
                None => RuleScopes::Any(Location::default()),
                Some(names) => RuleScopes::Only(texts(names)),
            },
            access_token: Located::nowhere(Duration::from_secs(self.access_token_seconds)),
            refresh_token: self.refresh_token.map(|refresh| RefreshDeclaration {
                lifetime: match refresh.lifetime_seconds {
                    0 => UNLIMITED,
                    seconds => Duration::from_secs(seconds),
                },
                idle: refresh.idle_seconds.map(Duration::from_secs),
            }),
        })
    }
}

fn invalid(text: impl Into<String>) -> InvalidDocument {
    InvalidDocument(text.into())
}

pub(super) fn text(value: &str) -> Located<String> {
    Located::nowhere(value.to_owned())
}

pub(super) fn texts(values: &[String]) -> Vec<Located<String>> {
    values.iter().map(|value| text(value)).collect()
}

/// The text as a regular expression that matches it alone.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_alphanumeric() && character != '_' && character.is_ascii() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
