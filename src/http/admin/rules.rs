//! `/api/v1/authorizationServers/{id}/policies/{policy}/rules`: rules in their order, as policies are.
//!
//! Lifetimes stand there in minutes, as Okta has them, and in seconds beside, which win where both are written.

use serde_json::{Map, Value, json};

use crate::admin::{AdminError, Administration, Resource};
use crate::audit::AuditKind;
use crate::http::admin::error::ApiError;
use crate::http::admin::part::{Part, Switched, priority_at};
use crate::http::admin::wire::{self, Fields, STATUSES};
use crate::model::time::Timestamp;
use crate::oauth::document::{IdPrefix, PolicyDocument, RefreshDocument, RuleDocument, ServerDocument, Status};
use crate::oauth::grant::GrantType;

/// How long an access token lives where nothing is said: Okta's 60 minutes.
const ACCESS_TOKEN_SECONDS: u64 = 60 * 60;

/// How long a refresh token lives without use where nothing is said: Okta's 7 days.
const WINDOW_SECONDS: u64 = 7 * 24 * 60 * 60;

impl Part for RuleDocument {
    type Input = Input;

    const KIND: &'static str = "PolicyRule";
    const PATH: &'static str = "/api/v1/authorizationServers/{id}/policies/{policy}/rules";
    const RESOURCE: Resource = Resource::Policies;
    const PREFIX: IdPrefix = IdPrefix::Rule;
    const DEEDS: [AuditKind; 3] = [AuditKind::RuleAdded, AuditKind::RuleUpdated, AuditKind::RuleDeleted];
    const IS_ORDERED: bool = true;

    fn list<'d>(document: &'d ServerDocument, policy: Option<&str>) -> Result<&'d Vec<Self>, AdminError> {
        let id = policy.unwrap_or_default();
        let found = document.policies.iter().find(|known| known.id == id);
        let found = found.ok_or_else(|| AdminError::not_found(PolicyDocument::KIND, id));
        Ok(&found?.rules)
    }

    fn list_mut<'d>(document: &'d mut ServerDocument, policy: Option<&str>) -> Result<&'d mut Vec<Self>, AdminError> {
        let id = policy.unwrap_or_default();
        let found = document.policies.iter_mut().find(|known| known.id == id);
        let found = found.ok_or_else(|| AdminError::not_found(PolicyDocument::KIND, id));
        Ok(&mut found?.rules)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn view(&self, place: usize, in_file: bool) -> Value {
        let grants: Vec<&str> = self
            .grants
            .iter()
            .map(|name| match GrantType::parse(name) {
                Some(grant) => grant.wire_name(),
                None => name.as_str(),
            })
            .collect();
        let scopes = self.scopes.clone().unwrap_or_else(|| vec!["*".to_owned()]);
        let mut token = json!({
            "accessTokenLifetimeMinutes": self.access_token_seconds.div_ceil(60),
            "accessTokenLifetimeSeconds": self.access_token_seconds,
        });
        if let Some(refresh) = self.refresh_token {
            token["refreshTokenLifetimeMinutes"] = json!(refresh.lifetime_seconds.div_ceil(60));
            token["refreshTokenLifetimeSeconds"] = json!(refresh.lifetime_seconds);
            if let Some(idle) = refresh.idle_seconds {
                token["refreshTokenWindowMinutes"] = json!(idle.div_ceil(60));
                token["refreshTokenWindowSeconds"] = json!(idle);
            }
        }
        let object = json!({
            "id": self.id,
            "type": "RESOURCE_ACCESS",
            "status": wire::status(self.status),
            "name": self.name,
            "priority": priority_at(place),
            "system": false,
            "conditions": {
                "people": {
                    "users": { "include": self.users, "exclude": [] },
                    "groups": { "include": self.groups, "exclude": self.exclude_groups },
                },
                "grantTypes": { "include": grants },
                "scopes": { "include": scopes },
            },
            "actions": { "token": token },
            "created": wire::time(self.created_at),
            "lastUpdated": wire::time(self.updated_at),
        });
        wire::finish(object, in_file)
    }

    async fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Input, ApiError> {
        Input::read(administration, body).await
    }

    fn made(input: &Input, seen: Option<&Self>, id: &str, at: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            name: input.name.clone(),
            status: input.status.or(seen.map(|seen| seen.status)).unwrap_or_default(),
            grants: input.grants.clone(),
            groups: input.groups.clone(),
            exclude_groups: input.exclude_groups.clone(),
            users: input.users.clone(),
            scopes: input.scopes.clone(),
            access_token_seconds: input.access_token_seconds,
            refresh_token: input.refresh_token,
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }

    fn priority(input: &Input) -> Option<u64> {
        input.priority
    }
}

impl Switched for RuleDocument {
    const SWITCHES: [AuditKind; 2] = [AuditKind::RuleActivated, AuditKind::RuleDeactivated];

    fn switch(&mut self) -> (&mut Status, &mut Timestamp) {
        (&mut self.status, &mut self.updated_at)
    }
}

/// What a body says of a rule.
pub(super) struct Input {
    name: String,
    status: Option<Status>,
    priority: Option<u64>,
    grants: Vec<String>,
    groups: Vec<String>,
    exclude_groups: Vec<String>,
    users: Vec<String>,
    scopes: Option<Vec<String>>,
    access_token_seconds: u64,
    refresh_token: Option<RefreshDocument>,
}

impl Input {
    async fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("policyRule", body);
        fields.word(&["type"], &[("RESOURCE_ACCESS", ())]);
        let name = fields.name(&["name"], 100);
        let grants = fields
            .texts(&["conditions", "grantTypes", "include"])
            .unwrap_or_default();
        if grants.is_empty() {
            fields.refuse("conditions.grantTypes.include: name the grant types that the rule matches");
        }
        let scopes = fields.texts(&["conditions", "scopes", "include"]);
        if scopes.is_none() && fields.at(&["conditions", "scopes", "include"]).is_none() {
            fields.refuse("conditions.scopes.include: name the scopes that the rule allows, or `*`");
        }
        let scopes = scopes.filter(|scopes| !scopes.iter().any(|scope| scope == "*"));
        let people = |kind: &'static str, list: &'static str| ["conditions", "people", kind, list];
        // SECURITY: what would narrow who gets in, and is not done here, is refused.
        if fields
            .texts(&people("users", "exclude"))
            .is_some_and(|users| !users.is_empty())
        {
            fields.refuse("conditions.people.users.exclude: users cannot be excluded one by one: exclude a group");
        }
        if fields
            .at(&["actions", "token", "inlineHook"])
            .is_some_and(|hook| hook.get("id").is_some_and(|id| !id.is_null()))
        {
            fields.refuse("actions.token.inlineHook: there are no inline hooks");
        }
        let users = fields.texts(&people("users", "include")).unwrap_or_default();
        for user in &users {
            if !administration.has_user(user).await? {
                fields.refuse(format!("conditions.people.users.include: there is no user `{user}`"));
            }
        }
        let token = ["actions", "token"];
        let access_token_seconds = fields
            .seconds(&token, "accessTokenLifetime")
            .unwrap_or(ACCESS_TOKEN_SECONDS);
        let lifetime = fields.seconds(&token, "refreshTokenLifetime");
        let window = fields.seconds(&token, "refreshTokenWindow");
        let has_user = |name: &String| GrantType::parse(name).is_some_and(GrantType::has_user);
        let refresh_token = grants.iter().any(has_user).then(|| {
            let lifetime_seconds = lifetime.unwrap_or(0);
            let usual = match lifetime_seconds {
                0 => WINDOW_SECONDS,
                lifetime => WINDOW_SECONDS.min(lifetime),
            };
            RefreshDocument {
                lifetime_seconds,
                idle_seconds: Some(window.unwrap_or(usual)),
            }
        });
        let input = Self {
            name,
            status: fields.word(&["status"], &STATUSES),
            priority: fields.number(&["priority"]),
            grants,
            groups: fields.texts(&people("groups", "include")).unwrap_or_default(),
            exclude_groups: fields.texts(&people("groups", "exclude")).unwrap_or_default(),
            users,
            scopes,
            access_token_seconds,
            refresh_token,
        };
        fields.finish()?;
        Ok(input)
    }
}
