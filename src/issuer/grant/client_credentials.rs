//! RFC 6749 section 4.4: a client acts for itself. No user, no refresh token, no ID token.

use serde_json::json;

use crate::issuer::Note;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::mint::mint;
use crate::oauth::access::{TokenRequestFacts, decide};
use crate::oauth::grant::GrantType;
use crate::oauth::minting;
use crate::oauth::resource;

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        let grant = GrantType::ClientCredentials;
        minting::admit(context.client.client(), grant)?;
        let scopes = requested_scopes(context.form)?;
        let audiences = resource::choose(&context.endpoint.server, &[], context.form.texts("resource"))?;
        let decision = decide(
            &context.snapshot.model,
            &TokenRequestFacts {
                server: &context.endpoint.server.id,
                client: &context.client.client().id,
                grant,
                user: None,
                scopes: scopes.as_ref(),
            },
        );
        note.set("trace", decision.trace_json());
        let granted = decision.outcome?;
        note.set("policy", json!(granted.policy()));
        note.set("rule", json!(granted.rule()));
        note.set("scope", json!(granted.scopes().to_string()));
        mint(
            context.issuer,
            context.endpoint,
            context.client,
            grant,
            &granted,
            &audiences,
            context.binding,
        )
    })
}
