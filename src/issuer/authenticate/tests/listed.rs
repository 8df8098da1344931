//! Every method and algorithm that the metadata lists.

use base64::Engine as _;

use super::*;
use crate::issuer::Document;
use crate::issuer::fixture::settings;
use crate::jose::forge::{forge_mac_by, forge_rsa};
use crate::model::secret::Secret;
use crate::oauth::declared::TlsSubject;

const SECRET: &str = "a secret of sixty-four bytes, which is what the longest of all HMACs needs";

fn certificate() -> ClientCertificate {
    let mut made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    made.not_before = rcgen::date_time_ymd(2020, 1, 1);
    made.not_after = rcgen::date_time_ymd(2099, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = made.self_signed(&key).expect("a certificate");
    ClientCertificate {
        der: std::sync::Arc::from(made.der().as_ref()),
        is_vouched_for: true,
    }
}

/// A client of each method, named by it.
fn clients(certificate: &ClientCertificate) -> Vec<ClientDeclaration> {
    let mut mac = service("client_secret_jwt", AuthenticationMethod::ClientSecretJwt);
    mac.options.shared_secrets = vec![Located::nowhere(Secret::new(SECRET.to_owned()))];
    let mut tls = service("tls_client_auth", AuthenticationMethod::TlsClientAuth);
    tls.options.tls_subject = Some(TlsSubject::SanDns("a.example".to_owned()));
    let mut own = service(
        "self_signed_tls_client_auth",
        AuthenticationMethod::SelfSignedTlsClientAuth,
    );
    let mut set = jwks(&[es256()]);
    set["keys"][0]["x5c"] = json!([base64::engine::general_purpose::STANDARD.encode(&certificate.der)]);
    own.options.keys = Some(KeysDeclaration::Jwks(Located::nowhere(set)));
    let mut keys = jwks(&[
        es256(),
        key(Algorithm::Es384),
        key(Algorithm::EdDsa),
        key(Algorithm::Rs256),
    ]);
    // Without an algorithm of its own an RSA key serves all six.
    keys["keys"][3].as_object_mut().expect("a key").remove("alg");
    vec![
        service("client_secret_basic", AuthenticationMethod::ClientSecretBasic),
        service("client_secret_post", AuthenticationMethod::ClientSecretPost),
        by_key("private_key_jwt", KeysDeclaration::Jwks(Located::nowhere(keys))),
        mac,
        tls,
        own,
    ]
}

fn metadata(test: &TestIssuer) -> Value {
    let document = test.issuer.metadata("transfers", Document::AuthorizationServer);
    serde_json::from_str(&document.expect("the server exists")).expect("JSON")
}

fn listed(document: &Value, name: &str) -> Vec<String> {
    let values = document[name].as_array().unwrap_or_else(|| panic!("{name}"));
    values
        .iter()
        .map(|value| value.as_str().expect("text").to_owned())
        .collect()
}

#[tokio::test]
async fn case_147_every_listed_method_works() {
    let certificate = certificate();
    let test = TestIssuer::with(bank_with(clients(&certificate))).await;
    let document = metadata(&test);
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    let methods = listed(&document, "token_endpoint_auth_methods_supported");
    assert_eq!(methods.len(), AuthenticationMethod::ALL.len());
    for method in &methods {
        let asked = match method.as_str() {
            "none" => Asked::body("client_id=mobile"),
            "client_secret_basic" => Asked::basic(method, "secret"),
            "client_secret_post" => Asked::body(&format!("client_id={method}&client_secret=secret")),
            "private_key_jwt" => Asked::assertion(&signed(es256(), method, "m", &json!({}))),
            "client_secret_jwt" => {
                let payload = claims(method, "m", &json!({}));
                Asked::assertion(&forge_mac_by(Algorithm::Hs256, SECRET.as_bytes(), &payload))
            }
            _ => Asked::certificate(method, &certificate),
        };
        // A public client authenticates by its name, and then has no grant to ask for here.
        let expected = if method == "none" { "public_client" } else { "granted" };
        assert_eq!(asked.outcome(&test).await, expected, "{method}");
    }
    // Where nobody shows certificates the listener asks for none, and none is promised.
    test.issuer
        .reload(&settings(bank_with(vec![])))
        .await
        .expect("taken over");
    let document = metadata(&test);
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], false);
    assert_eq!(
        listed(&document, "token_endpoint_auth_methods_supported"),
        [
            "none",
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt"
        ]
    );
}

#[tokio::test]
async fn case_147_every_listed_algorithm_of_assertions_works() {
    let test = TestIssuer::with(bank_with(clients(&certificate()))).await;
    let rsa = key(Algorithm::Rs256);
    for name in listed(&metadata(&test), "token_endpoint_auth_signing_alg_values_supported") {
        let algorithm = Algorithm::parse(&name).expect("one that we know");
        let id = if algorithm.is_symmetric() {
            "client_secret_jwt"
        } else {
            "private_key_jwt"
        };
        let payload = claims(id, &name, &json!({}));
        let header = |key: &SigningKey| header(key, &json!({ "alg": name }));
        let assertion = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                let key = key(algorithm);
                forge(key, &header(key), &payload)
            }
            _ if algorithm.is_symmetric() => forge_mac_by(algorithm, SECRET.as_bytes(), &payload),
            _ => forge_rsa(rsa, algorithm, &header(rsa), &payload),
        };
        assert_eq!(Asked::assertion(&assertion).outcome(&test).await, "granted", "{name}");
    }
}
