use proptest::prelude::*;

use super::*;
use crate::jose::forge::{claims_with, encode, forge, header_of, key};
use crate::jose::unverified::Unverified;

fn refusal(token: &str) -> Option<Malformed> {
    Unverified::parse(token).err()
}

/// A token with this header and payload whose signature nobody will look at.
fn with_header(header: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(claims_with(&[])), encode([1; 64]))
}

fn honest() -> String {
    forge(
        key(Algorithm::Es256),
        &header_of(key(Algorithm::Es256)),
        &claims_with(&[]),
    )
}

#[test]
fn shows_what_chooses_keys_and_nothing_else() {
    let token = honest();
    let unverified = Unverified::parse(&token).expect("well formed");
    assert_eq!(unverified.issuer(), Some("https://issuer.example"));
    assert_eq!(unverified.kid(), Some(key(Algorithm::Es256).kid().as_str()));
    assert_eq!(unverified.algorithm(), Algorithm::Es256);
    assert_eq!(unverified.typ(), Some("JWT"));
}

#[test]
fn attack_a01_edge_j01_the_none_family_is_refused_before_a_key_is_looked_for() {
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""NONE""#,
        r#""nOnE""#,
        r#""""#,
        r#"" RS256""#,
        "null",
        "0",
        "[\"RS256\"]",
        "{}",
    ] {
        let header = format!(r#"{{"alg":{alg}}}"#);
        assert_eq!(refusal(&with_header(&header)), Some(Malformed::Algorithm), "{alg}");
        let unsigned = format!("{}.{}", encode(&header), encode(claims_with(&[])));
        assert_eq!(
            refusal(&format!("{unsigned}.")),
            Some(Malformed::Parts),
            "{alg} with the last dot"
        );
        assert_eq!(refusal(&unsigned), Some(Malformed::Parts), "{alg} without the last dot");
    }
    assert_eq!(refusal(&with_header(r#"{"typ":"JWT"}"#)), Some(Malformed::Algorithm));
}

#[test]
fn attack_a04_json_serializations_are_no_tokens() {
    let token = honest();
    let parts: Vec<&str> = token.split('.').collect();
    let flattened = format!(
        r#"{{"protected":"{}","header":{{"alg":"ES256"}},"payload":"{}","signature":"{}"}}"#,
        parts[0], parts[1], parts[2]
    );
    let general = format!(
        r#"{{"payload":"{}","signatures":[{{"protected":"{}","signature":"{}"}}]}}"#,
        parts[1], parts[0], parts[2]
    );
    for text in [flattened, general] {
        assert!(refusal(&text).is_some());
    }
}

#[test]
fn attack_a05_edge_j20_only_three_parts_are_a_token() {
    let jwe_header = encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}"#);
    for (name, text) in [
        ("five-part JWE", format!("{jwe_header}.QUJD.QUJD.QUJD.QUJD")),
        ("five parts of an honest header", format!("{}.a.b", honest())),
        ("four parts", format!("{}.QUJD", honest())),
        ("trailing dot", format!("{}.", honest())),
        ("leading dot", format!(".{}", honest())),
        ("two parts", "QUJD.QUJD".to_owned()),
        ("one part", "QUJD".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_eq!(refusal(&text), Some(Malformed::Parts), "{name}");
    }
}

#[test]
fn attack_a06_a_nested_token_is_never_opened() {
    let inner = honest();
    let header = r#"{"alg":"ES256","cty":"JWT"}"#;
    let outer = forge(key(Algorithm::Es256), header, &inner);
    assert_eq!(refusal(&outer), Some(Malformed::Payload));
}

#[test]
fn attack_a16_a_kid_is_a_printable_string_of_bounded_length() {
    for kid in ["1", "[]", "{}", "null", "true", r#""""#, r#""a\u0000b""#, r#""a\r\nb""#] {
        let header = format!(r#"{{"alg":"ES256","kid":{kid}}}"#);
        assert_eq!(refusal(&with_header(&header)), Some(Malformed::HeaderMember), "{kid}");
    }
    let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(1025));
    assert_eq!(refusal(&with_header(&long)), Some(Malformed::HeaderMember));
    let huge = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(10_240));
    assert_eq!(refusal(&with_header(&huge)), Some(Malformed::TooLong));
}

#[test]
fn attack_a18_attack_a19_attack_a20_edge_j02_extensions_are_refused_whatever_they_hold() {
    for extension in [
        r#""crit":["x"],"x":1"#,
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":[]"#,
        r#""crit":"x""#,
        r#""crit":null"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""zip":null"#,
    ] {
        let header = format!(r#"{{"alg":"ES256",{extension}}}"#);
        let token = forge(key(Algorithm::Es256), &header, &claims_with(&[]));
        assert_eq!(refusal(&token), Some(Malformed::Extension), "{extension}");
    }
}

#[test]
fn attack_a21_a_password_based_algorithm_is_unknown_and_costs_nothing() {
    for alg in [
        "PBES2-HS256+A128KW",
        "PBES2-HS512+A256KW",
        "dir",
        "A128KW",
        "ECDH-ES",
        "RSA1_5",
    ] {
        let header = format!(r#"{{"alg":"{alg}","p2c":2147483648,"p2s":"QUJD","enc":"A128GCM"}}"#);
        assert_eq!(refusal(&with_header(&header)), Some(Malformed::Algorithm), "{alg}");
    }
}

#[test]
fn attack_a22_edge_j18_duplicate_members_are_refused_in_header_and_payload() {
    let signer = key(Algorithm::Es256);
    for header in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"a","k\u0069d":"b"}"#,
    ] {
        assert_eq!(
            refusal(&forge(signer, header, "{}")),
            Some(Malformed::Header),
            "{header}"
        );
    }
    for payload in [
        r#"{"sub":"alice","sub":"root"}"#,
        r#"{"aud":"a","aud":"b"}"#,
        r#"{"exp":1,"exp":9999999999}"#,
        r#"{"cnf":{"jkt":"a","jkt":"b"}}"#,
    ] {
        let token = forge(signer, r#"{"alg":"ES256"}"#, payload);
        assert_eq!(refusal(&token), Some(Malformed::Payload), "{payload}");
    }
}

#[test]
fn attack_a23_text_that_is_no_utf8_is_refused() {
    let invalid = format!(
        "{}.{}.{}",
        encode(b"{\"alg\":\"ES256\xff\"}"),
        encode("{}"),
        encode([1; 64])
    );
    assert_eq!(refusal(&invalid), Some(Malformed::Header));
    let invalid = format!(
        "{}.{}.{}",
        encode(r#"{"alg":"ES256"}"#),
        encode(b"{\"a\":\"\xc3(\"}"),
        encode([1])
    );
    assert_eq!(refusal(&invalid), Some(Malformed::Payload));
    let bom = with_header("\u{feff}{\"alg\":\"ES256\"}");
    assert_eq!(refusal(&bom), Some(Malformed::Header));
    let escaped_name = with_header(r#"{"al\u0067":"ES256"}"#);
    assert_eq!(
        refusal(&escaped_name),
        None,
        "the name is compared after its escapes are read"
    );
}

#[test]
fn attack_a31_edge_j21_a_token_has_one_spelling() {
    let token = honest();
    let parts: Vec<&str> = token.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let respelled = |with: &str| {
            let mut parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            with.clone_into(&mut parts[index]);
            parts.join(".")
        };
        for spelling in [
            format!("{part}="),
            format!("{part}=="),
            format!(" {part}"),
            format!("{part} "),
            format!("{part}\n"),
            format!("{part}\r\n"),
            format!("{}\t{}", &part[..8], &part[8..]),
            format!("{}\n{}", &part[..8], &part[8..]),
            format!("{}+{}", &part[..8], &part[9..]),
            format!("{}/{}", &part[..8], &part[9..]),
            format!("{}%41{}", &part[..8], &part[8..]),
            format!("{}\0{}", &part[..8], &part[8..]),
        ] {
            let refused = refusal(&respelled(&spelling));
            assert!(refused.is_some(), "part {index}: {spelling:?}");
        }
    }
}

#[test]
fn attack_a31_edge_j21_unused_bits_have_no_second_spelling() {
    // 64 bytes leave four unused bits in the last of 86 characters.
    let token = honest();
    let (rest, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).expect("base64url");
    assert_eq!(at % 16, 0, "an honest encoder leaves them zero");
    for twin in 1..16 {
        let twin = format!("{rest}{}", &alphabet[at + twin..=at + twin]);
        assert_eq!(refusal(&twin), Some(Malformed::Base64));
    }
}

#[test]
fn attack_a32_dots_in_odd_places_are_no_token() {
    for text in [
        "..",
        "...",
        "h..p.s",
        ".h.p.s",
        "h.p.s.",
        "h.p..s",
        &".".repeat(1_000_000),
        &".".repeat(TOKEN_BYTES_MAX),
    ] {
        let refused = refusal(text);
        assert!(
            matches!(refused, Some(Malformed::Parts | Malformed::TooLong)),
            "{refused:?}"
        );
    }
}

#[test]
fn attack_a33_edge_j19_size_is_checked_before_anything_is_decoded() {
    let signer = key(Algorithm::Es256);
    let padded = |bytes: usize| {
        forge(
            signer,
            &header_of(signer),
            &claims_with(&[("x", &format!("{:?}", "x".repeat(bytes)))]),
        )
    };
    let mut bytes = 5_000;
    while padded(bytes + 1).len() <= TOKEN_BYTES_MAX {
        bytes += 1;
    }
    assert_eq!(refusal(&padded(bytes)), None, "the largest token that fits");
    assert_eq!(refusal(&padded(bytes + 1)), Some(Malformed::TooLong));
    for bytes in [8193, 16_385, 1 << 20, 3_900_000] {
        // Not base64url at all: that it is too long is found first.
        assert_eq!(refusal(&"!".repeat(bytes)), Some(Malformed::TooLong), "{bytes}");
    }
}

#[test]
fn attack_a34_attack_a35_edge_j19_deep_and_wide_tokens_are_refused() {
    let signer = key(Algorithm::Es256);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(
        refusal(&forge(signer, r#"{"alg":"ES256"}"#, &deep)),
        Some(Malformed::Payload)
    );
    let unclosed = format!("{{\"a\":{}", "[".repeat(5_000));
    assert_eq!(
        refusal(&forge(signer, r#"{"alg":"ES256"}"#, &unclosed)),
        Some(Malformed::Payload)
    );
    let header = format!(r#"{{"alg":"ES256","x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(refusal(&with_header(&header)), Some(Malformed::Header));
    let wide = format!("{{\"a\":[{}0]}}", "0,".repeat(2_500));
    assert_eq!(
        refusal(&forge(signer, r#"{"alg":"ES256"}"#, &wide)),
        Some(Malformed::Payload)
    );
    let digits = format!("{{\"exp\":{}}}", "9".repeat(5_000));
    assert_eq!(
        refusal(&forge(signer, r#"{"alg":"ES256"}"#, &digits)),
        Some(Malformed::Payload)
    );
}

#[test]
fn messages_repeat_no_part_of_the_token() {
    let canary = "canary-canary";
    let header = format!(r#"{{"alg":"{canary}"}}"#);
    let refused = refusal(&with_header(&header)).expect("refused");
    assert!(!refused.to_string().contains(canary) && !format!("{refused:?}").contains(canary));
}

proptest! {
    #[test]
    fn the_parser_never_panics_on_any_text(text in ".*") {
        let _ = Unverified::parse(&text);
    }

    #[test]
    fn the_parser_never_panics_on_any_bytes_in_the_parts(
        header in proptest::collection::vec(any::<u8>(), 0..200),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        signature in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode(signature));
        let _ = Unverified::parse(&token);
    }

    #[test]
    fn the_parser_never_panics_on_json_like_parts(
        header in "\\{(\"(alg|kid|typ|crit|jwk)\":(\"[A-Z0-9]{0,5}\"|[0-9.e-]{0,6}|\\[|\\]|null|\\{)[,}]?){0,5}",
        payload in "[\\[\\]{}\",:0-9a-f\\\\u.e+-]{0,200}",
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode([1; 64]));
        let _ = Unverified::parse(&token);
    }
}
