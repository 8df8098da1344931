//! RFC 6749 section 4.4: a client acts for itself. No user, no refresh token, no ID token.

use crate::issuer::Note;
use crate::issuer::grant::person::outcome;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::mint::{MintRequest, mint};
use crate::oauth::access::{TokenRequestFacts, decide};
use crate::oauth::grant::GrantType;
use crate::oauth::resource;

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        let grant = GrantType::ClientCredentials;
        context.admit(grant)?;
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
        let granted = outcome(decision, note)?;
        let (client, binding) = (context.client.client(), context.binding);
        let now = context.issuer.services.clock.now();
        let request = MintRequest::of_client(client, grant, &granted, &audiences, binding, now);
        mint(context.issuer, context.endpoint, &request)
    })
}
