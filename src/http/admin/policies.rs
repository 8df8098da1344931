//! `/api/v1/authorizationServers/{id}/policies`: policies in their order, and whether they work.

use serde_json::{Map, Value, json};

use crate::admin::{AdminError, Administration, Resource};
use crate::audit::AuditKind;
use crate::http::admin::error::ApiError;
use crate::http::admin::part::{Part, Switched, priority_at};
use crate::http::admin::wire::{self, Fields, STATUSES};
use crate::model::time::Timestamp;
use crate::oauth::document::{IdPrefix, PolicyDocument, ServerDocument, Status};

/// Okta's word for every client.
const ALL_CLIENTS: &str = "ALL_CLIENTS";

impl Part for PolicyDocument {
    type Input = Input;

    const KIND: &'static str = "Policy";
    const PATH: &'static str = "/api/v1/authorizationServers/{id}/policies";
    const RESOURCE: Resource = Resource::Policies;
    const PREFIX: IdPrefix = IdPrefix::Policy;
    const DEEDS: [AuditKind; 3] = [
        AuditKind::PolicyCreated,
        AuditKind::PolicyUpdated,
        AuditKind::PolicyDeleted,
    ];
    const IS_ORDERED: bool = true;

    fn list<'d>(document: &'d ServerDocument, _: Option<&str>) -> Result<&'d Vec<Self>, AdminError> {
        Ok(&document.policies)
    }

    fn list_mut<'d>(document: &'d mut ServerDocument, _: Option<&str>) -> Result<&'d mut Vec<Self>, AdminError> {
        Ok(&mut document.policies)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn view(&self, place: usize, in_file: bool) -> Value {
        let include = self.clients.clone().unwrap_or_else(|| vec![ALL_CLIENTS.to_owned()]);
        let object = json!({
            "id": self.id,
            "type": "OAUTH_AUTHORIZATION_POLICY",
            "status": wire::status(self.status),
            "name": self.name,
            "description": self.description,
            "priority": priority_at(place),
            "system": false,
            "conditions": { "clients": { "include": include } },
            "created": wire::time(self.created_at),
            "lastUpdated": wire::time(self.updated_at),
        });
        wire::finish(object, in_file)
    }

    async fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Input, ApiError> {
        Input::read(administration, body)
    }

    fn made(input: &Input, seen: Option<&Self>, id: &str, at: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            name: input.name.clone(),
            description: input.description.clone(),
            status: input.status.or(seen.map(|seen| seen.status)).unwrap_or_default(),
            clients: input.clients.clone(),
            rules: seen.map(|seen| seen.rules.clone()).unwrap_or_default(),
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }

    fn priority(input: &Input) -> Option<u64> {
        input.priority
    }
}

impl Switched for PolicyDocument {
    const SWITCHES: [AuditKind; 2] = [AuditKind::PolicyActivated, AuditKind::PolicyDeactivated];

    fn switch(&mut self) -> (&mut Status, &mut Timestamp) {
        (&mut self.status, &mut self.updated_at)
    }
}

/// What a body says of a policy.
pub(super) struct Input {
    name: String,
    description: String,
    status: Option<Status>,
    priority: Option<u64>,
    clients: Option<Vec<String>>,
}

impl Input {
    fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("policy", body);
        fields.word(&["type"], &[("OAUTH_AUTHORIZATION_POLICY", ())]);
        let name = fields.name(&["name"], 100);
        let description = fields.text(&["description"]).unwrap_or_default();
        if description.chars().count() > 255 {
            fields.refuse("description: at most 255 characters are allowed");
        }
        let include = fields.texts(&["conditions", "clients", "include"]);
        let all = |ids: &Vec<String>| ids.iter().any(|id| id == ALL_CLIENTS);
        let clients = match include {
            Some(ids) if all(&ids) && ids.len() > 1 => {
                fields.refuse(format!("conditions.clients.include: `{ALL_CLIENTS}` stands alone"));
                None
            }
            Some(ids) if all(&ids) => None,
            Some(ids) => Some(ids),
            // Nobody said whom it is for: nobody.
            None => {
                fields.refuse(format!("conditions.clients.include: name clients, or `{ALL_CLIENTS}`"));
                None
            }
        };
        for id in clients.iter().flatten().filter(|id| !administration.has_client(id)) {
            fields.refuse(format!("conditions.clients.include: there is no client `{id}`"));
        }
        let input = Self {
            name,
            description,
            status: fields.word(&["status"], &STATUSES),
            priority: fields.number(&["priority"]),
            clients,
        };
        fields.finish()?;
        Ok(input)
    }
}
