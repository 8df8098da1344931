//! Metadata into a document.

use serde_json::{Map, Value};
use url::Url;

use crate::jose::alg::Algorithm;
use crate::jose::key::VerifyingKey;
use crate::model::time::Timestamp;
use crate::oauth::declared::ClientKind;
use crate::oauth::document::{ClientDocument, KeyDocument, RotationDocument, Status};
use crate::oauth::grant::GrantType;
use crate::oauth::redirect;
use crate::oauth::registration::{KEYS_MAX, Mistake, Speaker, URIS_MAX, kind_of, response_types};

/// URLs that people are sent to or shown.
const URLS: [&str; 6] = [
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "initiate_login_uri",
    "frontchannel_logout_uri",
];

/// Texts that are kept for who reads them.
const TEXTS: [&str; 3] = ["software_id", "software_version", "issuer_mode"];

/// Members that would protect the client if they were honoured. They are refused unless they say nothing.
const NOT_HONOURED: [&str; 12] = [
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "introspection_signed_response_alg",
    "introspection_encrypted_response_alg",
    "request_object_signing_alg",
    "request_object_encryption_alg",
    "authorization_signed_response_alg",
    "sector_identifier_uri",
    "backchannel_token_delivery_mode",
];

/// Flags of the same sort: `false` says nothing.
const FLAGS_NOT_HONOURED: [&str; 2] = ["require_signed_request_object", "require_pushed_authorization_requests"];

/// What reading needs besides the metadata.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Who speaks.
    pub speaker: Speaker,
    /// The client as it is, if it is there already: what metadata does not say of it stays.
    pub previous: Option<&'a ClientDocument>,
    /// The time.
    pub now: Timestamp,
    /// Makes an identifier for a key.
    pub key_id: fn() -> String,
}

/// Reads metadata into a document. Members that are not there have their defaults, whatever the client said before
/// (RFC 7592 section 2.2); secrets, assignments and the status stay as they were.
///
/// # Errors
/// Each mistake.
pub fn read(metadata: &Map<String, Value>, reading: &Reading<'_>) -> Result<ClientDocument, Vec<Mistake>> {
    let mut reader = Reader {
        metadata,
        mistakes: Vec::new(),
    };
    let document = reader.document(reading);
    if reader.mistakes.is_empty() {
        Ok(document)
    } else {
        Err(reader.mistakes)
    }
}

struct Reader<'a> {
    metadata: &'a Map<String, Value>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn document(&mut self, reading: &Reading<'_>) -> ClientDocument {
        self.refuse_what_is_not_honoured();
        let is_administrator = reading.speaker == Speaker::Administrator;
        let previous = reading.previous;
        let method = self.text("token_endpoint_auth_method");
        let uris = self.texts("redirect_uris", URIS_MAX);
        let wanted = self.grants();
        let application_type = self.text("application_type");
        let kind_name = match application_type {
            Some(name) => name,
            None => inferred(method.as_deref(), wanted.as_deref(), &uris).to_owned(),
        };
        let kind = kind_of(&kind_name).unwrap_or_else(|| {
            self.mistake(
                "application_type",
                "`web`, `native`, `browser` or `service` is expected",
            );
            ClientKind::Web
        });
        let is_public = matches!(kind, ClientKind::Native | ClientKind::Browser);
        let grants = wanted.unwrap_or_else(|| {
            let usual = if kind == ClientKind::Service {
                GrantType::ClientCredentials
            } else {
                GrantType::AuthorizationCode
            };
            vec![usual.wire_name().to_owned()]
        });
        self.redirects(&uris, kind);
        self.responses(&grants);
        let post_logout_redirect_uris = self.texts("post_logout_redirect_uris", URIS_MAX);
        for uri in &post_logout_redirect_uris {
            if let Err(refusal) = redirect::may_register(uri, kind) {
                self.mistake("post_logout_redirect_uris", format!("`{uri}` is refused: {refusal}"));
            }
        }
        let method = method.unwrap_or_else(|| if is_public { "none" } else { "client_secret_basic" }.to_owned());
        if self.flag("pkce_required") == Some(false) && is_public {
            self.mistake(
                "pkce_required",
                "PKCE protects a public client: it cannot be turned off",
            );
        }
        let jwks_uri = self.jwks_uri();
        let keys = self.keys(reading);
        let consent = self.text("consent_method");
        if !matches!(consent.as_deref(), None | Some("TRUSTED" | "REQUIRED")) {
            self.mistake("consent_method", "`TRUSTED` or `REQUIRED` is expected");
        }
        let audiences = self.texts("audiences", URIS_MAX);
        ClientDocument {
            name: self.name(),
            status: previous.map_or(Status::Active, |previous| previous.status),
            kind: kind_name,
            grants,
            redirect_uris: uris,
            post_logout_redirect_uris,
            authentication: Some(method),
            secrets: previous.map(|previous| previous.secrets.clone()).unwrap_or_default(),
            keys,
            jwks_uri,
            tls_subject: self.tls_subject(),
            dpop_bound_access_tokens: self.flag("dpop_bound_access_tokens").unwrap_or(false),
            certificate_bound_access_tokens: self.flag("tls_client_certificate_bound_access_tokens").unwrap_or(false),
            refresh: self.rotation(),
            // SECURITY: who registers itself neither looks at other clients' tokens nor skips the question.
            audiences: if is_administrator { audiences } else { Vec::new() },
            asks_consent: !is_administrator || consent.as_deref() == Some("REQUIRED"),
            users: previous.map(|previous| previous.users.clone()).unwrap_or_default(),
            groups: previous.map(|previous| previous.groups.clone()).unwrap_or_default(),
            registration: previous.and_then(|previous| previous.registration.clone()),
            extra: self.extra(),
        }
    }

    fn mistake(&mut self, field: &str, text: impl Into<String>) {
        self.mistakes.push(Mistake::new(field, text));
    }

    /// A member that is a text. `null` is a member that is not there (RFC 7592 section 2.2).
    fn text(&mut self, field: &str) -> Option<String> {
        match self.metadata.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.len() <= 2048 && !text.chars().any(char::is_control) => {
                Some(text.clone())
            }
            Some(_) => {
                self.mistake(field, "a text of at most 2048 printable characters is expected");
                None
            }
        }
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        match self.metadata.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(*flag),
            Some(_) => {
                self.mistake(field, "true or false is expected");
                None
            }
        }
    }

    fn texts(&mut self, field: &str, count_max: usize) -> Vec<String> {
        let items = match self.metadata.get(field) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= count_max => items,
            Some(_) => {
                self.mistake(field, format!("an array of at most {count_max} texts is expected"));
                return Vec::new();
            }
        };
        let mut texts: Vec<String> = Vec::new();
        for item in items {
            match item.as_str() {
                Some(text) if text.len() <= 2048 => {
                    if !texts.iter().any(|known| known == text) {
                        texts.push(text.to_owned());
                    }
                }
                _ => {
                    self.mistake(field, "each is a text of at most 2048 characters");
                    break;
                }
            }
        }
        texts
    }

    /// The name that people see. Control characters and those that turn the text around are refused: it stands on the
    /// page on which a person decides.
    fn name(&mut self) -> String {
        let Some(name) = self.text("client_name") else {
            return "Unnamed client".to_owned();
        };
        let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(turns) {
            self.mistake("client_name", "a name of 1 to 100 printable characters is expected");
        }
        name
    }

    /// The grant types as the wire names them; `None` if they are not said.
    fn grants(&mut self) -> Option<Vec<String>> {
        self.metadata.get("grant_types").filter(|value| !value.is_null())?;
        let mut grants: Vec<String> = Vec::new();
        for name in self.texts("grant_types", GrantType::ALL.len()) {
            match GrantType::parse(&name) {
                Some(grant) => grants.push(grant.wire_name().to_owned()),
                None => self.mistake("grant_types", format!("`{name}` is no grant type that we have")),
            }
        }
        if grants.is_empty() {
            self.mistake("grant_types", "at least one is needed");
        }
        Some(grants)
    }

    fn redirects(&mut self, uris: &[String], kind: ClientKind) {
        for uri in uris {
            if let Err(refusal) = redirect::may_register(uri, kind) {
                self.mistakes.push(Mistake {
                    field: "redirect_uris".to_owned(),
                    text: format!("`{uri}` is refused: {refusal}; {}", refusal.hint()),
                    is_redirect: true,
                });
            }
        }
        if !matches!(self.text("wildcard_redirect").as_deref(), None | Some("DISABLED")) {
            self.mistake("wildcard_redirect", "redirect URIs are compared exactly: list each one");
        }
    }

    /// Response types follow from the grants; who names others has misunderstood one of both.
    fn responses(&mut self, grants: &[String]) {
        let allowed = response_types(grants);
        for wanted in self.texts("response_types", 8) {
            let parts: Vec<&str> = wanted.split(' ').filter(|part| !part.is_empty()).collect();
            if parts.is_empty() || !parts.iter().all(|part| allowed.contains(part)) {
                let text = format!("`{wanted}` does not go with the `grant_types`");
                self.mistake("response_types", text);
            }
        }
    }

    /// RFC 7517 by URL: `https` alone, so that nobody on the way chooses the keys.
    fn jwks_uri(&mut self) -> Option<String> {
        let uri = self.text("jwks_uri").filter(|uri| !uri.is_empty())?;
        if self.metadata.get("jwks").is_some_and(|jwks| !jwks.is_null()) {
            self.mistake("jwks_uri", "either `jwks` or `jwks_uri`");
        }
        if !is_web_url(&uri) {
            self.mistake("jwks_uri", "an https URL is expected");
        }
        Some(uri)
    }

    fn keys(&mut self, reading: &Reading<'_>) -> Vec<KeyDocument> {
        let listed = match self.metadata.get("jwks") {
            None | Some(Value::Null) => return Vec::new(),
            Some(jwks) => jwks.get("keys").and_then(Value::as_array),
        };
        let Some(listed) = listed.filter(|listed| listed.len() <= KEYS_MAX) else {
            self.mistake(
                "jwks",
                format!("a key set of at most {KEYS_MAX} keys is expected (RFC 7517 section 5)"),
            );
            return Vec::new();
        };
        let mut keys: Vec<KeyDocument> = Vec::new();
        for (index, jwk) in listed.iter().enumerate() {
            let known = reading
                .previous
                .map(|previous| previous.keys.as_slice())
                .unwrap_or_default();
            match key(jwk, known, reading) {
                Ok(key) if keys.iter().any(|other| other.jwk.get("kid") == key.jwk.get("kid")) => {
                    self.mistake("jwks", "two keys have one `kid`");
                }
                Ok(key) => keys.push(key),
                Err(text) => self.mistake("jwks", format!("keys[{index}]: {text}")),
            }
        }
        keys
    }

    /// RFC 8705 section 2.1.2: exactly one of five.
    fn tls_subject(&mut self) -> Option<(String, String)> {
        let fields = [
            "tls_client_auth_subject_dn",
            "tls_client_auth_san_dns",
            "tls_client_auth_san_uri",
            "tls_client_auth_san_ip",
            "tls_client_auth_san_email",
        ];
        let mut found = fields
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), self.text(field)?)));
        let first = found.next();
        let more = found.next().is_some();
        drop(found);
        if more {
            self.mistake(
                "tls_client_auth_subject_dn",
                "a certificate is named by exactly one of its names",
            );
        }
        first
    }

    fn rotation(&mut self) -> RotationDocument {
        let usual = RotationDocument::default();
        let wanted = match self.metadata.get("refresh_token") {
            None | Some(Value::Null) => return usual,
            Some(wanted) => wanted,
        };
        let rotates = match wanted.get("rotation_type").and_then(Value::as_str) {
            None => usual.rotates,
            Some("ROTATE") => true,
            Some("STATIC") => false,
            Some(_) => {
                self.mistake("refresh_token", "`rotation_type` is `ROTATE` or `STATIC`");
                true
            }
        };
        let grace_seconds = match wanted.get("leeway") {
            None | Some(Value::Null) => usual.grace_seconds,
            Some(leeway) => match leeway.as_u64() {
                Some(seconds) if seconds <= 60 => seconds,
                _ => {
                    self.mistake("refresh_token", "`leeway` is 0 to 60 seconds");
                    usual.grace_seconds
                }
            },
        };
        RotationDocument { rotates, grace_seconds }
    }

    fn extra(&mut self) -> Map<String, Value> {
        let mut extra = Map::new();
        for field in URLS {
            if let Some(url) = self.text(field).filter(|url| !url.is_empty()) {
                if !is_web_url(&url) {
                    self.mistake(field, "an https URL is expected");
                }
                extra.insert(field.to_owned(), Value::from(url));
            }
        }
        for field in TEXTS {
            if let Some(text) = self.text(field) {
                extra.insert(field.to_owned(), Value::from(text));
            }
        }
        let contacts = self.texts("contacts", 20);
        if !contacts.is_empty() {
            extra.insert("contacts".to_owned(), Value::from(contacts));
        }
        if let Some(required) = self.flag("pkce_required") {
            extra.insert("pkce_required".to_owned(), Value::from(required));
        }
        extra
    }

    fn refuse_what_is_not_honoured(&mut self) {
        for field in NOT_HONOURED {
            if self
                .metadata
                .get(field)
                .is_some_and(|value| !value.is_null() && value != "")
            {
                self.mistake(field, "this is not supported: leave it out");
            }
        }
        for field in FLAGS_NOT_HONOURED {
            if self.flag(field) == Some(true) {
                self.mistake(field, "this is not supported: leave it out");
            }
        }
        if !matches!(self.text("subject_type").as_deref(), None | Some("public")) {
            self.mistake("subject_type", "`public` is the only one that is supported");
        }
        // An ID token is signed as its authorization server signs (attack F48).
        let asymmetric =
            |name: &str| Algorithm::parse(name).is_some_and(|algorithm| Algorithm::ASYMMETRIC.contains(&algorithm));
        if self
            .text("id_token_signed_response_alg")
            .is_some_and(|name| !asymmetric(&name))
        {
            let text = "an asymmetric algorithm is expected: `none` and HMAC are refused";
            self.mistake("id_token_signed_response_alg", text);
        }
        if self
            .text("token_endpoint_auth_signing_alg")
            .is_some_and(|name| Algorithm::parse(&name).is_none())
        {
            self.mistake("token_endpoint_auth_signing_alg", "this is no algorithm that we verify");
        }
        let network = self
            .metadata
            .get("network")
            .and_then(|network| network.get("connection"));
        if network.is_some_and(|connection| connection != "ANYWHERE") {
            self.mistake("network", "network zones are not supported: `ANYWHERE` is the only one");
        }
    }
}

/// What the client must be, from what it says, if it does not say what it is.
fn inferred(method: Option<&str>, grants: Option<&[String]>, uris: &[String]) -> &'static str {
    let signs_people_in = grants.is_none_or(|grants| {
        let people = [GrantType::AuthorizationCode, GrantType::Implicit, GrantType::DeviceCode];
        people
            .iter()
            .any(|grant| grants.iter().any(|name| name == grant.wire_name()))
    });
    if !signs_people_in {
        return "service";
    }
    if method != Some("none") {
        return "web";
    }
    // RFC 8252: an app on a device listens on loopback, or has a scheme of its own.
    let on_device = |uri: &String| Url::parse(uri).is_ok_and(|url| url.scheme() != "https");
    if !uris.is_empty() && uris.iter().all(on_device) {
        "native"
    } else {
        "browser"
    }
}

/// One public key, with the identifier that it has if it is known.
///
/// # Errors
/// What is wrong with it.
pub fn key(jwk: &Value, known: &[KeyDocument], reading: &Reading<'_>) -> Result<KeyDocument, String> {
    let mut members = jwk.as_object().cloned().ok_or("a JSON object is expected")?;
    // What Okta's API says of a key besides.
    for described in ["id", "status", "created", "lastUpdated", "_links"] {
        members.remove(described);
    }
    members.retain(|_, value| !value.is_null());
    let parsed = VerifyingKey::from_jwk(&members).map_err(|refusal| refusal.to_string())?;
    let thumbprint = parsed.thumbprint().ok_or("a public key is expected")?.to_base64url();
    members.entry("kid").or_insert_with(|| Value::from(thumbprint));
    if let Some(known) = known.iter().find(|known| known.jwk == members) {
        return Ok(known.clone());
    }
    let inactive = jwk.get("status").is_some_and(|status| status == "INACTIVE");
    Ok(KeyDocument {
        id: (reading.key_id)(),
        jwk: members,
        status: if inactive { Status::Inactive } else { Status::Active },
        created_at: reading.now,
        updated_at: reading.now,
    })
}

/// A URL that a browser may open: `https`, with a host and without credentials.
fn is_web_url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
        })
}
