//! `registration`: which clients may register themselves.

use super::context::Context;
use super::file::RegistrationFile;
use crate::issuer::settings::RegistrationPolicy;
use crate::oauth::grant::GrantType;

/// How a client that registers itself can prove itself. A certificate is somebody else's to vouch for, and a secret
/// that must be readable is the weaker one: neither is registered by strangers.
const METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];

impl Context<'_> {
    /// What clients may register themselves as.
    pub(crate) fn registration(&mut self, file: &RegistrationFile) -> RegistrationPolicy {
        let usual = RegistrationPolicy::default();
        let mut grants = Vec::new();
        for name in file.grants.iter().flatten() {
            match GrantType::parse(&name.value) {
                Some(grant) if grant.is_legacy() => {
                    let message = format!("`{}` is for clients that have it by name", name.value);
                    self.error(
                        "legacy_grant_registered",
                        name.location,
                        message,
                        "leave it out of `registration`",
                    );
                }
                Some(grant) => grants.push(grant),
                None => {
                    let message = format!("`{}` is no grant type", name.value);
                    let hint = GrantType::nearest(&name.value).unwrap_or("authorization_code");
                    self.error(
                        "unknown_grant",
                        name.location,
                        message,
                        &format!("did you mean `{hint}`?"),
                    );
                }
            }
        }
        let mut authentication = Vec::new();
        for name in file.authentication.iter().flatten() {
            if METHODS.contains(&name.value.as_str()) {
                authentication.push(name.value.clone());
            } else {
                let message = format!("`{}` cannot be registered by a client itself", name.value);
                let hint = format!("use some of {}", METHODS.join(", "));
                self.error("unknown_authentication", name.location, message, &hint);
            }
        }
        RegistrationPolicy {
            open: file.open.unwrap_or(usual.open),
            grants: if file.grants.is_some() { grants } else { usual.grants },
            authentication: if file.authentication.is_some() {
                authentication
            } else {
                usual.authentication
            },
            clients_max: file.clients_max.map_or(usual.clients_max, |count| count.0),
            unused_for: file
                .unused_for
                .as_ref()
                .map_or(usual.unused_for, |period| period.value.0),
            same_within: file
                .same_within
                .as_ref()
                .map_or(usual.same_within, |period| period.value.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::source::Memory;
    use crate::config::{Report, Settings, load_text};
    use crate::issuer::settings::RegistrationPolicy;
    use crate::oauth::grant::GrantType;

    fn load(registration: &str) -> Result<Settings, Report> {
        let head = "dev: true\npublic_url: https://127.0.0.1:8443\nauthorization_servers:\n  - { id: a, audience: https://a.example }\n";
        load_text(
            Path::new("/etc/scopegate/scopegate.yaml"),
            &format!("{head}{registration}"),
            &Memory::default(),
        )
    }

    #[test]
    fn case_142_registration_is_off_unless_it_is_said() {
        let policy = |text: &str| load(text).expect("no error").registration;
        assert_eq!(policy(""), None);
        assert_eq!(policy("registration: {}\n"), Some(RegistrationPolicy::default()));
        let said = "registration: { open: true, grants: [client_credentials], authentication: [private_key_jwt], \
            clients_max: 7, unused_for: 1d, same_within: 5m }\n";
        let expected = RegistrationPolicy {
            open: true,
            grants: vec![GrantType::ClientCredentials],
            authentication: vec!["private_key_jwt".to_owned()],
            clients_max: 7,
            unused_for: Duration::from_secs(86_400),
            same_within: Duration::from_secs(300),
        };
        assert_eq!(policy(said), Some(expected));
    }

    #[test]
    fn attack_f34_what_is_for_clients_by_name_cannot_be_registered() {
        for (text, code) in [
            ("grants: [password]", "legacy_grant_registered"),
            ("grants: [implicit]", "legacy_grant_registered"),
            ("grants: [nonsense]", "unknown_grant"),
            ("authentication: [tls_client_auth]", "unknown_authentication"),
            ("authentication: [client_secret_jwt]", "unknown_authentication"),
        ] {
            let report = load(&format!("registration: {{ {text} }}\n")).expect_err(text);
            assert_eq!(
                report.findings().first().map(|finding| finding.code),
                Some(code),
                "{text}"
            );
        }
    }
}
