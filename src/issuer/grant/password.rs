//! RFC 6749 section 4.3, legacy (RFC 9700 section 2.4): only for a client that is given it by name.
//!
//! - Attempts are counted in the store *before* the password is looked at, under the login and under the
//!   client and the login: a hundred guesses at once are a hundred guesses, on whatever node (attack
//!   F40). Beyond the limit nothing is verified, and a right password is refused too.
//! - An unknown user, a wrong password and a user who is not active are told alike, and take as long
//!   (case 086). What is counted under is a keyed digest: the store does not say who was guessed at.
//! - There is nobody to ask for consent: a scope that needs it is refused.

use std::time::Duration;

use serde_json::json;

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::issuer::grant::person::Opening;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::people::Person;
use crate::issuer::{Note, people};
use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::oauth::error::{OAuthError, PasswordFailure};
use crate::oauth::grant::GrantType;

/// How many attempts may fail, one after the other.
const FAILURES_MAX: u32 = 10;

/// For how long failures count after the last one of them.
const FAILURES_WINDOW: Duration = Duration::from_secs(15 * 60);

/// The longest login that is looked at, in bytes.
const LOGIN_BYTES_MAX: usize = 256;

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::Password)?;
        let now = context.issuer.services.clock.now();
        let form = context.form;
        let login = form.text("username").ok_or(OAuthError::MissingParameter("username"))?;
        let scopes = requested_scopes(form)?;
        let person = sign_in(context, login, now).await?;
        let amr = ["pwd".to_owned()];
        let opening = Opening {
            grant: GrantType::Password,
            person: &person,
            scopes: scopes.as_ref(),
            resources: None,
            auth_time: now,
            amr: &amr,
            acr: None,
            nonce: None,
            now,
        };
        let opened = opening.decide(context, note)?;
        context.ask_nobody(&opened.granted)?;
        let answer = opening.answer(context, &opened)?;
        if let Some(record) = &opened.record {
            note.set("grant_id", json!(opened.id.as_str()));
            let kept = context.issuer.services.store.store.insert_grant(record).await;
            kept.map_err(OAuthError::internal)?;
        }
        Ok(answer)
    })
}

/// Who this login and password are, if they are anybody's.
async fn sign_in(context: &GrantContext<'_>, login: &str, now: Timestamp) -> Result<Person, OAuthError> {
    let password = context.form.value("password");
    let password = password.ok_or(OAuthError::MissingParameter("password"))?;
    if login.len() > LOGIN_BYTES_MAX {
        return Err(PasswordFailure::UnknownUser.into());
    }
    let counted = count(context, login, now).await?;
    let person = people::by_login(context.issuer, context.snapshot, login).await?;
    let kept = person.as_ref().map(|person| &person.password);
    let matches = context.issuer.passwords.verify(kept, password).await?;
    let failure = match person {
        None => PasswordFailure::UnknownUser,
        Some(_) if !matches => PasswordFailure::WrongPassword,
        Some(person) if !person.active => PasswordFailure::NotActive,
        Some(person) => {
            for key in &counted {
                let cleared = context.issuer.services.store.store.clear_failures(key).await;
                cleared.map_err(OAuthError::internal)?;
            }
            return Ok(person);
        }
    };
    Err(failure.into())
}

/// Counts an attempt as failed until it is known that it is not; refuses it if there were too many.
async fn count(context: &GrantContext<'_>, login: &str, now: Timestamp) -> Result<[Digest; 2], OAuthError> {
    let store = &context.issuer.services.store.store;
    let keys = keys(context, login);
    // Who is locked out already is not counted on: the lock ends some time after the last guess that was.
    for key in &keys {
        let failures = store.failures(key, now, FAILURES_WINDOW).await;
        if failures.map_err(OAuthError::internal)?.count >= FAILURES_MAX {
            return Err(PasswordFailure::Locked.into());
        }
    }
    let mut is_locked = false;
    for key in &keys {
        let failures = store.count_failure(key, now, FAILURES_WINDOW).await;
        let count = failures.map_err(OAuthError::internal)?.count;
        if count == FAILURES_MAX {
            report_lock(context, login, now);
        }
        is_locked |= count > FAILURES_MAX;
    }
    if is_locked {
        return Err(PasswordFailure::Locked.into());
    }
    Ok(keys)
}

/// What attempts are counted under: the login, and the login at this client.
fn keys(context: &GrantContext<'_>, login: &str) -> [Digest; 2] {
    let login = login.to_lowercase();
    let client = &context.client.client().id;
    let key = |name: serde_json::Value| {
        let sealing = &context.issuer.services.store.sealing;
        Digest::from_bytes(sealing.mac("failed sign-in", name.to_string().as_bytes()))
    };
    [key(json!([login])), key(json!([login, client.as_str()]))]
}

fn report_lock(context: &GrantContext<'_>, login: &str, now: Timestamp) {
    context.issuer.services.audit.record(AuditEvent {
        at: now,
        kind: AuditKind::UserLocked,
        server: Some(context.endpoint.server.id.clone()),
        client: Some(context.client.client().id.clone()),
        error_id: None,
        actor: None,
        target: Some(AuditTarget {
            kind: "User".to_owned(),
            id: login.to_owned(),
        }),
        detail: json!({ "failures": FAILURES_MAX, "seconds": FAILURES_WINDOW.as_secs() }),
    });
}
