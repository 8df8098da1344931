//! Is it a living access token of ours? For those who ask about one: introspection, exchange.
//!
//! Living means: signed by this server, in its time, and dead by no revocation, be it of the token, its session, its
//! subject, its client, its key or its server. A client that is gone or inactive has no living token either, whatever
//! the table of revocations has forgotten.

use serde_json::Value;

use crate::issuer::{Endpoint, Issuer, Snapshot};
use crate::jose::object::ValueRef;
use crate::jose::sign::SigningKey;
use crate::jose::verify::{Claims, Expectations, Signed, TokenTypes};
use crate::model::id::ClientId;
use crate::oauth::token::ACCESS_TOKEN_TYPE;
use crate::revocation::{CLOCKS_APART_MAX, Life};

/// A living access token. Only this file makes one.
#[must_use]
pub(super) struct LivingToken {
    claims: Claims,
    client: ClientId,
}

impl LivingToken {
    /// Its claims.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The client that it was issued to.
    pub(super) fn client(&self) -> &ClientId {
        &self.client
    }

    /// Whom it is for.
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.claims.members.get("aud") {
            Some(ValueRef::Text(one)) => vec![one],
            Some(ValueRef::Json(Value::Array(several))) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// What it may do, in the grammar of RFC 6749 whatever the profile.
    pub(super) fn scope(&self) -> String {
        match (self.claims.members.get("scope"), self.claims.members.get("scp")) {
            (Some(ValueRef::Text(scope)), _) => scope.to_owned(),
            (_, Some(ValueRef::Json(Value::Array(scopes)))) => {
                let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
                scopes.join(" ")
            }
            _ => String::new(),
        }
    }
}

/// The token as a living one of this server; `None` for everything else, whatever it is.
pub(super) fn access_token(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    token: &str,
) -> Option<LivingToken> {
    let now = issuer.services.clock.now();
    let expectations = Expectations {
        issuer: &endpoint.issuer,
        audiences: &endpoint.server.audiences(),
        algorithms: &SigningKey::ALGORITHMS,
        token_types: &TokenTypes::Only(vec![ACCESS_TOKEN_TYPE.to_owned()]),
        leeway: CLOCKS_APART_MAX,
        now,
    };
    let (server, keys) = (&endpoint.server.id, endpoint.keys.live());
    let judge = |signed: &Signed| signed.judge(&expectations).ok();
    let claims = issuer
        .signed
        .find(server, &keys, expectations.algorithms, token, judge)?
        .into_inner();
    // The leeway is for a token that another node has minted just now; what has expired here has expired.
    if now >= claims.expires_at {
        return None;
    }
    let client = ClientId::parse(claims.members.text("cid")?).ok()?;
    let (jti, subject) = (claims.jti(), claims.subject());
    let life = Life {
        server: &endpoint.server.id,
        jti: jti.as_ref(),
        session: claims.members.text("sid"),
        subject: subject.as_ref(),
        client: Some(&client),
        kid: claims.kid.as_ref(),
        issued_at: claims.issued_at,
    };
    if issuer.services.revocations.dead(&life).is_some() {
        return None;
    }
    let is_active = snapshot
        .model
        .clients
        .get(&client)
        .is_some_and(|client| !client.options.inactive);
    is_active.then_some(LivingToken { claims, client })
}
