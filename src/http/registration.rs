//! The client management API: `/oauth2/v1/clients`, and `/oauth2/{id}/v1/clients` of one authorization server
//! (RFC 7591, RFC 7592, and Okta's `lifecycle/newSecret`).
//!
//! Whose token it is decides what is done: a client's own (an initial access token, a registration access token), or
//! an administrator's, which is a JWT of the management authorization server. Errors are those of the RFCs.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::apps::{App, NewApp};
use crate::admin::desk::Desk;
use crate::admin::registration::{RegisteredClient, RegistrationError};
use crate::admin::{Action, AdminError, Administration, Administrator, Resource};
use crate::entropy;
use crate::http::admin::error::ApiError;
use crate::http::admin::paging::Page;
use crate::http::admin::request::Body;
use crate::http::reply;
use crate::issuer::directory::ManagedClient;
use crate::model::secret::Secret;
use crate::oauth::registration::{self, Speaker};

/// The endpoints, below this path of the public URL.
pub(super) fn routes(base: &str) -> Router<Administration> {
    let of_all = format!("{base}/oauth2/v1/clients");
    let of_server = format!("{base}/oauth2/{{id}}/v1/clients");
    let mut router = Router::new();
    for path in [of_all, of_server] {
        router = router
            .route(&path, get(list).post(register))
            .route(&format!("{path}/{{client}}"), get(read).put(update).delete(delete))
            .route(&format!("{path}/{{client}}/lifecycle/newSecret"), post(new_secret));
    }
    router
}

/// Where a request goes: an authorization server, if it names one, and a client, if it names one.
struct Target {
    server: Option<String>,
    client: String,
}

impl FromRequestParts<Administration> for Target {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, administration: &Administration) -> Result<Self, Response> {
        let named = Path::<Vec<(String, String)>>::from_request_parts(parts, administration).await;
        let named = named.map(|Path(named)| named).unwrap_or_default();
        let take = |wanted: &str| {
            named
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
        };
        let server = take("id");
        if server
            .as_deref()
            .is_some_and(|server| !administration.issuer().has_server(server))
        {
            return Err(reply::not_found().await);
        }
        Ok(Self {
            server,
            client: take("client").unwrap_or_default(),
        })
    }
}

/// Who asks.
enum Asker {
    /// An administrator.
    Administrator(Box<Administrator>),
    /// A client, with the token that it shows.
    Client(Option<Secret<String>>),
}

impl FromRequestParts<Administration> for Asker {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, administration: &Administration) -> Result<Self, Response> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let Some(value) = value else {
            return Ok(Self::Client(None));
        };
        let refused = || failed(RegistrationError::Token { shown: true });
        let token = match value.to_str().unwrap_or_default().split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && more.is_none() => token.trim(),
            _ => return Err(refused()),
        };
        // A JWT has dots; our own tokens have none.
        if !token.contains('.') {
            return Ok(Self::Client(Some(Secret::new(token.to_owned()))));
        }
        match Administrator::authenticate(administration.issuer(), token) {
            Ok(administrator) => Ok(Self::Administrator(Box::new(administrator))),
            Err(_) => Err(refused()),
        }
    }
}

impl Asker {
    fn token(&self) -> Option<&str> {
        match self {
            Self::Client(Some(token)) => Some(token.expose_secret()),
            Self::Client(None) | Self::Administrator(_) => None,
        }
    }

    fn desk<'a>(&self, administration: &'a Administration, action: Action) -> Result<Desk<'a>, RegistrationError> {
        match self {
            Self::Administrator(who) => Ok(Desk::of(administration, who, action, Resource::Clients)?),
            Self::Client(token) => Err(RegistrationError::Token { shown: token.is_some() }),
        }
    }
}

async fn list(State(administration): State<Administration>, asker: Asker, page: Page) -> Response {
    let desk = match asker.desk(&administration, Action::Read) {
        Ok(desk) => desk,
        Err(error) => return failed(error),
    };
    let apps = page.cut(desk.apps(), |app| app.id().to_owned());
    page.answer(
        &administration.base_url(),
        apps,
        |app| app.id().to_owned(),
        |app: &App| Value::Object(show(&app.object)),
    )
}

async fn register(
    State(administration): State<Administration>,
    target: Target,
    asker: Asker,
    body: Result<Body, ApiError>,
) -> Response {
    let metadata = match metadata(body) {
        Ok(metadata) => metadata,
        Err(status) => return malformed(status),
    };
    let server = target.server.as_deref();
    let registered = match &asker {
        Asker::Client(_) => administration.register(asker.token(), server, &metadata).await,
        Asker::Administrator(_) => by_administrator(&administration, &asker, metadata).await,
    };
    match registered {
        Ok(registered) => {
            let status = if registered.is_same {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            answer(&administration, status, server, &registered)
        }
        Err(error) => failed(error),
    }
}

async fn by_administrator(
    administration: &Administration,
    asker: &Asker,
    metadata: Map<String, Value>,
) -> Result<RegisteredClient, RegistrationError> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let new = NewApp {
        client_id: text("client_id"),
        secret: text("client_secret").map(Secret::new),
        metadata,
        ..NewApp::default()
    };
    let made = asker.desk(administration, Action::Manage)?.create_app(new).await?;
    Ok(RegisteredClient {
        client: made.client,
        secret: made.secret,
        token: None,
        is_same: false,
    })
}

async fn read(State(administration): State<Administration>, target: Target, asker: Asker) -> Response {
    let server = target.server.as_deref();
    let found = match &asker {
        Asker::Client(_) => administration.registered(asker.token(), server, &target.client),
        Asker::Administrator(_) => asker
            .desk(&administration, Action::Read)
            .and_then(|desk| Ok(desk.app(&target.client)?.object)),
    };
    match found {
        Ok(client) => {
            let mut shown = show(&client);
            if client.document.registration.is_some() {
                shown.insert(
                    "registration_client_uri".to_owned(),
                    json!(uri_of(&administration, server, &client)),
                );
            }
            reply::document(StatusCode::OK, Value::Object(shown).to_string())
        }
        Err(error) => failed(error),
    }
}

async fn update(
    State(administration): State<Administration>,
    target: Target,
    asker: Asker,
    body: Result<Body, ApiError>,
) -> Response {
    let metadata = match metadata(body) {
        Ok(metadata) => metadata,
        Err(status) => return malformed(status),
    };
    let server = target.server.as_deref();
    let client = &target.client;
    let updated = match &asker {
        Asker::Client(_) => {
            administration
                .update_registered(asker.token(), server, client, &metadata)
                .await
        }
        Asker::Administrator(_) => match asker.desk(&administration, Action::Manage) {
            Ok(desk) => desk
                .replace_app(client, &metadata, Speaker::Administrator, |_| true)
                .await
                .map(|made| RegisteredClient {
                    client: made.client,
                    secret: made.secret,
                    token: None,
                    is_same: false,
                })
                .map_err(RegistrationError::from),
            Err(error) => Err(error),
        },
    };
    match updated {
        Ok(updated) => answer(&administration, StatusCode::OK, server, &updated),
        Err(error) => failed(error),
    }
}

async fn delete(State(administration): State<Administration>, target: Target, asker: Asker) -> Response {
    let (server, client) = (target.server.as_deref(), &target.client);
    let deleted = match &asker {
        Asker::Client(_) => administration.delete_registered(asker.token(), server, client).await,
        Asker::Administrator(_) => match asker.desk(&administration, Action::Manage) {
            Ok(desk) => desk
                .delete_app(client, true, |_| true)
                .await
                .map_err(RegistrationError::from),
            Err(error) => Err(error),
        },
    };
    match deleted {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(error),
    }
}

async fn new_secret(State(administration): State<Administration>, target: Target, asker: Asker) -> Response {
    let renewed = match asker.desk(&administration, Action::Manage) {
        Ok(desk) => match desk.renew_secret(&target.client).await {
            Ok(secret) => desk.app(&target.client).map(|app| (app.object, secret)),
            Err(error) => Err(error),
        },
        Err(error) => return failed(error),
    };
    match renewed {
        Ok((client, secret)) => {
            let mut shown = show(&client);
            shown.insert("client_secret".to_owned(), json!(secret.expose_secret()));
            shown.insert("client_secret_expires_at".to_owned(), json!(0));
            reply::document(StatusCode::OK, Value::Object(shown).to_string())
        }
        Err(error) => failed(error.into()),
    }
}

/// The metadata, or the status of a body that is none.
fn metadata(body: Result<Body, ApiError>) -> Result<Map<String, Value>, StatusCode> {
    match body {
        Ok(Body(metadata)) => Ok(metadata),
        Err(error) => Err(error.into_response().status()),
    }
}

fn malformed(status: StatusCode) -> Response {
    let text = "the body must be one JSON object with the client's metadata, and no larger than 262144 bytes";
    refused(status, "invalid_client_metadata", text, None)
}

fn answer(
    administration: &Administration,
    status: StatusCode,
    server: Option<&str>,
    registered: &RegisteredClient,
) -> Response {
    let mut shown = show(&registered.client);
    if let Some(secret) = &registered.secret {
        shown.insert("client_secret".to_owned(), json!(secret.expose_secret()));
        shown.insert("client_secret_expires_at".to_owned(), json!(0));
    }
    if let Some(token) = &registered.token {
        shown.insert("registration_access_token".to_owned(), json!(token.expose_secret()));
        let uri = uri_of(administration, server, &registered.client);
        shown.insert("registration_client_uri".to_owned(), json!(uri));
    }
    reply::document(status, Value::Object(shown).to_string())
}

fn show(client: &ManagedClient) -> Map<String, Value> {
    let mut shown = registration::show(&client.document);
    shown.insert("client_id".to_owned(), json!(client.id));
    shown.insert(
        "client_id_issued_at".to_owned(),
        json!(client.created_at.unix_seconds()),
    );
    shown
}

/// Where a client keeps itself up to date: a URL of the configuration (attack F26).
fn uri_of(administration: &Administration, server: Option<&str>, client: &ManagedClient) -> String {
    let url = administration.issuer().public_url();
    let base = url.as_str().trim_end_matches('/');
    match server {
        Some(server) => format!("{base}/oauth2/{server}/v1/clients/{}", client.id),
        None => format!("{base}/oauth2/v1/clients/{}", client.id),
    }
}

fn failed(error: RegistrationError) -> Response {
    use RegistrationError as E;
    let description = error.to_string();
    let (status, code, challenge) = match error {
        E::Token { shown: false } => (StatusCode::UNAUTHORIZED, "invalid_token", Some("Bearer")),
        E::Token { shown: true } => {
            let challenge = "Bearer error=\"invalid_token\"";
            (StatusCode::UNAUTHORIZED, "invalid_token", Some(challenge))
        }
        E::Metadata(mistakes) if mistakes.iter().any(|mistake| mistake.is_redirect) => {
            (StatusCode::BAD_REQUEST, "invalid_redirect_uri", None)
        }
        E::Metadata(_) => (StatusCode::BAD_REQUEST, "invalid_client_metadata", None),
        E::InvalidStatement => (StatusCode::BAD_REQUEST, "invalid_software_statement", None),
        E::UnapprovedStatement => (StatusCode::BAD_REQUEST, "unapproved_software_statement", None),
        E::Full => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", None),
        E::Admin(error) => return of_admin(error),
    };
    refused(status, code, &description, challenge)
}

/// What goes wrong in the administration, in the words of the RFCs.
fn of_admin(error: AdminError) -> Response {
    let description = error.to_string();
    let (status, code) = match error {
        AdminError::Token(_) => (StatusCode::UNAUTHORIZED, "invalid_token"),
        AdminError::Scope(_) => (StatusCode::FORBIDDEN, "insufficient_scope"),
        AdminError::Role | AdminError::ReadOnly { .. } | AdminError::State(_) => {
            (StatusCode::FORBIDDEN, "access_denied")
        }
        AdminError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
        AdminError::Precondition | AdminError::Contended => (StatusCode::CONFLICT, "temporarily_unavailable"),
        AdminError::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid_client_metadata"),
        AdminError::Internal(cause) => {
            tracing::error!(error = %cause, "a registration could not be completed");
            return reply::internal();
        }
    };
    refused(status, code, &description, None)
}

fn refused(status: StatusCode, code: &str, description: &str, challenge: Option<&'static str>) -> Response {
    let body = json!({
        "error": code,
        "error_description": description,
        "error_id": entropy::random_text::<12>(),
    });
    let mut response = reply::document(status, body.to_string());
    if let Some(challenge) = challenge {
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
