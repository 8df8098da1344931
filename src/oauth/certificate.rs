//! Client certificates (RFC 8705 section 2): is it in its time, and is its subject the registered one?
//!
//! A subject is compared as a whole and exactly: each part of the distinguished name with its type and its value,
//! or one entry of the subject alternative names. No wildcard, no part of a name, no common name in the place of
//! another entry. What cannot be read matches nothing.

use std::net::IpAddr;

use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::model::time::Timestamp;
use crate::oauth::declared::TlsSubject;

/// The attribute types of RFC 4514 section 3 and those that certificates have beside them.
const ATTRIBUTE_TYPES: [(&str, &str); 15] = [
    ("C", "2.5.4.6"),
    ("CN", "2.5.4.3"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("GN", "2.5.4.42"),
    ("L", "2.5.4.7"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("SN", "2.5.4.4"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("T", "2.5.4.12"),
    ("UID", "0.9.2342.19200300.100.1.1"),
];

/// A relative distinguished name: its attributes in the order of their types, each with its value.
type Rdn = Vec<(String, String)>;

/// Whether the certificate's validity includes this moment.
#[must_use]
pub fn is_in_its_time(der: &[u8], now: Timestamp) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let (validity, now) = (certificate.validity(), now.unix_seconds());
    validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp()
}

/// Whether the certificate is of this subject.
#[must_use]
pub fn is_of(der: &[u8], subject: &TlsSubject) -> bool {
    let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    if !rest.is_empty() {
        return false;
    }
    if let TlsSubject::Dn(text) = subject {
        return matches!(
            (parse_dn(text), subject_of(&certificate)),
            (Some(registered), Some(shown)) if registered == shown
        );
    }
    let names = certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    names.flatten().any(|name| match (subject, name) {
        (TlsSubject::SanDns(registered), GeneralName::DNSName(shown)) => registered.eq_ignore_ascii_case(shown),
        (TlsSubject::SanUri(registered), GeneralName::URI(shown))
        | (TlsSubject::SanEmail(registered), GeneralName::RFC822Name(shown)) => registered == shown,
        (TlsSubject::SanIp(registered), GeneralName::IPAddress(shown)) => registered
            .parse::<IpAddr>()
            .is_ok_and(|registered| octets(registered) == *shown),
        _ => false,
    })
}

/// Why a registered subject could never match: for the compiler.
///
/// # Errors
/// What is wrong with it, in the words of a message.
pub fn check_subject(subject: &TlsSubject) -> Result<(), &'static str> {
    match subject {
        TlsSubject::Dn(text) => parse_dn(text)
            .map(|_| ())
            .ok_or("is no distinguished name as RFC 4514 writes it, for example `CN=batch,O=Bank,C=DE`"),
        TlsSubject::SanIp(text) => text
            .parse::<IpAddr>()
            .map(|_| ())
            .map_err(|_| "is no IP address: write `192.0.2.7` or `2001:db8::7`"),
        TlsSubject::SanDns(text) | TlsSubject::SanUri(text) | TlsSubject::SanEmail(text) => {
            if text.is_empty() || text.contains('*') {
                Err("is empty or has a wildcard: it is compared exactly")
            } else {
                Ok(())
            }
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The certificate's subject in the order of RFC 4514 section 2.1: the last part first.
fn subject_of(certificate: &X509Certificate<'_>) -> Option<Vec<Rdn>> {
    let mut parts = Vec::new();
    for part in certificate.subject().iter() {
        let mut attributes = Rdn::new();
        for attribute in part.iter() {
            let value = attribute.as_str().ok()?.to_owned();
            attributes.push((attribute.attr_type().to_id_string(), value));
        }
        attributes.sort();
        parts.push(attributes);
    }
    parts.reverse();
    (!parts.is_empty()).then_some(parts)
}

/// Reads a distinguished name (RFC 4514 section 3). White space around `,`, `+` and `=` is let pass, as RFC 2253
/// and OpenSSL write it. A value in the form `#hex` is not read.
fn parse_dn(text: &str) -> Option<Vec<Rdn>> {
    let mut parts = Vec::new();
    for part in split(text, &[',', ';'])? {
        let mut attributes = Rdn::new();
        for attribute in split(&part, &['+'])? {
            let (name, value) = attribute.split_once('=')?;
            let name = name.trim().to_ascii_uppercase();
            let name = name.strip_prefix("OID.").unwrap_or(&name);
            let is_oid = name.contains('.') && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let known = ATTRIBUTE_TYPES.iter().find(|(short, _)| *short == name);
            let identifier = known
                .map(|(_, identifier)| (*identifier).to_owned())
                .or_else(|| is_oid.then(|| name.to_owned()))?;
            let value = trim_unescaped(value);
            if value.is_empty() || value.starts_with('#') {
                return None;
            }
            attributes.push((identifier, unescape(value)?));
        }
        attributes.sort();
        parts.push(attributes);
    }
    Some(parts)
}

/// The pieces between these separators, where they stand without a backslash.
fn split(text: &str, separators: &[char]) -> Option<Vec<String>> {
    let mut pieces = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if separators.contains(&character) && !escaped {
            pieces.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        pieces.last_mut()?.push(character);
    }
    (!escaped && pieces.iter().all(|piece| !piece.trim().is_empty())).then_some(pieces)
}

/// Without the spaces around it; one after a backslash is part of the value.
fn trim_unescaped(value: &str) -> &str {
    let value = value.trim_start_matches(' ');
    let trimmed = value.trim_end_matches(' ');
    let backslashes = trimmed.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 && trimmed.len() < value.len() {
        &value[..=trimmed.len()]
    } else {
        trimmed
    }
}

/// `\,` and `\2C` are a comma (RFC 4514 section 2.4).
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let first = rest.next()?;
        if let Some(high) = char::from(first).to_digit(16) {
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["batch.bank.example".to_owned()]).expect("names");
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Bank, Inc.");
        name.push(DnType::CommonName, "batch");
        params.distinguished_name = name;
        params
            .subject_alt_names
            .push(SanType::IpAddress("192.0.2.7".parse().expect("an address")));
        params
            .subject_alt_names
            .push(SanType::URI("https://batch.bank.example/".try_into().expect("ASCII")));
        params
            .subject_alt_names
            .push(SanType::Rfc822Name("ops@bank.example".try_into().expect("ASCII")));
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn case_076_a_subject_matches_as_a_whole_and_exactly() {
        let der = certificate();
        let dn = |text: &str| TlsSubject::Dn(text.to_owned());
        let rows = [
            (dn(r"CN=batch,O=Bank\, Inc.,C=DE"), true),
            (dn(r"cn=batch, O = Bank\2C Inc. ,C=DE"), true),
            (dn(r"2.5.4.3=batch,OID.2.5.4.10=Bank\, Inc.,C=DE"), true),
            (dn(r"C=DE,O=Bank\, Inc.,CN=batch"), false),
            (dn("CN=batch"), false),
            (dn(r"CN=Batch,O=Bank\, Inc.,C=DE"), false),
            (dn(r"CN=batch,O=Bank\, Inc.,C=DE,C=DE"), false),
            (dn("CN=batch,O=Bank, Inc.,C=DE"), false),
            (dn(""), false),
            (TlsSubject::SanDns("Batch.Bank.example".to_owned()), true),
            (TlsSubject::SanDns("bank.example".to_owned()), false),
            (TlsSubject::SanDns("batch".to_owned()), false),
            (TlsSubject::SanUri("https://batch.bank.example/".to_owned()), true),
            (TlsSubject::SanUri("https://batch.bank.example".to_owned()), false),
            (TlsSubject::SanIp("192.0.2.7".to_owned()), true),
            (TlsSubject::SanIp("192.0.2.8".to_owned()), false),
            (TlsSubject::SanEmail("ops@bank.example".to_owned()), true),
            (TlsSubject::SanEmail("batch.bank.example".to_owned()), false),
        ];
        for (subject, expected) in rows {
            assert_eq!(is_of(&der, &subject), expected, "{subject:?}");
        }
        assert!(!is_of(
            b"no certificate",
            &TlsSubject::SanDns("batch.bank.example".to_owned())
        ));
        assert!(!is_of(
            &[der.as_slice(), b"x"].concat(),
            &dn(r"CN=batch,O=Bank\, Inc.,C=DE")
        ));
    }

    #[test]
    fn names_that_cannot_be_read_are_told_before_they_are_used() {
        for bad in ["CN", "CN=", "XX=a", "CN=a,,O=b", "CN=#0403", r"CN=a\", "CN=a,"] {
            assert!(check_subject(&TlsSubject::Dn(bad.to_owned())).is_err(), "{bad}");
        }
        assert_eq!(
            parse_dn(r"OU=a+CN=b\ ,O=\C3\A9"),
            Some(vec![
                vec![
                    ("2.5.4.11".to_owned(), "a".to_owned()),
                    ("2.5.4.3".to_owned(), "b ".to_owned())
                ],
                vec![("2.5.4.10".to_owned(), "\u{e9}".to_owned())]
            ])
        );
        assert!(check_subject(&TlsSubject::SanDns("*.bank.example".to_owned())).is_err());
        assert!(check_subject(&TlsSubject::SanIp("bank.example".to_owned())).is_err());
    }

    #[test]
    fn case_076_a_certificate_is_good_in_its_time_alone() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        params.not_before = rcgen::date_time_ymd(2027, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 2, 1);
        let der = params
            .self_signed(&KeyPair::generate().expect("a key"))
            .expect("a certificate");
        let at = |seconds| is_in_its_time(der.der(), Timestamp::from_unix_seconds(seconds));
        let start = 1_798_761_600;
        assert!(at(start) && at(start + 86_400));
        assert!(!at(start - 1) && !at(start + 32 * 86_400));
    }
}
