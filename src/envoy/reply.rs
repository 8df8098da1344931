//! Turns a decision into the bytes of a CheckResponse. This is the only builder of answers.
//!
//! - **A denial is always explicit** (attack D01, case D10): `status.code` is not 0, and the denied response carries its
//!   HTTP status. There is no way to write an answer without either a permit or a denial at hand, and no empty one.
//! - Every header says both `append: false` and `append_action: OVERWRITE_IF_EXISTS_OR_ADD`, since what an unset pair means
//!   has changed between releases of Envoy. In a denial, Envoy first removes each header that we name and then adds all of
//!   them, so a header that is named twice (two challenges) arrives twice.
//! - `headers_to_remove` never names a header that is set: Envoy would remove it again.
//! - A header value that could break out of its line never leaves: a permit that holds one becomes a denial.
//! - Nothing that the client sent is reflected in a denial (attack D26): its texts are constants, and the decision id ours.
//!   What exactly failed with a token is told to the log, never to the client (attack A42).
//! - Dynamic metadata has one shape, on allow and deny: `api`, `route`, `decision_id`, `outcome`, `reason`, `sub`,
//!   `client_id`, `scope`, `claims`, `truncated`. Claims lie under `claims`, so that none can take another key's place
//!   (attack D27), and only those of a fixed list which name no person ([`METADATA_CLAIMS`]).

use std::borrow::Cow;

use serde_json::Value;

use crate::envoy::wire::Message;
use crate::model::id::ClientId;
use crate::model::reason::Reason;
use crate::policy::caller::{TokenFacts, VerifiedToken};
use crate::policy::decision::{Decision, Denial, Permit, RouteRef};
use crate::policy::held::{Claim, Frequent};

/// The claims that go into the dynamic metadata, under `claims`: what access logs and RBAC rules ask for, and no personal data.
pub const METADATA_CLAIMS: [Frequent; 5] = [
    Frequent::Acr,
    Frequent::AuthTime,
    Frequent::Exp,
    Frequent::Iss,
    Frequent::Jti,
];

/// The most bytes of dynamic metadata. What does not fit is left out, and `truncated` says so.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of one header value: Envoy refuses more.
pub const HEADER_BYTES_MAX: usize = 16_384;

/// How the caller of the protected API wants its denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// A problem document (RFC 9457).
    #[default]
    Http,
    /// Headers alone: the request was HEAD.
    Head,
    /// A plain sentence, with `grpc-status` and `grpc-message`.
    Grpc,
}

/// A decision that can be sent as it is: its headers were checked.
#[derive(Debug)]
#[must_use]
pub struct Sendable(Decision);

impl Sendable {
    /// Checks the headers of a permit. One that cannot be carried turns the permit into a denial: a header that the
    /// upstream relies on is not silently left out.
    pub fn new(decision: Decision) -> Self {
        match decision {
            Decision::Allow(permit) if !carriable(&permit) => {
                let mut denial =
                    Denial::because(Reason::UnforwardableClaim, "a header of the permit cannot be carried");
                denial.route = Some(permit.route().clone());
                denial.caller = permit.caller().cloned();
                Self(Decision::Deny(denial))
            }
            decision => Self(decision),
        }
    }

    /// The decision.
    pub fn decision(&self) -> &Decision {
        &self.0
    }

    /// Appends the encoded CheckResponse to `out`.
    pub fn encode(&self, decision_id: &str, audience: Audience, out: &mut Vec<u8>) {
        let mut response = Message(out);
        match &self.0 {
            Decision::Allow(permit) => {
                // An empty status is code 0, OK; the permit is what makes this an allow.
                response.message(1, |_| {});
                response.message(3, |ok| allow(ok, permit));
                response.message(4, |metadata| allowed_metadata(metadata, permit, decision_id));
            }
            Decision::Deny(denial) => {
                response.message(1, |status| {
                    status.number(1, grpc_code(denial.status()));
                    status.text(2, word(denial));
                });
                response.message(2, |denied| deny(denied, denial, decision_id, audience));
                response.message(4, |metadata| denied_metadata(metadata, denial, decision_id));
            }
        }
    }
}

/// Whether every header of the permit can stand in a header line.
fn carriable(permit: &Permit) -> bool {
    permit
        .headers()
        .iter()
        .all(|(name, value)| is_name(name) && is_value(value))
        && permit
            .response_headers()
            .iter()
            .all(|(name, value)| is_name(name) && is_value(value))
}

/// A header name that we may set: lower case, no pseudo-header.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}

/// Printable ASCII: what every server reads alike.
fn is_value(value: &str) -> bool {
    value.len() <= HEADER_BYTES_MAX && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

// === allow ===

fn allow(ok: &mut Message<'_>, permit: &Permit) {
    for (name, value) in permit.headers() {
        header(ok, 2, name, value);
    }
    // INVARIANT: none of these names is ever set, which `Forward::new` holds: Envoy would remove what it has just set.
    let always = permit.always_removed();
    ok.0.extend_from_slice(always.written().once(|out| {
        for name in always.names() {
            Message(out).text(5, name);
        }
    }));
    let is_set = |name: &str| permit.headers().iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
    for name in permit.also_removed() {
        if !is_set(name) {
            ok.text(5, name);
        }
    }
    for (name, value) in permit.response_headers() {
        header(ok, 6, name, value);
    }
}

/// A `HeaderValueOption` that overwrites.
fn header(message: &mut Message<'_>, number: u8, name: &str, value: &str) {
    message.message(number, |option| {
        option.pair(1, name, value);
        // `append`: a BoolValue that is there, and false.
        option.message(2, |_| {});
        option.number(3, 2);
    });
}

// === deny ===

fn deny(denied: &mut Message<'_>, denial: &Denial, decision_id: &str, audience: Audience) {
    let status = denial.status();
    denied.message(1, |http| http.number(1, u64::from(status)));
    // A hidden route answers as one that is not there: no challenge gives it away.
    if !denial.is_hidden() {
        for challenge in denial.challenges.iter().filter(|challenge| is_value(challenge)) {
            header(denied, 2, "www-authenticate", challenge);
        }
    }
    for (name, value) in &denial.headers {
        if is_value(value) {
            header(denied, 2, &lower(name), value);
        }
    }
    let says_when = denial
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
    if status == 503 && !says_when {
        header(denied, 2, "retry-after", "1");
    }
    header(denied, 2, "cache-control", "no-store");
    match audience {
        Audience::Http => {
            header(denied, 2, "content-type", "application/problem+json");
            denied.parts(
                3,
                &[
                    "{\"title\":\"",
                    title(status),
                    "\",\"status\":",
                    &status.to_string(),
                    ",\"detail\":\"",
                    sentence(denial),
                    "\",\"reason\":\"",
                    word(denial),
                    "\",\"decision_id\":\"",
                    decision_id,
                    "\"}",
                ],
            );
        }
        Audience::Head => header(denied, 2, "content-type", "application/problem+json"),
        Audience::Grpc => {
            header(denied, 2, "grpc-status", &grpc_code(status).to_string());
            header(denied, 2, "grpc-message", sentence(denial));
            denied.text(3, sentence(denial));
        }
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The gRPC code that goes with an HTTP status of a denial: never 0. Envoy's own mapping for 401 and 403, gRPC's for the rest.
pub fn grpc_code(http_status: u16) -> u64 {
    match http_status {
        400 => 3,
        401 => 16,
        404 => 12,
        503 => 14,
        _ => 7,
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        421 => "Misdirected Request",
        503 => "Service Unavailable",
        _ => "Forbidden",
    }
}

/// The reason's word for the client. A hidden API says the same whatever the reason (case D09).
fn word(denial: &Denial) -> &'static str {
    if denial.is_hidden() {
        Reason::NoRoute.as_str()
    } else {
        denial.reason().as_str()
    }
}

/// What the client is told, in plain ASCII without quotes: it stands in JSON and in `grpc-message` as it is.
fn sentence(denial: &Denial) -> &'static str {
    if denial.is_hidden() {
        return "there is nothing here";
    }
    match denial.reason() {
        Reason::MissingToken => "an access token is needed",
        Reason::InvalidToken => "the access token is not valid here",
        Reason::InvalidRequest => "the request does not present its credential in the one way that is accepted",
        Reason::InsufficientScope => "the access token lacks a scope that is needed",
        Reason::ClientNotAllowed => "this client may not call this API",
        Reason::ConditionFailed => "a condition of this operation does not hold",
        Reason::InsufficientUserAuthentication => "the user must sign in again, or more strongly",
        Reason::InvalidDpopProof => "the DPoP proof is missing or not valid",
        Reason::UseDpopNonce => "the DPoP proof must carry the nonce of this answer",
        Reason::NoRoute => "nothing is offered here",
        Reason::RouteDenies => "this operation is closed",
        Reason::AmbiguousPath => "the path can be read in more than one way",
        Reason::MisdirectedRequest => "the host is not the one that the connection was made for",
        Reason::MalformedCheck => "the request cannot be read",
        Reason::UnforwardableClaim => "the identity in the access token cannot be handed on",
        Reason::Unavailable => "what is needed to check the access token is not to be had just now",
        Reason::Overloaded => "too many requests are being checked just now",
        Reason::Timeout => "the check took too long",
        Reason::Internal => "the check failed by a fault of ours",
    }
}

// === dynamic metadata ===

fn allowed_metadata(metadata: &mut Message<'_>, permit: &Permit, decision_id: &str) {
    let start = metadata.0.len();
    let route = permit.route();
    metadata.0.extend_from_slice(route.allowed.once(|out| {
        outcome(&mut Message(out), Some(route), "allow", "");
    }));
    particulars(metadata, start, decision_id, permit.caller().map(|caller| &**caller));
}

fn denied_metadata(metadata: &mut Message<'_>, denial: &Denial, decision_id: &str) {
    let start = metadata.0.len();
    outcome(metadata, denial.route.as_deref(), "deny", denial.reason().as_str());
    particulars(metadata, start, decision_id, denial.caller.as_deref());
}

/// What was decided, and where.
fn outcome(metadata: &mut Message<'_>, route: Option<&RouteRef>, outcome: &'static str, reason: &'static str) {
    // One by one: with a key that is known when it is compiled, an entry's head is a few stores.
    metadata.text_entry("api", route.map_or("", |route| route.api.as_str()));
    metadata.text_entry("route", route.map_or("", |route| route.name.as_str()));
    metadata.text_entry("outcome", outcome);
    metadata.text_entry("reason", reason);
}

/// What differs from check to check. The metadata begin at `start`.
fn particulars(metadata: &mut Message<'_>, start: usize, decision_id: &str, caller: Option<&VerifiedToken>) {
    let facts = caller.map(VerifiedToken::facts);
    let subject = facts.and_then(TokenFacts::subject);
    let client = facts.and_then(TokenFacts::client);
    metadata.text_entry("decision_id", decision_id);
    metadata.text_entry("sub", subject.unwrap_or_default());
    metadata.text_entry("client_id", client.map_or("", ClientId::as_str));
    // Identifiers have at most 1 KiB each, so that up to here nothing can overflow.
    let mut budget = Budget {
        end: start + METADATA_BYTES_MAX - RESERVE,
        truncated: false,
    };
    let scope = match facts.and_then(|facts| facts.claims().frequent(Frequent::Scope)) {
        Some(Claim::Text(scope)) => scope,
        _ => "",
    };
    let scope = if budget.takes(metadata, scope.len()) { scope } else { "" };
    metadata.text_entry("scope", scope);
    entry(metadata, "claims", |value| {
        value.message(5, |claims| {
            for claim in METADATA_CLAIMS {
                let name = claim.name();
                let Some(claim) = facts.and_then(|facts| facts.claims().frequent(claim)) else {
                    continue;
                };
                match claim {
                    Claim::Text(text) => {
                        if budget.takes(claims, FRAME + text.len()) {
                            claims.text_entry(name, text);
                        }
                    }
                    Claim::Json(claim) => {
                        if budget.takes(claims, weight(&claim)) {
                            entry(claims, name, |value| json(value, &claim));
                        }
                    }
                }
            }
        });
    });
    entry(metadata, "truncated", |value| {
        value.number(4, u64::from(budget.truncated));
    });
}

/// Bytes kept for keys, lengths and the last entries.
const RESERVE: usize = 256;

/// How much may still be written.
struct Budget {
    end: usize,
    truncated: bool,
}

impl Budget {
    fn takes(&mut self, message: &Message<'_>, bytes: usize) -> bool {
        let fits = message.0.len() + bytes <= self.end;
        self.truncated |= !fits;
        fits
    }
}

/// One entry of a `Struct`: the key as 1, the `Value` as 2.
fn entry(fields: &mut Message<'_>, key: &str, write: impl FnOnce(&mut Message<'_>)) {
    fields.message(1, |entry| {
        entry.text(1, key);
        entry.message(2, write);
    });
}

/// A claim as a `Value`. A whole number that a double cannot hold is written as text (case I13).
fn json(message: &mut Message<'_>, value: &Value) {
    const EXACT: i64 = 1 << 53;
    match value {
        Value::Null => message.number(1, 0),
        Value::Bool(value) => message.number(4, u64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), Some(double)) if (-EXACT..=EXACT).contains(&whole) => message.double(2, double),
            (None, Some(double)) if number.is_f64() && double.is_finite() => message.double(2, double),
            _ => message.parts(3, &[&number.to_string()]),
        },
        Value::String(text) => message.parts(3, &[text]),
        Value::Array(values) => message.message(6, |list| {
            for value in values {
                list.message(1, |item| json(item, value));
            }
        }),
        Value::Object(members) => message.message(5, |fields| {
            for (name, member) in members {
                entry(fields, name, |value| json(value, member));
            }
        }),
    }
}

/// What a value takes beside its text.
const FRAME: usize = 16;

/// At least as many bytes as [`json`] writes for this claim. `serde_json` bounds the nesting to 128.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => FRAME,
        Value::Number(number) if number.is_f64() => FRAME,
        Value::Number(_) => FRAME + 24,
        Value::String(text) => FRAME + text.len(),
        Value::Array(values) => FRAME + values.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            FRAME
                + members
                    .iter()
                    .map(|(name, member)| FRAME + name.len() + weight(member))
                    .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests;
