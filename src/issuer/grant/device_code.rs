//! RFC 8628: a device that has no browser asks, and a person answers elsewhere.
//!
//! [`Issuer::authorize_device`] begins, the device polls, [`Issuer::answer_device`] is for the page on which
//! the person answers. Each step repeats the state that it was decided upon, so that no poll undoes an
//! answer; the last one uses the code and keeps the grant in one transaction.

use serde_json::{Value, json};

use crate::entropy;
use crate::issuer::authenticate::authenticate;
use crate::issuer::grant::person::Opening;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::{Endpoint, Failure, FormRequest, Issuer, Note, Snapshot, TokenAnswer, people};
use crate::model::digest::Digest;
use crate::model::scope::{Scope, ScopeSet};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::access::{AccessDenial, OIDC_SCOPES};
use crate::oauth::authorization::{Approval, CODE_BYTES, Code};
use crate::oauth::device::{
    DEVICE_CODE_LIFETIME, Device, DeviceRequest, POLL_INTERVAL, Waiting, normalise_user_code, user_code,
};
use crate::oauth::error::{DeviceProblem, GrantFailure, OAuthError};
use crate::oauth::grant::GrantType;
use crate::oauth::held::denied;
use crate::oauth::resource;
use crate::store::Changed;
use crate::store::grants::{OneTime, OneTimeKind, Used};

/// The answer of the device authorization endpoint (RFC 8628 section 3.2).
#[derive(Debug)]
pub struct DeviceAnswer {
    /// What the device polls with.
    pub device_code: Secret<String>,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// For how many seconds.
    pub expires_in_seconds: u64,
    /// How many seconds the device waits between two requests.
    pub interval_seconds: u64,
}

/// How often an answer is tried when the device polls in between.
const ATTEMPTS_MAX: usize = 5;

impl Issuer {
    /// Answers a device authorization request (RFC 8628 section 3.1).
    ///
    /// # Errors
    /// [`Failure`] with what the client may be told, and an id for the rest.
    pub async fn authorize_device(&self, server: &str, request: &FormRequest<'_>) -> Result<DeviceAnswer, Failure> {
        let snapshot = self.snapshot.load_full();
        let mut note = Note::new(server);
        note.grant = GrantType::DeviceCode.as_str();
        let outcome = match snapshot.endpoint(server) {
            Some(endpoint) => begin(self, &snapshot, &endpoint, request, &mut note).await,
            None => Err(AccessDenial::UnknownServer.into()),
        };
        outcome.map_err(|error| self.fail(error, request, note))
    }

    /// What the device behind a user code asks for; nothing if there is no such code, or it is answered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device_request(&self, typed: &str) -> Result<Option<DeviceRequest>, OAuthError> {
        let waiting = self.waiting_device(typed).await?;
        Ok(waiting.map(|(_, _, waiting)| waiting.request().clone()))
    }

    /// The person answers: an approval, or `None` for a refusal. Gives whether there was something to answer.
    ///
    /// # Errors
    /// When the store fails, or the approval has more than was asked for.
    pub async fn answer_device(&self, typed: &str, approval: Option<&Approval>) -> Result<bool, OAuthError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some((digest, payload, waiting)) = self.waiting_device(typed).await? else {
                return Ok(false);
            };
            let next = match approval {
                Some(approval) => waiting.approve(approval.clone()).map_err(OAuthError::internal)?,
                None => waiting.reject(),
            };
            let store = &self.services.store.store;
            let changed = store
                .change_one_time(OneTimeKind::DeviceCode, &digest, &payload, &next.to_payload())
                .await;
            if changed.map_err(OAuthError::internal)? == Changed::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn waiting_device(&self, typed: &str) -> Result<Option<(Digest, Value, Waiting)>, OAuthError> {
        let Some(code) = normalise_user_code(typed) else {
            return Ok(None);
        };
        let store = &self.services.store.store;
        let name = self.user_code_digest(&code);
        let known = store.one_time(OneTimeKind::UserCode, &name).await;
        let Some(known) = known.map_err(OAuthError::internal)? else {
            return Ok(None);
        };
        let Some(digest) = known.payload.as_str().and_then(Digest::from_base64url) else {
            return Err(OAuthError::internal("the store holds a user code that cannot be read"));
        };
        let thing = store.one_time(OneTimeKind::DeviceCode, &digest).await;
        let now = self.services.clock.now();
        let thing = thing
            .map_err(OAuthError::internal)?
            .filter(|thing| thing.used_by.is_none() && now < thing.expires_at);
        let waiting = thing.and_then(|thing| match Device::read(&thing.payload) {
            Some(Device::Waiting(waiting)) => Some((digest, thing.payload, waiting)),
            _ => None,
        });
        Ok(waiting)
    }

    /// A user code is short: a plain digest of it in a dump could be searched for.
    fn user_code_digest(&self, code: &str) -> Digest {
        Digest::from_bytes(self.services.store.sealing.mac("user code", code.as_bytes()))
    }
}

async fn begin(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    request: &FormRequest<'_>,
    note: &mut Note,
) -> Result<DeviceAnswer, OAuthError> {
    let form = request.form()?;
    let client = authenticate(issuer, snapshot, endpoint, request, &form, note).await?;
    if !client.client().grants.contains(&GrantType::DeviceCode) {
        return Err(OAuthError::GrantNotAllowed(GrantType::DeviceCode.as_str()));
    }
    let scopes = requested_scopes(&form)?;
    known_scopes(endpoint, scopes.as_ref())?;
    let named = form.texts("resource").next().is_some();
    let chosen = resource::choose(&endpoint.server, &[], form.texts("resource"))?;
    let waiting = Waiting::new(DeviceRequest {
        server: endpoint.server.id.clone(),
        client: client.client().id.clone(),
        scopes,
        resources: if named { chosen } else { Vec::new() },
    });
    let code = Code::new(entropy::random_text::<CODE_BYTES>());
    let typed = fresh_user_code();
    let expires_at = issuer.services.clock.now().plus(DEVICE_CODE_LIFETIME);
    let thing = |kind, digest, payload| OneTime {
        kind,
        digest,
        expires_at,
        payload,
        used_by: None,
    };
    let plain = normalise_user_code(&typed).unwrap_or_default();
    let of_person = thing(
        OneTimeKind::UserCode,
        issuer.user_code_digest(&plain),
        json!(code.digest().to_base64url()),
    );
    let of_device = thing(
        OneTimeKind::DeviceCode,
        code.digest(),
        Device::Waiting(waiting).to_payload(),
    );
    for thing in [&of_device, &of_person] {
        let kept = issuer.services.store.store.put_one_time(thing).await;
        kept.map_err(OAuthError::internal)?;
    }
    Ok(DeviceAnswer {
        device_code: code.text().clone(),
        user_code: typed,
        verification_uri: format!("{}/activate", snapshot.public_url.as_str().trim_end_matches('/')),
        expires_in_seconds: DEVICE_CODE_LIFETIME.as_secs(),
        interval_seconds: POLL_INTERVAL.as_secs(),
    })
}

fn fresh_user_code() -> String {
    loop {
        if let Some(code) = user_code(&entropy::random_bytes::<32>()) {
            return code;
        }
    }
}

/// A scope that does not exist is said at once, not after a person has answered.
fn known_scopes(endpoint: &Endpoint, scopes: Option<&ScopeSet>) -> Result<(), OAuthError> {
    let is_unknown =
        |scope: &&Scope| !endpoint.server.scopes.contains_key(*scope) && !OIDC_SCOPES.contains(&scope.as_str());
    let unknown: ScopeSet = scopes.into_iter().flatten().filter(is_unknown).cloned().collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(AccessDenial::UnknownScope(unknown).into())
    }
}

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::DeviceCode)?;
        let now = context.issuer.services.clock.now();
        let text = context.form.value("device_code");
        let text = text.ok_or(OAuthError::MissingParameter("device_code"))?;
        let digest = Code::shown(text).ok_or(GrantFailure::UnknownDeviceCode)?.digest();
        let store = &context.issuer.services.store.store;
        let thing = store.one_time(OneTimeKind::DeviceCode, &digest).await;
        let thing = thing
            .map_err(OAuthError::internal)?
            .ok_or(GrantFailure::UnknownDeviceCode)?;
        let device = Device::read(&thing.payload)
            .ok_or_else(|| OAuthError::internal("the store holds a device code that cannot be read"))?;
        let request = device.request();
        // A stranger learns nothing, and ends nothing.
        if request.client != context.client.client().id || request.server != context.endpoint.server.id {
            return Err(GrantFailure::UnknownDeviceCode.into());
        }
        if thing.used_by.is_some() {
            return Err(GrantFailure::DeviceCodeUsed.into());
        }
        if now >= thing.expires_at {
            return Err(DeviceProblem::Expired.into());
        }
        match device {
            Device::Waiting(waiting) => {
                let (next, told) = waiting.poll(now);
                let next = Device::Waiting(next).to_payload();
                let kind = OneTimeKind::DeviceCode;
                let changed = store.change_one_time(kind, &digest, &thing.payload, &next).await;
                // Overtaken: the person has answered meanwhile, and the next poll will tell.
                let _changed = changed.map_err(OAuthError::internal)?;
                Err(told.into())
            }
            Device::Rejected(_) => Err(DeviceProblem::Refused.into()),
            Device::Approved(request, approval) => redeem(context, &digest, &request, &approval, now, note).await,
        }
    })
}

async fn redeem(
    context: &GrantContext<'_>,
    digest: &Digest,
    request: &DeviceRequest,
    approval: &Approval,
    now: Timestamp,
    note: &mut Note,
) -> Result<TokenAnswer, OAuthError> {
    let person = people::by_id(context.issuer, context.snapshot, &approval.user).await?;
    let person = person.ok_or(GrantFailure::UserGone)?;
    let opening = Opening {
        grant: GrantType::DeviceCode,
        person: &person,
        scopes: Some(&approval.scopes),
        resources: Some(&request.resources),
        auth_time: approval.auth_time,
        amr: &approval.amr,
        acr: approval.acr.as_deref(),
        nonce: None,
        now,
    };
    let opened = opening.decide(context, note).map_err(denied)?;
    note.set("grant_id", json!(opened.id.as_str()));
    let answer = opening.answer(context, &opened)?;
    let store = &context.issuer.services.store.store;
    let used = store
        .use_one_time(OneTimeKind::DeviceCode, digest, &opened.id, opened.record.as_ref())
        .await;
    match used.map_err(OAuthError::internal)? {
        Used::First(_) => Ok(answer),
        Used::Again(_) => Err(GrantFailure::DeviceCodeUsed.into()),
        Used::Unknown => Err(GrantFailure::UnknownDeviceCode.into()),
    }
}
