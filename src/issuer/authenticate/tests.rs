//! Clients that prove themselves, and those that fail to: through the token endpoint, as they do it.

mod assertions;
mod certificates;
mod listed;
mod remote;
mod secrets;

use serde_json::{Value, json};

use crate::issuer::FormRequest;
use crate::issuer::fixture::{NOW, TestIssuer, quick_bank};
use crate::jose::alg::Algorithm;
use crate::jose::forge::{forge, key};
use crate::jose::sign::SigningKey;
use crate::model::certificate::ClientCertificate;
use crate::model::location::Located;
use crate::oauth::assertion::CLIENT_ASSERTION_TYPE;
use crate::oauth::declared::{
    AuthenticationMethod, ClientDeclaration, ClientKind, IssuerDeclaration, KeysDeclaration, PolicyClients,
};
use crate::oauth::sample::client;

pub(super) const ISSUER: &str = "https://127.0.0.1:8443/oauth2/transfers";
pub(super) const TOKEN_URL: &str = "https://127.0.0.1:8443/oauth2/transfers/v1/token";
const GRANT: &str = "grant_type=client_credentials&scope=transfers:read";

/// A service of this method; its secret is taken away, its policy lets it read transfers.
fn service(id: &str, method: AuthenticationMethod) -> ClientDeclaration {
    let mut service = client(id, ClientKind::Service, &["client_credentials"]);
    if !matches!(
        method,
        AuthenticationMethod::ClientSecretBasic | AuthenticationMethod::ClientSecretPost
    ) {
        service.secrets.clear();
    }
    service.options.authentication = Some(Located::nowhere(method));
    service
}

fn bank_with(clients: Vec<ClientDeclaration>) -> IssuerDeclaration {
    let mut declaration = quick_bank();
    declaration.servers[0].policies[1].clients = PolicyClients::All(crate::model::location::Location::default());
    declaration.clients.extend(clients);
    declaration
}

fn jwks(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>() })
}

fn by_key(id: &str, keys: KeysDeclaration) -> ClientDeclaration {
    let mut signer = service(id, AuthenticationMethod::PrivateKeyJwt);
    signer.options.keys = Some(keys);
    signer
}

fn here(keys: &[&SigningKey]) -> KeysDeclaration {
    KeysDeclaration::Jwks(Located::nowhere(jwks(keys)))
}

/// The claims of a good assertion, with what is given in place of or besides them; null leaves out.
fn claims(id: &str, jti: &str, changes: &Value) -> String {
    let mut claims = json!({ "iss": id, "sub": id, "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": jti });
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = value.clone();
    }
    if let Some(members) = claims.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    claims.to_string()
}

fn header(key: &SigningKey, changes: &Value) -> String {
    let mut header = json!({ "alg": key.algorithm().as_str(), "kid": key.kid().as_str(), "typ": "JWT" });
    for (name, value) in changes.as_object().expect("changes") {
        header[name] = value.clone();
    }
    if let Some(members) = header.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    header.to_string()
}

fn signed(key: &SigningKey, id: &str, jti: &str, changes: &Value) -> String {
    forge(key, &header(key, &json!({})), &claims(id, jti, changes))
}

fn es256() -> &'static SigningKey {
    key(Algorithm::Es256)
}

struct Asked<'a> {
    body: String,
    authorization: Option<String>,
    certificate: Option<&'a ClientCertificate>,
}

impl<'a> Asked<'a> {
    fn body(body: &str) -> Self {
        Self {
            body: format!("{GRANT}&{body}"),
            authorization: None,
            certificate: None,
        }
    }

    fn assertion(assertion: &str) -> Self {
        Self::body(&format!(
            "client_assertion_type={CLIENT_ASSERTION_TYPE}&client_assertion={assertion}"
        ))
    }

    fn basic(id: &str, secret: &str) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        Self {
            authorization: Some(format!("Basic {encoded}")),
            ..Self::body("")
        }
    }

    fn certificate(id: &str, certificate: &'a ClientCertificate) -> Self {
        Self {
            certificate: Some(certificate),
            ..Self::body(&format!("client_id={id}"))
        }
    }

    /// `granted`, or why not: the reason in the log for a failed authentication, the error's code for what else fails.
    async fn outcome(&self, test: &TestIssuer) -> String {
        let authorization: Vec<&[u8]> = self.authorization.iter().map(String::as_bytes).collect();
        let request = FormRequest {
            content_type: Some("application/x-www-form-urlencoded"),
            body: self.body.as_bytes(),
            authorization: &authorization,
            certificate: self.certificate,
            ..FormRequest::default()
        };
        match test.issuer.token("transfers", &request).await {
            Ok(_) => "granted".to_owned(),
            Err(failure) if failure.error.error_code() == "client_authentication_failed" => {
                assert_eq!(failure.error.http_status(), 401);
                assert_eq!(failure.error.description(), "client authentication failed");
                let records = test.records.audit.lock();
                let last = records.last().expect("a record");
                last.detail["reason"].as_str().expect("a reason").to_owned()
            }
            Err(failure) => failure.error.error_code().to_owned(),
        }
    }
}
