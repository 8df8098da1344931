use std::collections::HashMap;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::envoy::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use crate::envoy::pb::envoy::service::auth::v3::CheckRequest;
use crate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use crate::envoy::pb::envoy::service::auth::v3::{AttributeContext, attribute_context};
use crate::policy::facts::Occurrence;

fn check_of(http: HttpRequest) -> CheckRequest {
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(http),
            }),
            ..AttributeContext::default()
        }),
    }
}

fn map_of(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn reads_every_field_that_the_gate_looks_at() {
    let mut check = check_of(HttpRequest {
        id: "7".into(),
        method: "GET".into(),
        headers: map_of(&[("authorization", "Bearer t")]),
        path: "/a?b=c".into(),
        host: "Api.example".into(),
        scheme: "https".into(),
        body: "ignored".into(),
        ..HttpRequest::default()
    });
    let attributes = check.attributes.as_mut().expect("set above");
    attributes.source = Some(Peer {
        certificate: "PEM".into(),
        ..Peer::default()
    });
    attributes.tls_session = Some(TlsSession { sni: "sni".into() });
    attributes.context_extensions = map_of(&[("other", "x"), (PINNED_API, "transfers")]);
    let bytes = check.encode_to_vec();
    let facts = read(&bytes).expect("decodes");
    assert_eq!(
        (facts.request_id, facts.method, facts.target, facts.host, facts.scheme),
        ("7", "GET", "/a?b=c", "Api.example", "https")
    );
    assert_eq!(facts.header("authorization"), Occurrence::Once(b"Bearer t"));
    assert!(!facts.raw_headers);
    assert_eq!(facts.peer_certificate, Some("PEM"));
    assert_eq!(facts.tls_server_name, Some("sni"));
    assert_eq!(facts.pinned_api, Some("transfers"));
}

#[test]
fn a_client_certificate_is_read_from_the_source_and_never_from_the_destination() {
    let mut check = check_of(HttpRequest::default());
    check.attributes.as_mut().expect("set").destination = Some(Peer {
        certificate: "PEM".into(),
        ..Peer::default()
    });
    let bytes = check.encode_to_vec();
    assert_eq!(read(&bytes).expect("decodes").peer_certificate, None);
}

#[test]
fn edge_c09_raw_and_joined_headers_give_the_same_facts() {
    let joined = check_of(HttpRequest {
        method: "GET".into(),
        headers: map_of(&[("authorization", "Bearer t")]),
        ..HttpRequest::default()
    })
    .encode_to_vec();
    for by_raw_value in [true, false] {
        let (value, raw_value) = if by_raw_value {
            (String::new(), b"Bearer t".to_vec())
        } else {
            ("Bearer t".to_owned(), Vec::new())
        };
        let raw = check_of(HttpRequest {
            method: "GET".into(),
            header_map: Some(HeaderMap {
                headers: vec![HeaderValue {
                    key: "authorization".into(),
                    value,
                    raw_value,
                }],
            }),
            ..HttpRequest::default()
        })
        .encode_to_vec();
        let (joined, raw) = (read(&joined).expect("decodes"), read(&raw).expect("decodes"));
        assert_eq!(joined.headers, raw.headers);
        assert_eq!(joined.method, raw.method);
        assert!(raw.raw_headers && !joined.raw_headers);
    }
}

#[test]
fn edge_o01_attack_d21_a_check_without_an_http_request_is_refused() {
    let no_http = Undecodable("the check holds no HTTP request");
    assert_eq!(read(b"").err(), Some(no_http));
    for attributes in [
        AttributeContext::default(),
        AttributeContext {
            request: Some(Request::default()),
            ..AttributeContext::default()
        },
    ] {
        let bytes = CheckRequest {
            attributes: Some(attributes),
        }
        .encode_to_vec();
        assert_eq!(read(&bytes).err(), Some(no_http));
    }
    let empty_http = check_of(HttpRequest::default()).encode_to_vec();
    let facts = read(&empty_http).expect("absent fields are tolerated");
    assert_eq!((facts.method, facts.headers.len()), ("", 0));
}

#[test]
fn edge_o01_attack_d21_unknown_fields_are_skipped_and_broken_ones_refused() {
    let good = check_of(HttpRequest {
        method: "GET".into(),
        ..HttpRequest::default()
    })
    .encode_to_vec();
    let with = |extra: &[u8]| [good.as_slice(), extra].concat();
    // Fields 100 (varint), 101 (fixed64), 102 (bytes), 103 (fixed32), none of which we know.
    for unknown in [
        &[0xa0, 0x06, 0x01][..],
        &[0xa9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xb2, 0x06, 0x01, 0xff],
        &[0xbd, 0x06, 1, 2, 3, 4],
    ] {
        assert_eq!(read(&with(unknown)).map(|facts| facts.method), Ok("GET"), "{unknown:?}");
    }
    let broken: &[(&str, &[u8])] = &[
        ("number 0", &[0x02, 0x00]),
        ("a group", &[0xa3, 0x06, 0xa4, 0x06]),
        ("wire type 7", &[0xa7, 0x06]),
        ("length beyond the end", &[0xb2, 0x06, 0x05, 1]),
        ("cut number", &[0xa0, 0x06, 0x80]),
        (
            "eleven byte number",
            &[0xa0, 0x06, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        ),
        ("attributes as a number", &[0x08, 0x01]),
        ("key beyond 32 bits", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01]),
    ];
    for (name, extra) in broken {
        assert!(read(&with(extra)).is_err(), "{name}");
    }
}

#[test]
fn attack_d05_attack_d03_bytes_that_are_no_utf8_are_refused_in_strings_and_kept_in_raw_values() {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length], bytes].concat()
    }
    let check = |http: &[u8]| field(1, &field(4, &field(2, http)));
    let bad = b"v\xc3\x28w";
    for (name, http) in [
        ("id", field(1, bad)),
        ("method", field(2, bad)),
        ("header name", field(3, &[field(1, bad), field(2, b"v")].concat())),
        ("header value", field(3, &[field(1, b"x-role"), field(2, bad)].concat())),
        ("path", field(4, bad)),
        ("host", field(5, bad)),
        ("scheme", field(6, bad)),
        (
            "raw header name",
            field(13, &field(1, &[field(1, bad), field(3, b"v")].concat())),
        ),
        (
            "raw header's text",
            field(13, &field(1, &[field(1, b"n"), field(2, bad)].concat())),
        ),
    ] {
        assert_eq!(read(&check(&http)).err(), Some(NOT_UTF8), "{name}");
    }
    let raw = check(&field(13, &field(1, &[field(1, b"x-role"), field(3, bad)].concat())));
    assert_eq!(read(&raw).expect("decodes").header("x-role"), Occurrence::Once(bad));
}

#[test]
fn refuses_what_two_readers_could_take_differently() {
    let header = |value: &str, raw: &[u8]| HeaderValue {
        key: "x".into(),
        value: value.into(),
        raw_value: raw.to_vec(),
    };
    let both_forms = check_of(HttpRequest {
        headers: map_of(&[("x", "a")]),
        header_map: Some(HeaderMap {
            headers: vec![header("a", b"")],
        }),
        ..HttpRequest::default()
    });
    let both_values = check_of(HttpRequest {
        header_map: Some(HeaderMap {
            headers: vec![header("a", b"b")],
        }),
        ..HttpRequest::default()
    });
    for check in [both_forms, both_values] {
        assert!(read(&check.encode_to_vec()).is_err());
    }
    // Two pins: one message of attributes after the other, which protobuf merges.
    let mut pinned = check_of(HttpRequest::default());
    pinned.attributes.as_mut().expect("set").context_extensions = map_of(&[(PINNED_API, "a")]);
    let once = pinned.encode_to_vec();
    assert!(read(&once).is_ok());
    assert!(read(&[once.as_slice(), once.as_slice()].concat()).is_err());
}

#[test]
fn a_header_that_is_twice_in_the_map_stays_twice() {
    let once = check_of(HttpRequest {
        method: "GET".into(),
        headers: map_of(&[("authorization", "Bearer t")]),
        ..HttpRequest::default()
    })
    .encode_to_vec();
    let twice = [once.as_slice(), once.as_slice()].concat();
    let facts = read(&twice).expect("decodes");
    assert_eq!(facts.header("authorization"), Occurrence::Several);
}

#[test]
fn more_headers_than_the_bound_are_refused() {
    let with = |count: usize| {
        let headers = (0..count)
            .map(|index| HeaderValue {
                key: format!("h{index}"),
                ..HeaderValue::default()
            })
            .collect();
        check_of(HttpRequest {
            header_map: Some(HeaderMap { headers }),
            ..HttpRequest::default()
        })
        .encode_to_vec()
    };
    assert_eq!(
        read(&with(HEADERS_MAX)).map(|facts| facts.headers.len()),
        Ok(HEADERS_MAX)
    );
    assert!(read(&with(HEADERS_MAX + 1)).is_err());
}

/// Deeper than prost (100) and most decoders go: the metadata is skipped by its length, so depth costs nothing.
#[test]
fn attack_e11_deep_metadata_is_skipped_without_recursion() {
    let mut value = prost_types::Value::default();
    for _ in 0..1000 {
        value = prost_types::Value {
            kind: Some(prost_types::value::Kind::ListValue(prost_types::ListValue {
                values: vec![value],
            })),
        };
    }
    let mut check = check_of(HttpRequest {
        method: "GET".into(),
        ..HttpRequest::default()
    });
    check.attributes.as_mut().expect("set").metadata_context = Some(Metadata {
        filter_metadata: HashMap::from([(
            "deep".to_owned(),
            prost_types::Struct {
                fields: [("v".to_owned(), value)].into(),
            },
        )]),
    });
    let bytes = check.encode_to_vec();
    assert!(
        CheckRequest::decode(bytes.as_slice()).is_err(),
        "a recursive decoder gives up"
    );
    assert_eq!(read(&bytes).map(|facts| facts.method), Ok("GET"));
}

prop_compose! {
    fn any_http()(
        texts in prop::array::uniform5("[a-zA-Z0-9/?=é!. ]{0,12}"),
        map in prop::collection::hash_map("[a-z:-]{1,8}", "[ -~é]{0,12}", 0..6),
        raw in prop::option::of(prop::collection::vec(("[a-z:-]{1,8}", prop::collection::vec(any::<u8>(), 0..8)), 0..6)),
        body in prop::collection::vec(any::<u8>(), 0..20),
        size in any::<i64>(),
    ) -> HttpRequest {
        let [id, method, path, host, scheme] = texts;
        HttpRequest {
            id, method, path, host, scheme, size,
            headers: if raw.is_some() { HashMap::new() } else { map },
            header_map: raw.map(|raw| HeaderMap {
                headers: raw.into_iter().map(|(key, raw_value)| HeaderValue { key, raw_value, ..HeaderValue::default() }).collect(),
            }),
            raw_body: body,
            ..HttpRequest::default()
        }
    }
}

prop_compose! {
    fn any_check()(
        http in any_http(),
        certificate in "[A-Z%]{0,8}",
        sni in "[a-z.]{0,8}",
        pin in prop::option::of("[a-z]{0,6}"),
        principal in "[a-z]{0,6}",
    ) -> CheckRequest {
        let mut check = check_of(http);
        let attributes = check.attributes.as_mut().expect("set");
        attributes.source = Some(Peer { certificate, principal, ..Peer::default() });
        attributes.tls_session = Some(TlsSession { sni });
        attributes.context_extensions = pin.map(|pin| (PINNED_API.to_owned(), pin)).into_iter().collect();
        check
    }
}

/// What prost makes of the same bytes, laid out as facts.
fn assert_same(facts: &RequestFacts<'_>, check: &CheckRequest) -> std::result::Result<(), TestCaseError> {
    let attributes = check.attributes.clone().unwrap_or_default();
    let http = attributes
        .request
        .and_then(|request: attribute_context::Request| request.http)
        .unwrap_or_default();
    prop_assert_eq!(facts.request_id, &http.id);
    prop_assert_eq!(facts.method, &http.method);
    prop_assert_eq!(facts.target, &http.path);
    prop_assert_eq!(facts.host, &http.host);
    prop_assert_eq!(facts.scheme, &http.scheme);
    let source = attributes.source.unwrap_or_default();
    prop_assert_eq!(facts.peer_certificate.unwrap_or(""), &source.certificate);
    prop_assert_eq!(
        facts.tls_server_name.unwrap_or(""),
        &attributes.tls_session.unwrap_or_default().sni
    );
    prop_assert_eq!(
        facts.pinned_api,
        attributes.context_extensions.get(PINNED_API).map(String::as_str)
    );
    if facts.raw_headers {
        let theirs: Vec<(String, Vec<u8>)> = http
            .header_map
            .unwrap_or_default()
            .headers
            .into_iter()
            .map(|header| {
                let value = if header.raw_value.is_empty() {
                    header.value.into_bytes()
                } else {
                    header.raw_value
                };
                (header.key, value)
            })
            .collect();
        let ours: Vec<(String, Vec<u8>)> = facts
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), header.value.to_vec()))
            .collect();
        prop_assert_eq!(ours, theirs);
    } else {
        // A map keeps the last of two entries of one name; the view keeps both.
        let ours: HashMap<String, String> = facts
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8(header.value.to_vec()).expect("checked by the view");
                (header.name.to_owned(), value)
            })
            .collect();
        prop_assert_eq!(ours, http.headers);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn reads_what_prost_decodes(check in any_check()) {
        let bytes = check.encode_to_vec();
        let facts = read(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        assert_same(&facts, &check)?;
    }

    /// Whatever happens to the bytes, the view takes them only if prost does, and then sees the same. (prost alone
    /// looks into the fields that the view skips, so it may refuse more.)
    #[test]
    fn attack_d21_mutated_messages_are_refused_or_read_as_prost_reads_them(
        check in any_check(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
        twice in any::<bool>(),
    ) {
        let mut bytes = check.encode_to_vec();
        if twice {
            bytes.extend_from_within(..);
        }
        for (place, byte, kind) in edits {
            if bytes.is_empty() { break; }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => bytes.truncate(at),
            }
        }
        if let Ok(facts) = read(&bytes) && let Ok(theirs) = CheckRequest::decode(bytes.as_slice()) {
            assert_same(&facts, &theirs)?;
        }
    }

    #[test]
    fn attack_d21_no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }
}
