//! Secrets that are sent, and clients that are not active.

use super::*;
use crate::issuer::fixture::settings;

#[tokio::test]
async fn case_064_attack_f15_a_secret_counts_in_its_registered_place_alone() {
    let test = TestIssuer::with(bank_with(vec![
        service("basic", AuthenticationMethod::ClientSecretBasic),
        service("post", AuthenticationMethod::ClientSecretPost),
    ]))
    .await;
    let rows = [
        (Asked::basic("basic", "secret"), "granted"),
        (
            Asked::body("client_id=basic&client_secret=secret"),
            "invalid_token_endpoint_auth_method",
        ),
        (Asked::body("client_id=post&client_secret=secret"), "granted"),
        (Asked::basic("post", "secret"), "invalid_token_endpoint_auth_method"),
        (Asked::body("client_id=post"), "client_secret_missing"),
        (Asked::body("client_id=post&client_secret="), "client_secret_missing"),
        (Asked::basic("basic", ""), "invalid_client_secret"),
        (Asked::basic("basic", "wrong"), "invalid_client_secret"),
        // Who says nothing may use either.
        (Asked::basic("nightly-batch", "secret"), "granted"),
        (Asked::body("client_id=nightly-batch&client_secret=secret"), "granted"),
    ];
    for (asked, expected) in rows {
        assert_eq!(
            asked.outcome(&test).await,
            expected,
            "{} {:?}",
            asked.body,
            asked.authorization
        );
    }
}

#[tokio::test]
async fn case_075_an_inactive_client_is_no_client_whatever_it_shows() {
    let mut declaration = bank_with(vec![by_key("signer", here(&[es256()]))]);
    let test = TestIssuer::with(bank_with(vec![by_key("signer", here(&[es256()]))])).await;
    assert_eq!(Asked::basic("nightly-batch", "secret").outcome(&test).await, "granted");
    for client in &mut declaration.clients {
        client.options.inactive = true;
    }
    test.issuer.reload(&settings(declaration)).await.expect("taken over");
    let assertion = signed(es256(), "signer", "1", &json!({}));
    for asked in [
        Asked::basic("nightly-batch", "secret"),
        Asked::basic("nightly-batch", "wrong"),
        Asked::body("client_id=mobile"),
        Asked::assertion(&assertion),
    ] {
        // It is in no model: nothing tells it from one that never was.
        assert_eq!(asked.outcome(&test).await, "unknown_client", "{}", asked.body);
    }
}

#[tokio::test]
async fn case_147_every_listed_method_and_algorithm_works() {
    use crate::issuer::Document;
    use crate::issuer::fixture::settings;
    use crate::jose::forge::{forge_mac_by, forge_rsa};
    use crate::model::certificate::ClientCertificate;
    use crate::model::secret::Secret;
    use crate::oauth::declared::TlsSubject;

    let mut made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    made.not_before = rcgen::date_time_ymd(2020, 1, 1);
    made.not_after = rcgen::date_time_ymd(2099, 1, 1);
    let made = made
        .self_signed(&rcgen::KeyPair::generate().expect("a key"))
        .expect("a certificate");
    let certificate = ClientCertificate {
        der: std::sync::Arc::from(made.der().as_ref()),
        is_vouched_for: true,
    };
    let secret = "a secret of sixty-four bytes, which is what the longest of all HMACs needs";
    let rsa = key(Algorithm::Rs256);
    let mut keys = jwks(&[es256(), key(Algorithm::Es384), key(Algorithm::EdDsa), rsa]);
    // Without an algorithm of its own an RSA key serves all six.
    keys["keys"][3].as_object_mut().expect("a key").remove("alg");
    let clients = || {
        let mut mac = service("client_secret_jwt", AuthenticationMethod::ClientSecretJwt);
        mac.options.shared_secrets = vec![Located::nowhere(Secret::new(secret.to_owned()))];
        let mut tls = service("tls_client_auth", AuthenticationMethod::TlsClientAuth);
        tls.options.tls_subject = Some(TlsSubject::SanDns("a.example".to_owned()));
        let mut own = service(
            "self_signed_tls_client_auth",
            AuthenticationMethod::SelfSignedTlsClientAuth,
        );
        let mut set = jwks(&[es256()]);
        use base64::Engine as _;
        set["keys"][0]["x5c"] = json!([base64::engine::general_purpose::STANDARD.encode(&certificate.der)]);
        own.options.keys = Some(KeysDeclaration::Jwks(Located::nowhere(set)));
        vec![
            service("client_secret_basic", AuthenticationMethod::ClientSecretBasic),
            service("client_secret_post", AuthenticationMethod::ClientSecretPost),
            by_key("private_key_jwt", KeysDeclaration::Jwks(Located::nowhere(keys.clone()))),
            mac,
            tls,
            own,
        ]
    };
    let test = TestIssuer::with(bank_with(clients())).await;
    let document = |test: &TestIssuer| -> Value {
        let text = test
            .issuer
            .metadata("transfers", Document::AuthorizationServer)
            .expect("there");
        serde_json::from_str(&text).expect("JSON")
    };
    let listed = |document: &Value, name: &str| -> Vec<String> {
        let values = document[name].as_array().unwrap_or_else(|| panic!("{name}"));
        values
            .iter()
            .map(|value| value.as_str().expect("text").to_owned())
            .collect()
    };
    let listing = document(&test);
    let methods = listed(&listing, "token_endpoint_auth_methods_supported");
    assert_eq!(methods.len(), AuthenticationMethod::ALL.len());
    for method in &methods {
        let asked = match method.as_str() {
            "none" => Asked::body("client_id=mobile"),
            "client_secret_basic" => Asked::basic(method, "secret"),
            "client_secret_post" => Asked::body(&format!("client_id={method}&client_secret=secret")),
            "private_key_jwt" => Asked::assertion(&signed(es256(), method, "m", &json!({}))),
            "client_secret_jwt" => Asked::assertion(&forge_mac_by(
                Algorithm::Hs256,
                secret.as_bytes(),
                &claims(method, "m", &json!({})),
            )),
            _ => Asked::certificate(method, &certificate),
        };
        // A public client authenticates by its name, and then has no grant to ask for here.
        let expected = if method == "none" { "public_client" } else { "granted" };
        assert_eq!(asked.outcome(&test).await, expected, "{method}");
    }
    for name in listed(&listing, "token_endpoint_auth_signing_alg_values_supported") {
        let algorithm = Algorithm::parse(&name).expect("one that we know");
        let (id, payload) = if algorithm.is_symmetric() {
            ("client_secret_jwt", claims("client_secret_jwt", &name, &json!({})))
        } else {
            ("private_key_jwt", claims("private_key_jwt", &name, &json!({})))
        };
        let header = |key: &SigningKey| header(key, &json!({ "alg": name }));
        let assertion = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                let key = key(algorithm);
                forge(key, &header(key), &payload)
            }
            _ if algorithm.is_symmetric() => forge_mac_by(algorithm, secret.as_bytes(), &payload),
            _ => forge_rsa(rsa, algorithm, &header(rsa), &payload),
        };
        assert_eq!(
            Asked::assertion(&assertion).outcome(&test).await,
            "granted",
            "{id} {name}"
        );
    }
    assert_eq!(listing["tls_client_certificate_bound_access_tokens"], true);
    // Where nobody shows certificates the listener asks for none, and none is promised.
    test.issuer
        .reload(&settings(bank_with(vec![])))
        .await
        .expect("taken over");
    let listing = document(&test);
    assert_eq!(listing["tls_client_certificate_bound_access_tokens"], false);
    assert_eq!(
        listed(&listing, "token_endpoint_auth_methods_supported"),
        [
            "none",
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt"
        ]
    );
}
