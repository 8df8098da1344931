use std::fmt::Write as _;

use super::*;

struct Certificate {
    pem: String,
    digest: Digest,
}

/// A certificate whose base64 holds a `+`, which is where wrong decoders go astray.
fn certificate(name: &str) -> Certificate {
    loop {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("rcgen makes certificates");
        let pem = made.cert.pem().replace("\r\n", "\n");
        if pem.contains('+') {
            let digest = Digest::of(made.cert.der());
            return Certificate { pem, digest };
        }
    }
}

/// As Envoy writes it: `Utility::urlEncodedPemEncodedPeerCertificate` escapes these and no others.
fn as_envoy(pem: &str) -> String {
    pem.replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}

#[test]
fn edge_x13_the_leaf_of_url_encoded_pem_is_hashed() {
    let leaf = certificate("leaf.example");
    let issuer = certificate("ca.example");
    let everything = |pem: &str| {
        pem.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02x}").expect("a string takes text");
            text
        })
    };
    for (name, text) in [
        ("as Envoy writes it", as_envoy(&leaf.pem)),
        ("with a literal plus", as_envoy(&leaf.pem).replace("%2B", "+")),
        ("unescaped", leaf.pem.clone()),
        ("everything escaped, in lower case", everything(&leaf.pem)),
        ("with CRLF", as_envoy(&leaf.pem).replace("%0A", "%0D%0A")),
        ("without a last newline", as_envoy(leaf.pem.trim_end())),
        ("a chain of two", as_envoy(&format!("{}{}", leaf.pem, issuer.pem))),
        (
            "a chain of two with CRLF",
            as_envoy(&format!("{}{}", leaf.pem, issuer.pem)).replace("%0A", "%0D%0A"),
        ),
    ] {
        assert_eq!(thumbprint_of_url_encoded_pem(&text), Ok(leaf.digest), "{name}");
    }
    let other_order = as_envoy(&format!("{}{}", issuer.pem, leaf.pem));
    assert_eq!(thumbprint_of_url_encoded_pem(&other_order), Ok(issuer.digest));
}

#[test]
fn edge_x13_what_is_no_certificate_has_no_thumbprint() {
    let leaf = certificate("leaf.example");
    let good = as_envoy(&leaf.pem);
    let pem_of = |der: &[u8]| {
        let body = STANDARD.encode(der);
        as_envoy(&format!(
            "-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
        ))
    };
    for (name, text, error) in [
        ("nothing", String::new(), CertificateError::NotPem),
        ("no end", good.replace("-----END", "-----FIN"), CertificateError::NotPem),
        (
            "a private key",
            good.replace("CERTIFICATE", "PRIVATE%20KEY"),
            CertificateError::NotPem,
        ),
        ("text before", format!("x{good}"), CertificateError::NotPem),
        (
            "plus read as space",
            good.replace("%2B", "%20"),
            CertificateError::NotPem,
        ),
        ("broken escape", format!("{good}%"), CertificateError::NotPem),
        ("bad escape", format!("{good}%zz"), CertificateError::NotPem),
        ("no ASCII", format!("{good}%ff"), CertificateError::NotPem),
        ("empty", pem_of(&[]), CertificateError::NotDer),
        ("no sequence", pem_of(b"hello"), CertificateError::NotDer),
        ("empty sequence", pem_of(&[0x30, 0]), CertificateError::NotDer),
        ("truncated", pem_of(&[0x30, 0x82, 1, 0, 1]), CertificateError::NotDer),
        ("bytes behind", pem_of(&[0x30, 1, 5, 0]), CertificateError::NotDer),
        (
            "too long",
            "%41".repeat(CERTIFICATE_BYTES_MAX),
            CertificateError::TooLong,
        ),
    ] {
        assert_eq!(thumbprint_of_url_encoded_pem(&text), Err(error), "{name}");
    }
}

#[test]
fn edge_x14_the_one_element_of_a_sanitised_header_is_read() {
    let leaf = certificate("leaf.example");
    let issuer = certificate("ca.example");
    let digits = hex(&leaf.digest);
    let cert = as_envoy(&leaf.pem);
    let chain = as_envoy(&format!("{}{}", leaf.pem, issuer.pem));
    for (name, header, digest) in [
        ("hash", format!("Hash={digits}"), Some(leaf.digest)),
        (
            "hash in upper case",
            format!("hash={}", digits.to_uppercase()),
            Some(leaf.digest),
        ),
        ("quoted hash", format!("Hash=\"{digits}\""), Some(leaf.digest)),
        ("cert", format!("Cert=\"{cert}\""), Some(leaf.digest)),
        ("cert without quotes", format!("Cert={cert}"), Some(leaf.digest)),
        (
            "hash and cert",
            format!("Hash={digits};Cert=\"{cert}\""),
            Some(leaf.digest),
        ),
        (
            "as Envoy writes it",
            format!(
                "By=spiffe://x/gate;Hash={digits};Cert=\"{cert}\";Chain=\"{chain}\";Subject=\"CN=a,O=\\\"b;c\\\"\";\
                 URI=spiffe://x/a;DNS=a.example;DNS=b.example"
            ),
            Some(leaf.digest),
        ),
        (
            "comma in quotes",
            format!("Subject=\"CN=a,Hash=00\";Hash={digits}"),
            Some(leaf.digest),
        ),
        (
            "escaped quote before a comma",
            format!("Subject=\"a\\\",Hash=0\";Hash={digits}"),
            Some(leaf.digest),
        ),
        ("neither", "By=spiffe://x/gate;URI=spiffe://x/a".to_owned(), None),
    ] {
        assert_eq!(thumbprint_from_xfcc(&header), Ok(digest), "{name}");
    }
}

#[test]
fn edge_x14_a_header_that_can_be_read_in_two_ways_is_refused() {
    let leaf = certificate("leaf.example");
    let other = certificate("other.example");
    let (digits, foreign) = (hex(&leaf.digest), hex(&other.digest));
    let cert = as_envoy(&leaf.pem);
    for (name, header, error) in [
        (
            "two elements",
            format!("Hash={foreign},Hash={digits}"),
            CertificateError::SeveralElements,
        ),
        (
            "a forwarded element",
            format!("By=x;Hash={foreign},By=y;Hash={digits}"),
            CertificateError::SeveralElements,
        ),
        (
            "an empty second element",
            format!("Hash={digits},"),
            CertificateError::SeveralElements,
        ),
        (
            "hash twice",
            format!("Hash={digits};Hash={digits}"),
            CertificateError::MalformedHeader,
        ),
        (
            "cert twice",
            format!("Cert=\"{cert}\";Cert=\"{cert}\""),
            CertificateError::MalformedHeader,
        ),
        (
            "disagreement",
            format!("Hash={foreign};Cert=\"{cert}\""),
            CertificateError::Disagreement,
        ),
        ("nothing", String::new(), CertificateError::MalformedHeader),
        ("no pair", digits.clone(), CertificateError::MalformedHeader),
        ("no name", format!("={digits}"), CertificateError::MalformedHeader),
        (
            "trailing semicolon",
            format!("Hash={digits};"),
            CertificateError::MalformedHeader,
        ),
        (
            "open quote",
            format!("Hash=\"{digits}"),
            CertificateError::MalformedHeader,
        ),
        (
            "quote inside",
            format!("Hash={digits}\"\""),
            CertificateError::MalformedHeader,
        ),
        (
            "text behind the quote",
            format!("Hash=\"{digits}\"x"),
            CertificateError::MalformedHeader,
        ),
        (
            "short hash",
            format!("Hash={}", &digits[2..]),
            CertificateError::MalformedHeader,
        ),
        (
            "no hex",
            format!("Hash={}zz", &digits[2..]),
            CertificateError::MalformedHeader,
        ),
        (
            "signed hex",
            format!("Hash=+1{}", &digits[2..]),
            CertificateError::MalformedHeader,
        ),
        (
            "base64url hash",
            format!("Hash={}", leaf.digest.to_base64url()),
            CertificateError::MalformedHeader,
        ),
        ("cert is no PEM", "Cert=\"x\"".to_owned(), CertificateError::NotPem),
        (
            "too long",
            "x".repeat(CERTIFICATE_BYTES_MAX + 1),
            CertificateError::TooLong,
        ),
    ] {
        assert_eq!(thumbprint_from_xfcc(&header), Err(error), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = thumbprint_of_url_encoded_pem(&text);
        let _ = thumbprint_from_xfcc(&text);
    }

    #[test]
    fn no_text_of_the_grammars_pieces_panics(text in "((Hash|Cert|By|=|;|,|\"|\\\\|%[0-9A-F]{0,2}|é)){0,30}") {
        let _ = thumbprint_of_url_encoded_pem(&text);
        let _ = thumbprint_from_xfcc(&text);
    }
}
