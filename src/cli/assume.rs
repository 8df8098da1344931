//! What `explain` and `test` share: a request and a token on the operator's word, a decision in JSON.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use url::Url;

use crate::config::Settings;
use crate::config::cases::{CaseToken, RequestLine};
use crate::jose::json::{Limits, map};
use crate::model::id::AuthorizationServerId;
use crate::model::time::Timestamp;
use crate::oauth::declared::TokenProfile;
use crate::oauth::metadata::issuer_of;
use crate::policy::decision::Decision;
use crate::policy::facts::{Header, RequestFacts};
use crate::trust::settings::{ManagedReference, ManagedServer, TrustedServerSettings};

/// The facts of a request as Envoy would send them.
pub(crate) fn facts<'a>(line: &'a RequestLine, headers: &'a [(String, String)]) -> RequestFacts<'a> {
    let mut facts = RequestFacts {
        method: &line.method,
        scheme: &line.scheme,
        host: &line.host,
        target: &line.target,
        request_id: "explain",
        ..RequestFacts::default()
    };
    let header = |(name, value): &'a (String, String)| Header {
        name,
        value: value.as_bytes(),
    };
    facts.headers.extend(headers.iter().map(header));
    facts
}

/// The claims of a compact token, without verifying it.
pub(crate) fn claims_of(token: &str) -> anyhow::Result<Map<String, Value>> {
    let mut parts = token.trim().split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        bail!("it is no compact JWS of three parts; for an opaque token say its claims with --claims");
    };
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .context("its second part is not base64url")?;
    map(&payload, Limits::TOKEN).context("its second part")
}

/// The authorization servers that an assumed token may be of. One that is managed over the API is not in the file: of
/// it, the issuer (below our own URL) and the audience are taken as the claims say them.
pub(crate) fn servers(settings: &Settings, claims: Option<&Map<String, Value>>) -> Vec<TrustedServerSettings> {
    let text = |name: &str| claims?.get(name)?.as_str();
    let audience = match claims.and_then(|claims| claims.get("aud")) {
        Some(Value::Array(several)) => several.first().and_then(Value::as_str),
        Some(one) => one.as_str(),
        None => None,
    };
    let managed = settings.managed.iter().map(|managed| {
        let said = text("iss").and_then(|iss| named_in(settings, &managed.public_url, iss));
        let id = match &managed.reference {
            ManagedReference::Id(id) => id.clone(),
            ManagedReference::Name(_) => said.unwrap_or_else(|| managed.id.clone()),
        };
        managed.trusted(ManagedServer {
            issuer: issuer_of(&managed.public_url, &id),
            audience: audience.unwrap_or(managed.id.as_str()).to_owned(),
            id,
        })
    });
    settings.trust.iter().cloned().chain(managed).collect()
}

/// The server of ours that an `iss` names, unless it is one of the file's.
fn named_in(settings: &Settings, public_url: &Url, iss: &str) -> Option<AuthorizationServerId> {
    let base = public_url.as_str().trim_end_matches('/');
    let id = iss.strip_prefix(base)?.strip_prefix("/oauth2/")?;
    let of_file = settings.trust.iter().any(|server| server.issuer.as_str() == iss);
    AuthorizationServerId::parse(id).ok().filter(|_| !of_file)
}

/// What has to be said where servers are managed over the API.
pub(crate) fn note(settings: &Settings) -> Option<String> {
    let names: Vec<&str> = settings.managed.iter().map(|server| server.id.as_str()).collect();
    let of = names.join("`, `");
    (!names.is_empty()).then(|| {
        format!("`{of}` is managed over the API, not here: its issuer, audience, clients and scopes are taken at the token's word")
    })
}

/// A case's token as its authorization server would mint it.
pub(crate) fn minted(
    token: &CaseToken,
    server: &TrustedServerSettings,
    profile: Option<TokenProfile>,
    now: Timestamp,
) -> Map<String, Value> {
    let mut claims = token.claims.clone();
    let mut say = |name: &str, value: Value| {
        claims.entry(name).or_insert(value);
    };
    say("iss", server.issuer.as_str().into());
    if let Some(audience) = server.audiences.first() {
        say("aud", audience.as_str().into());
    }
    let from_now = |seconds: i64| now.unix_seconds().saturating_add(seconds);
    say("exp", from_now(token.expires.unwrap_or(300)).into());
    if let Some(subject) = token.subject.as_ref().or(token.client.as_ref()) {
        say("sub", subject.as_str().into());
    }
    // A token that speaks for somebody says when that somebody signed in: just now, if the case does not say.
    if let Some(auth_time) = token.auth_time.or(token.subject.as_ref().map(|_| 0)) {
        say("auth_time", from_now(auth_time).into());
    }
    if let Some(client) = &token.client {
        let names: Vec<&str> = match profile {
            Some(TokenProfile::Okta) => vec!["cid"],
            Some(TokenProfile::Rfc9068) => vec!["client_id", "cid"],
            None => server
                .claim_names
                .client
                .first()
                .map(String::as_str)
                .into_iter()
                .collect(),
        };
        for name in names {
            say(name, client.as_str().into());
        }
    }
    if let Some(scope) = &token.scope {
        let list: Vec<&str> = scope.split(' ').filter(|part| !part.is_empty()).collect();
        match profile {
            Some(TokenProfile::Okta) => say("scp", json!(list)),
            Some(TokenProfile::Rfc9068) => say("scope", scope.as_str().into()),
            None => match server.claim_names.scope.first().map(String::as_str) {
                Some("scp") => say("scp", json!(list)),
                Some(name) => say(name, scope.as_str().into()),
                None => {}
            },
        }
    }
    claims
}

/// A decision as JSON.
pub(crate) fn told(decision: &Decision) -> Map<String, Value> {
    let told = match decision {
        Decision::Allow(permit) => json!({
            "allow": true,
            "status": 200,
            "api": permit.route().api.as_str(),
            "route": permit.route().name.as_str(),
            "headers": permit.headers().iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str())))
                .collect::<Map<_, _>>(),
            "headers_to_remove": permit.headers_to_remove().collect::<Vec<_>>(),
        }),
        Decision::Deny(denial) => json!({
            "allow": false,
            "status": denial.status(),
            "reason": denial.reason().as_str(),
            "detail": denial.detail,
            "api": denial.route.as_ref().map(|route| route.api.as_str()),
            "route": denial.route.as_ref().map(|route| route.name.as_str()),
            "missing": denial.missing.iter().map(super::super::model::scope::Scope::as_str).collect::<Vec<_>>(),
            "www_authenticate": denial.challenges,
        }),
    };
    match told {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::explain::{Assumed, explain};
    use crate::config::{self, source::System};
    use crate::oauth::access::Model;
    use crate::policy::compile::compile;
    use crate::policy::trace::Untraced;
    use crate::reach::{Reach, Way, reach};

    const FILE: &str = "public_url: https://id.example
listeners: { issuer: { tls: { certificate_file: a, key_file: b } } }
authorization_servers:
  - { id: orders, audience: orders }
  - { id: payments, managed: true }
apis:
  - name: payments
    hosts: [api.example]
    authorization_server: payments
    routes:
      - path: /payments
        GET: \"payments:read\"
";

    fn settings() -> Settings {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scopegate.yaml");
        std::fs::write(&path, FILE).expect("written");
        config::load(&path, &System).unwrap_or_else(|report| panic!("{report}"))
    }

    #[test]
    fn of_a_managed_server_the_tokens_word_is_taken_below_our_own_url_alone() {
        let settings = settings();
        assert!(note(&settings).is_some_and(|note| note.contains("`payments` is managed")));
        let policy = compile(&settings.policy).0.expect("compiles");
        let line = RequestLine::parse("GET https://api.example/payments").expect("a request");
        let allows = |claims: Value| {
            let claims = claims.as_object().expect("an object");
            let servers = servers(&settings, Some(claims));
            let assumed = Assumed::Token(claims.clone());
            let now = Timestamp::from_unix_seconds(1_800_000_000);
            let decision = explain(&policy, &servers, &facts(&line, &[]), &assumed, now, &mut Untraced);
            matches!(decision, Decision::Allow(_))
        };
        let scope = "payments:read";
        assert!(allows(json!({ "scope": scope })));
        assert!(allows(
            json!({ "scope": scope, "iss": "https://id.example/oauth2/aus1", "aud": ["any", "other"] })
        ));
        assert!(!allows(json!({ "scope": "payments:write" })));
        for iss in [
            "https://id.example/oauth2/orders",
            "https://elsewhere.example/oauth2/aus1",
            "https://id.example",
        ] {
            assert!(!allows(json!({ "scope": scope, "iss": iss })), "{iss}");
        }
    }

    #[test]
    fn who_reaches_a_route_of_a_managed_server_is_said_to_be_decided_there() {
        let rows = reach(&settings().policy, &Model::default());
        let [row] = rows.as_slice() else { panic!("one route") };
        let Reach::Ways(ways) = &row.reach else {
            panic!("by token")
        };
        let [
            Way::External {
                server,
                clients,
                scopes,
                managed: true,
            },
        ] = ways.as_slice()
        else {
            panic!("{ways:?}")
        };
        assert_eq!(
            (server.as_str(), scopes.to_string().as_str()),
            ("payments", "payments:read")
        );
        assert!(clients.is_none());
    }
}
