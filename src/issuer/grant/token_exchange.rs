//! RFC 8693: a token for one API becomes a token for another, or for less.
//!
//! Who may exchange a token is who it was given to (its client), who it was shown to (a resource server of its
//! audience), or who it names itself (`may_act`). What comes of it is decided like every grant with a user, for the
//! client that asks: the user active and assigned, a rule for `token_exchange`, consent. Beyond that it is never more
//! than the token that was shown (case 134, attack F32):
//! - of this server's tokens, no scope that the token lacks; of an associated server's, what the rules say;
//! - it does not live longer, and it dies with the sign-in that the token came from (its `sid`);
//! - it is for the resources of this server alone;
//! - a token that is bound to a key is exchanged by its client with that key only.
//!
//! Who acts is written down: `act` names the client that exchanged a token which was not its own, or the subject of the
//! `actor_token`, and whoever acted before stands inside of it (RFC 8693 section 4.1). The chain is bounded.
//!
//! It deliberately takes no token that speaks for no user: a client can ask for one of its own.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::issuer::grant::person::outcome;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::living::{self, LivingToken};
use crate::issuer::mint::{MintRequest, mint};
use crate::issuer::people::{self, Person};
use crate::issuer::{Endpoint, Note};
use crate::jose::object::ValueRef;
use crate::jose::unverified::Unverified;
use crate::model::id::{GrantId, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::access::{TokenRequestFacts, decide};
use crate::oauth::error::{ExchangeProblem as P, GrantFailure, OAuthError};
use crate::oauth::grant::GrantType;
use crate::oauth::held::Held;
use crate::oauth::resource;
use crate::oauth::token::TokenSession;

/// RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// RFC 8693 section 3: our access tokens are JWTs.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How many actors a chain may have if the server does not say.
const ACTORS_MAX: usize = 4;

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::TokenExchange)?;
        // SECURITY: whoever knows the name of a public client could exchange what it has found.
        if context.client.client().is_public() {
            return Err(OAuthError::PublicClient(GrantType::TokenExchange.as_str()));
        }
        let now = context.issuer.services.clock.now();
        let form = context.form;
        if !form.text("requested_token_type").is_none_or(is_access_token) {
            return Err(P::RequestedType.into());
        }
        let subject = shown(context, "subject_token", "subject_token_type")?;
        let subject = subject.ok_or(OAuthError::MissingParameter("subject_token"))?;
        let actor = shown(context, "actor_token", "actor_token_type")?;
        may_exchange(context, &subject, actor.as_ref())?;
        let act = acting(context, &subject, actor.as_ref())?;
        let person = person(context, &subject).await?;
        note.set("user", json!(person.id.as_str()));
        note.set("subject_token_server", json!(subject.endpoint.server.id.as_str()));
        let requested = form.texts("resource").chain(form.texts("audience"));
        let audiences = resource::choose(&context.endpoint.server, &[], requested)?;
        let scopes = scopes(context, &subject)?;
        let facts = TokenRequestFacts {
            server: &context.endpoint.server.id,
            client: &context.client.client().id,
            grant: GrantType::TokenExchange,
            user: Some(person.facts()),
            scopes: scopes.as_ref(),
        };
        let granted = outcome(decide(&context.snapshot.model, &facts), note)?;
        // What a person has agreed to for one client was not agreed to for another.
        let is_own = *subject.token.client() == context.client.client().id;
        if !is_own || subject.endpoint.server.id != context.endpoint.server.id {
            context.ask_nobody(&granted)?;
        }
        let session = Session::of(&subject.token)?;
        let request = MintRequest {
            client: context.client.client(),
            grant: GrantType::TokenExchange,
            granted: &granted,
            person: Some(&person),
            session: Some(session.of_token()),
            nonce: None,
            audiences: &audiences,
            binding: context.binding,
            actor: act.as_ref(),
            issued_at: now,
            not_after: Some(subject.token.claims().expires_at),
            id: None,
        };
        let mut answer = mint(context.issuer, context.endpoint, &request)?;
        // An exchange gives what was asked for: no ID token, whatever scopes are in it (RFC 8693 section 2.2.1).
        answer.id_token = None;
        answer.issued_token_type = Some(ACCESS_TOKEN);
        Ok(answer)
    })
}

/// A living token that the request shows, with the server that minted it.
struct Shown {
    token: LivingToken,
    endpoint: Arc<Endpoint>,
}

fn is_access_token(kind: &str) -> bool {
    kind == ACCESS_TOKEN || kind == JWT
}

/// A token of the request; `None` if there is none. Whatever is wrong with it is `invalid_request` (section 2.2.2).
fn shown(context: &GrantContext<'_>, name: &'static str, kind: &'static str) -> Result<Option<Shown>, OAuthError> {
    let form = context.form;
    let Some(token) = form.text(name) else {
        // A type without its token is refused: something was left out (section 2.1).
        return if form.text(kind).is_some() && name == "actor_token" {
            Err(OAuthError::MissingParameter(name))
        } else {
            Ok(None)
        };
    };
    let stated = form.text(kind).ok_or(OAuthError::MissingParameter(kind))?;
    if !is_access_token(stated) {
        return Err(P::TokenType.into());
    }
    let endpoint = minted_by(context, token).ok_or(P::Token)?;
    let token = living::access_token(context.issuer, context.snapshot, &endpoint, token).ok_or(P::Token)?;
    Ok(Some(Shown { token, endpoint }))
}

/// The server that says to have minted the token: this one, or one whose tokens may be exchanged here.
fn minted_by(context: &GrantContext<'_>, token: &str) -> Option<Arc<Endpoint>> {
    let unverified = Unverified::parse(token).ok()?;
    let issuer = unverified.issuer()?;
    let server = &context.endpoint.server;
    let associated = server
        .options
        .associated_servers
        .iter()
        .map(|associated| &associated.value);
    let mut candidates = std::iter::once(&server.id).chain(associated);
    candidates.find_map(|id| {
        let endpoint = context.snapshot.endpoint(id.as_str())?;
        (endpoint.issuer.as_str() == issuer).then_some(endpoint)
    })
}

/// Whether this client may exchange this token.
fn may_exchange(context: &GrantContext<'_>, subject: &Shown, actor: Option<&Shown>) -> Result<(), OAuthError> {
    let client = context.client.client();
    // Whose token an actor shows is no proof of who it is: it has to be its own.
    if actor.is_some_and(|actor| *actor.token.client() != client.id) {
        return Err(P::Actor.into());
    }
    let claims = &subject.token.claims().members;
    let is_own = *subject.token.client() == client.id;
    if is_own && let Some(bound) = claims.get("cnf") {
        let proven = context.binding.map(|binding| binding.confirmation());
        if proven.as_ref().map(ValueRef::from) != Some(bound) {
            return Err(GrantFailure::KeyMismatch.into());
        }
    }
    if let Some(may_act) = claims.get("may_act") {
        return if names(&may_act.to_json(), context, actor) {
            Ok(())
        } else {
            Err(P::MayNotAct.into())
        };
    }
    let was_shown_to_it = subject
        .token
        .audiences()
        .iter()
        .any(|audience| client.serves_audience(audience));
    if is_own || was_shown_to_it {
        Ok(())
    } else {
        Err(P::OtherClient.into())
    }
}

/// Whether `may_act` (section 4.4) names who acts: all that it says must hold, and it must say somebody.
fn names(may_act: &Value, context: &GrantContext<'_>, actor: Option<&Shown>) -> bool {
    let (subject, issuer) = acting_party(context, actor);
    let Some(members) = may_act.as_object() else {
        return false;
    };
    members.contains_key("sub")
        && members.iter().all(|(name, value)| match name.as_str() {
            "sub" => value == subject,
            "iss" => value == issuer,
            "client_id" => value == context.client.client().id.as_str(),
            _ => false,
        })
}

/// Who acts: the subject of the actor's token, or the client that asks.
fn acting_party<'c>(context: &'c GrantContext<'_>, actor: Option<&'c Shown>) -> (&'c str, &'c str) {
    match actor {
        Some(actor) => {
            let subject = actor.token.claims().members.text("sub").unwrap_or_default();
            (subject, actor.endpoint.issuer.as_str())
        }
        None => (context.client.client().id.as_str(), context.endpoint.issuer.as_str()),
    }
}

/// The chain of those who act, the one who acts now first; `None` if nobody acts for the subject.
fn acting(context: &GrantContext<'_>, subject: &Shown, actor: Option<&Shown>) -> Result<Option<Value>, OAuthError> {
    let before = subject.token.claims().members.get("act").map(ValueRef::to_json);
    let is_own = *subject.token.client() == context.client.client().id;
    let act = if is_own && actor.is_none() {
        before
    } else {
        let (acting, _) = acting_party(context, actor);
        let mut act = json!({ "sub": acting });
        if let Some(before) = before {
            act["act"] = before;
        }
        Some(act)
    };
    let most = context.endpoint.server.options.actors_max;
    let most = most.map_or(ACTORS_MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let chain = std::iter::successors(act.as_ref(), |act| act.get("act"));
    if chain.take(most.saturating_add(1)).count() > most {
        return Err(P::TooManyActors.into());
    }
    Ok(act)
}

async fn person(context: &GrantContext<'_>, subject: &Shown) -> Result<Person, OAuthError> {
    let user = subject.token.claims().members.text("uid").ok_or(P::NoUser)?;
    let user = UserId::parse(user).map_err(|_| P::Token)?;
    let person = people::by_id(context.issuer, context.snapshot, &user).await?;
    person.ok_or_else(|| GrantFailure::UserGone.into())
}

/// The scopes that are asked for. Of this server's own tokens never one more than the token has; if none is named,
/// those of the token that are the server's own.
fn scopes(context: &GrantContext<'_>, subject: &Shown) -> Result<Option<ScopeSet>, OAuthError> {
    let requested = requested_scopes(context.form)?;
    if subject.endpoint.server.id != context.endpoint.server.id {
        return Ok(requested);
    }
    let held = ScopeSet::parse(&subject.token.scope()).map_err(|_| P::Token)?;
    let held = Held {
        began_by: None,
        scopes: Some(&held),
    };
    held.exchanged_scopes(requested)
}

/// The sign-in that the subject's token came from: what comes of it dies with it.
struct Session {
    id: GrantId,
    auth_time: Timestamp,
    amr: Vec<String>,
    acr: Option<String>,
}

impl Session {
    fn of(token: &LivingToken) -> Result<Self, OAuthError> {
        let claims = &token.claims().members;
        let id = claims.text("sid").ok_or(P::NoUser)?;
        let methods = claims.get("amr").and_then(ValueRef::as_array).unwrap_or_default();
        let auth_time = claims.get("auth_time").and_then(ValueRef::whole_number).unwrap_or(0);
        Ok(Self {
            id: GrantId::parse(id).map_err(|_| P::Token)?,
            auth_time: Timestamp::from_unix_seconds(auth_time),
            amr: methods.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            acr: claims.text("acr").map(str::to_owned),
        })
    }

    fn of_token(&self) -> TokenSession<'_> {
        TokenSession {
            id: &self.id,
            auth_time: self.auth_time,
            amr: &self.amr,
            acr: self.acr.as_deref(),
        }
    }
}
