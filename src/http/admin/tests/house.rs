//! An issuer with administrators, asked through the router of the listener `admin`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::http::{Limits, admin_router};
use crate::issuer::change::Change;
use crate::issuer::fixture::TestIssuer;
use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

pub(in crate::http) const SERVERS: &str = "/api/v1/authorizationServers";

/// Everything that a super administrator may ask for.
pub(in crate::http) const ALL: &str = "okta.authorizationServers.manage okta.apps.manage okta.clients.manage \
    okta.users.manage okta.groups.manage okta.roles.manage okta.logs.read okta.policies.manage";

pub(in crate::http) struct House {
    pub(in crate::http) test: TestIssuer,
    pub(in crate::http) router: Router,
    pub(in crate::http) token: String,
}

pub(in crate::http) struct Answer {
    pub(in crate::http) status: u16,
    pub(in crate::http) headers: HeaderMap,
    pub(in crate::http) body: Value,
}

impl Answer {
    pub(in crate::http) fn tag(&self) -> String {
        let tag = self.headers.get(header::ETAG).expect("an ETag");
        tag.to_str().expect("text").to_owned()
    }

    pub(in crate::http) fn id(&self) -> String {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self.body["id"].as_str().expect("an id").to_owned()
    }

    pub(in crate::http) fn ok(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self.body
    }

    /// Status, code, and the causes in one line.
    pub(in crate::http) fn error(&self) -> (u16, String, String) {
        let code = self.body["errorCode"].as_str().expect("an error").to_owned();
        let causes = self.body["errorCauses"].as_array().expect("causes");
        let causes: Vec<&str> = causes
            .iter()
            .filter_map(|cause| cause["errorSummary"].as_str())
            .collect();
        (self.status, code, causes.join("\n"))
    }
}

fn insert(kind: ObjectKind, id: &str, body: Value) -> ObjectChange {
    let at = Timestamp::from_unix_seconds(1);
    ObjectChange::Insert(StoredObject {
        kind,
        id: id.to_owned(),
        revision: 1,
        body,
        created_at: at,
        updated_at: at,
    })
}

impl House {
    /// With a super administrator, whose token is at hand.
    pub(in crate::http) async fn open() -> Self {
        Self::of(TestIssuer::start().await).await
    }

    pub(in crate::http) async fn of(test: TestIssuer) -> Self {
        let router = admin_router(Arc::clone(&test.issuer), Limits::default());
        let mut house = Self {
            test,
            router,
            token: String::new(),
        };
        house.administrator("root", "SUPER_ADMIN", &Value::Null).await;
        house.token = house.token_of("root", ALL).await;
        house
    }

    /// A client that holds a role.
    pub(in crate::http) async fn administrator(&self, client: &str, role: &str, servers: &Value) {
        let body = json!({
            "name": client, "kind": "service", "grants": ["client_credentials"],
            "secrets": [{ "id": "ocs1", "sha256": Digest::of(b"secret").to_base64url(), "created_at": 1, "updated_at": 1 }],
        });
        let mut binding = json!({ "assignee": { "client": client }, "role": role });
        if !servers.is_null() {
            binding["servers"] = servers.clone();
        }
        let changes = vec![
            insert(ObjectKind::Client, client, body),
            insert(ObjectKind::RoleBinding, &format!("irb-{client}"), binding),
        ];
        let change = Change {
            changes,
            ..Change::default()
        };
        self.test.issuer.change(change, false).await.expect("an administrator");
    }

    pub(in crate::http) async fn try_token(&self, client: &str, scope: &str) -> Answer {
        let scope: String = scope.split_whitespace().collect::<Vec<_>>().join("+");
        let body = format!("grant_type=client_credentials&client_id={client}&client_secret=secret&scope={scope}");
        let request = Request::post("/oauth2/v1/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        self.send(request).await
    }

    pub(in crate::http) async fn token_of(&self, client: &str, scope: &str) -> String {
        let answer = self.try_token(client, scope).await.ok();
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    pub(in crate::http) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("it answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// A request by this token, with these headers besides.
    pub(in crate::http) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        headers: &[(header::HeaderName, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(request.body(body).expect("a request")).await
    }

    pub(in crate::http) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &self.token, &[], None).await
    }

    pub(in crate::http) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, &self.token, &[], Some(body)).await
    }

    pub(in crate::http) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, &self.token, &[], Some(body)).await
    }

    pub(in crate::http) async fn put_if(&self, path: &str, tag: &str, body: &Value) -> Answer {
        let headers = [(header::IF_MATCH, tag)];
        self.ask(Method::PUT, path, &self.token, &headers, Some(body)).await
    }

    pub(in crate::http) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, &self.token, &[], None).await
    }

    /// An operation without a body.
    pub(in crate::http) async fn act(&self, path: &str) -> Answer {
        self.ask(Method::POST, path, &self.token, &[], None).await
    }

    /// A new server `Payments` with a scope `pay:read`.
    pub(in crate::http) async fn server(&self) -> String {
        let body = json!({ "name": "Payments", "description": "d", "audiences": ["https://pay.example"],
            "issuerMode": "ORG_URL", "signingAlgorithm": "ES256" });
        let id = self.post(SERVERS, &body).await.id();
        let made = self
            .post(&format!("{SERVERS}/{id}/scopes"), &json!({ "name": "pay:read" }))
            .await;
        assert_eq!(made.status, StatusCode::CREATED.as_u16());
        id
    }
}
