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
use crate::model::scope::ScopeSet;
use crate::oauth::grant::GrantType;

const REFRESH: GrantType = GrantType::RefreshToken;

const BEGAN_BY: &str = "beganBy: with the grant type `refresh_token`, and only then, the one of the sign-in is expected: \
                        `authorization_code`, `device_code` or `password`";

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
    let began_by = fields.text(&["beganBy"]);
    let began_by = began_by.as_deref().and_then(GrantType::parse);
    if grant_type.is_some_and(|grant| began_by.is_some_and(GrantType::signs_in_anew) != (grant == REFRESH)) {
        fields.refuse(BEGAN_BY);
    }
    let held_scopes = fields.texts(&["heldScopes"]).map(|scopes| scopes.join(" "));
    let held_scopes = held_scopes.and_then(|text| match ScopeSet::parse(&text) {
        Ok(scopes) => Some(scopes),
        Err(error) => {
            fields.refuse(format!("heldScopes: {error}"));
            None
        }
    });
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
        began_by,
        held_scopes,
    };
    let preview = administration.preview(&who, &id, &wanted).await?;
    Ok(reply::document(StatusCode::OK, preview.to_json().to_string()))
}
