//! How a client proves itself: one way, with all that it needs.

use std::sync::Arc;

use url::Url;

use crate::jose::key::JwksError;
use crate::model::location::{Located, Location};
use crate::oauth::access::compiling::Compiler;
use crate::oauth::access::compiling::clients::kind_name;
use crate::oauth::certificate;
use crate::oauth::client::{
    Credentials, SECRETS_MAX, SHARED_SECRET_BYTES_MIN, SecretPlace, SharedSecrets, StoredSecrets,
};
use crate::oauth::declared::{AuthenticationMethod, ClientDeclaration, ClientKind, KeysDeclaration};
use crate::oauth::peer_keys::{KeysUrl, PeerKeySet, PeerKeys, may_serve_keys};

impl Compiler<'_> {
    /// The client's credentials; [`Credentials::Public`] stands in where something is wrong, and then there is a
    /// finding and no model.
    pub(super) fn credentials(&mut self, declared: &ClientDeclaration) -> Credentials {
        let options = &declared.options;
        let is_public = matches!(declared.kind, ClientKind::Native | ClientKind::Browser);
        let method = options.authentication.as_ref();
        if let (true, Some(method)) = (is_public, method)
            && method.value != AuthenticationMethod::None
        {
            self.error(
                "authentication_of_public_client",
                method.location,
                format!(
                    "a client of type `{}` runs where nothing stays secret, and cannot authenticate with `{}`",
                    kind_name(declared.kind),
                    method.value.as_str()
                ),
                "leave it out: PKCE protects it",
            );
            return Credentials::Public;
        }
        self.unused_credentials(declared);
        match method.map(|method| method.value) {
            None if is_public => self.public(declared),
            None => self.secrets(declared, SecretPlace::Either),
            Some(AuthenticationMethod::None) => self.public(declared),
            Some(AuthenticationMethod::ClientSecretBasic) => self.secrets(declared, SecretPlace::Basic),
            Some(AuthenticationMethod::ClientSecretPost) => self.secrets(declared, SecretPlace::Body),
            Some(AuthenticationMethod::ClientSecretJwt) => self.shared_secrets(declared),
            Some(AuthenticationMethod::PrivateKeyJwt) => {
                let keys = self.keys(declared);
                keys.map_or(Credentials::Public, Credentials::Keys)
            }
            Some(AuthenticationMethod::SelfSignedTlsClientAuth) => self.self_signed(declared),
            Some(AuthenticationMethod::TlsClientAuth) => self.tls_subject(declared),
        }
    }

    fn public(&mut self, declared: &ClientDeclaration) -> Credentials {
        if let Some(first) = declared.secrets.first() {
            self.error(
                "secret_on_public_client",
                first.location,
                format!("a client of type `{}` cannot keep a secret", kind_name(declared.kind)),
                "leave it out: PKCE protects it",
            );
        }
        if declared.kind == ClientKind::Service {
            self.error(
                "public_service",
                declared.id.location,
                format!(
                    "the client `{}` acts for itself and proves nothing: anybody could be it",
                    declared.id.value
                ),
                "say how it authenticates: `authentication: private_key_jwt`, with `jwks_uri: …`",
            );
        }
        Credentials::Public
    }

    fn secrets(&mut self, declared: &ClientDeclaration, place: SecretPlace) -> Credentials {
        let name = &declared.id.value;
        if let Some(extra) = declared.secrets.get(SECRETS_MAX) {
            self.error(
                "too_many_secrets",
                extra.location,
                format!("the client `{name}` has more than {SECRETS_MAX} secrets"),
                "remove the ones that are out of use",
            );
        } else if declared.secrets.is_empty() {
            let hint = match &declared.options.keys {
                Some(_) => {
                    "add `authentication: private_key_jwt` if it signs with its keys, or `secrets: [{ sha256: … }]`"
                }
                None => "add `secrets: [{ sha256: … }]`",
            };
            self.error(
                "missing_secret",
                declared.id.location,
                format!("the client `{name}` has no secret and could never authenticate"),
                hint,
            );
        }
        let stored = declared.secrets.iter().map(|secret| secret.sha256).collect();
        StoredSecrets::new(stored, place).map_or(Credentials::Public, Credentials::Secrets)
    }

    fn shared_secrets(&mut self, declared: &ClientDeclaration) -> Credentials {
        let (name, shared) = (&declared.id.value, &declared.options.shared_secrets);
        if shared.is_empty() {
            self.error(
                "missing_secret",
                declared.id.location,
                format!("the client `{name}` signs with a secret, and has none that can be read here"),
                "add `shared_secret_files: […]`: a digest cannot verify a signature",
            );
        }
        if let Some(extra) = shared.get(SECRETS_MAX) {
            self.error(
                "too_many_secrets",
                extra.location,
                format!("the client `{name}` has more than {SECRETS_MAX} secrets"),
                "remove the ones that are out of use",
            );
        }
        for secret in shared {
            if secret.value.expose_secret().len() < SHARED_SECRET_BYTES_MIN {
                self.error(
                    "weak_secret",
                    secret.location,
                    format!(
                        "the secret of the client `{name}` is shorter than the {SHARED_SECRET_BYTES_MIN} bytes that HS256 needs"
                    ),
                    "make one with `openssl rand -base64 32`",
                );
            }
        }
        SharedSecrets::new(shared.iter().map(|secret| &secret.value))
            .map_or(Credentials::Public, Credentials::SharedSecrets)
    }

    fn keys(&mut self, declared: &ClientDeclaration) -> Option<PeerKeys> {
        let Some(keys) = &declared.options.keys else {
            self.error(
                "missing_keys",
                declared.id.location,
                format!("the client `{}` signs with a key, and none is known", declared.id.value),
                "add `jwks: { keys: […] }` or `jwks_uri: https://…`",
            );
            return None;
        };
        let whose = format!("of the client `{}`", declared.id.value);
        self.peer_keys(&whose, keys, declared.options.allow_private_addresses)
    }

    fn self_signed(&mut self, declared: &ClientDeclaration) -> Credentials {
        let Some(keys) = self.keys(declared) else {
            return Credentials::Public;
        };
        if let (PeerKeys::Here(set), Some(KeysDeclaration::Jwks(jwks))) = (&keys, &declared.options.keys)
            && !set.names_certificates()
        {
            self.error(
                "missing_certificate",
                jwks.location,
                format!("the key set of the client `{}` names no certificate", declared.id.value),
                "add the certificate to its key as `x5c: [\"…\"]` (RFC 8705 section 2.2.2)",
            );
        }
        Credentials::SelfSignedCertificate(keys)
    }

    fn tls_subject(&mut self, declared: &ClientDeclaration) -> Credentials {
        let name = &declared.id.value;
        let Some(subject) = &declared.options.tls_subject else {
            self.error(
                "missing_tls_subject",
                declared.id.location,
                format!("the client `{name}` authenticates with a certificate, and no subject is registered"),
                "add one of `tls_client_auth_subject_dn`, `tls_client_auth_san_dns`, `…_san_uri`, `…_san_ip`, `…_san_email`",
            );
            return Credentials::Public;
        };
        if let Err(problem) = certificate::check_subject(subject) {
            let at = method_location(declared);
            let message = format!(
                "the registered subject `{}` of the client `{name}` {problem}",
                subject.text()
            );
            self.error(
                "invalid_tls_subject",
                at,
                message,
                "write the subject of its certificate exactly",
            );
        }
        Credentials::Certificate(subject.clone())
    }

    /// Credentials that the method does not use mislead whoever reads the file: the client seems to have them.
    fn unused_credentials(&mut self, declared: &ClientDeclaration) {
        use AuthenticationMethod as M;
        let options = &declared.options;
        let Some(method) = options.authentication.as_ref().map(|method| method.value) else {
            return;
        };
        let (name, at) = (&declared.id.value, method_location(declared));
        let takes_secret = matches!(method, M::ClientSecretBasic | M::ClientSecretPost | M::None);
        let unused = [
            (!declared.secrets.is_empty() && !takes_secret, "secrets"),
            (
                !options.shared_secrets.is_empty() && method != M::ClientSecretJwt,
                "shared_secret_files",
            ),
            (
                options.tls_subject.is_some() && method != M::TlsClientAuth,
                "tls_client_auth_…",
            ),
        ];
        for (is_unused, key) in unused {
            if is_unused {
                self.warn(
                    "unused_credentials",
                    at,
                    format!(
                        "the client `{name}` authenticates with `{}`: its `{key}` are never used",
                        method.as_str()
                    ),
                    "leave them out, or say another `authentication`",
                );
            }
        }
    }

    /// The keys of a peer, read or to be fetched. `whose` completes "the key set …".
    pub(super) fn peer_keys(
        &mut self,
        whose: &str,
        declared: &KeysDeclaration,
        allow_private_addresses: bool,
    ) -> Option<PeerKeys> {
        match declared {
            KeysDeclaration::Jwks(jwks) => self.jwks(whose, jwks),
            KeysDeclaration::JwksUri(url) => self.jwks_uri(whose, url, allow_private_addresses),
        }
    }

    fn jwks(&mut self, whose: &str, jwks: &Located<serde_json::Value>) -> Option<PeerKeys> {
        let (set, problems) = match PeerKeySet::from_jwks(jwks.value.to_string().as_bytes()) {
            Ok(read) => read,
            Err(error) => {
                let hint = match &error {
                    JwksError::DuplicateKid(_) => "give each key a `kid` of its own",
                    JwksError::PrivateMaterial(_) => {
                        "write the public part alone, and replace the key: it is known now"
                    }
                    _ => "write it as RFC 7517 section 5 says: `jwks: { keys: [{ kty: EC, … }] }`",
                };
                self.error(
                    "invalid_jwks",
                    jwks.location,
                    format!("the key set {whose}: {error}"),
                    hint,
                );
                return None;
            }
        };
        for problem in &problems {
            self.warn(
                "unusable_key",
                jwks.location,
                format!("the key set {whose}: {problem}"),
                "this key is not used",
            );
        }
        if set.keys().is_empty() {
            self.error(
                "no_usable_key",
                jwks.location,
                format!("the key set {whose} has no usable key"),
                "add a public signing key: RSA of 2048 bits or more, EC on P-256 or P-384, or Ed25519",
            );
            return None;
        }
        Some(PeerKeys::Here(Arc::new(set)))
    }

    fn jwks_uri(&mut self, whose: &str, url: &Located<Url>, allow_private_addresses: bool) -> Option<PeerKeys> {
        if let Err(problem) = may_serve_keys(&url.value) {
            self.error(
                "invalid_jwks_uri",
                url.location,
                format!("the URL `{}` of the keys {whose} {problem}", url.value),
                "say `https://…`, without credentials and fragment",
            );
            return None;
        }
        Some(PeerKeys::At(KeysUrl {
            url: url.value.clone(),
            allow_private_addresses,
        }))
    }
}

fn method_location(declared: &ClientDeclaration) -> Location {
    let method = declared.options.authentication.as_ref();
    method.map_or(declared.id.location, |method| method.location)
}
