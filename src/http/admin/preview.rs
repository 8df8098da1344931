//! `POST /api/v1/authorizationServers/{id}/preview`: ours. The token that would be minted, unsigned, with the rule
//! that grants it; or the error, with every policy and rule that was looked at.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;

use crate::admin::Administration;
use crate::admin::preview::Previewed;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::request::{Body, Ids};
use crate::http::admin::wire::Fields;
use crate::http::reply;
use crate::oauth::grant::GrantType;

pub(super) fn routes() -> Router<Administration> {
    Router::new().route("/api/v1/authorizationServers/{id}/preview", post(answer))
}

async fn answer(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let mut fields = Fields::new("preview", &body);
    let client = fields.name(&["clientId"], 100);
    let grant = fields.name(&["grantType"], 100);
    let grant_type = GrantType::parse(&grant);
    if grant_type.is_none() && !grant.is_empty() {
        fields.refuse(format!("grantType: `{grant}` is no grant type"));
    }
    let user = fields.text(&["user"]);
    let scopes = fields.texts(&["scopes"]).map(|scopes| scopes.join(" "));
    fields.finish()?;
    let Some(grant) = grant_type else {
        return Err(ApiError::validation(
            "preview",
            ["grantType: a grant type is expected".to_owned()],
        ));
    };
    let wanted = Previewed {
        client,
        grant,
        user,
        scope: scopes,
    };
    let preview = administration.preview(&who, &id, &wanted).await?;
    Ok(reply::document(StatusCode::OK, preview.to_json().to_string()))
}
