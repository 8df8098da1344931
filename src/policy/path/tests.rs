use proptest::prelude::*;

use super::*;

const STRICT: PathOptions = PathOptions {
    merge_slashes: false,
    resolve_dot_segments: false,
    keep_encoded_slash: false,
    ignore_trailing_slash: false,
    ignore_case: false,
    allow_exclamation: false,
};

fn strict(path: &str) -> Result<Vec<String>, Ambiguity> {
    with(path, STRICT)
}

fn with(path: &str, options: PathOptions) -> Result<Vec<String>, Ambiguity> {
    read(path, options).map(|segments| segments.iter().map(Cow::to_string).collect())
}

fn is(path: &str, segments: &[&str]) {
    assert_eq!(
        strict(path),
        Ok(segments.iter().map(|text| (*text).to_owned()).collect()),
        "{path}"
    );
}

fn refused(paths: &[&str], why: Ambiguity) {
    for path in paths {
        assert_eq!(strict(path), Err(why), "{path:?}");
    }
}

#[test]
fn plain_paths_are_borrowed_segment_by_segment() {
    is("/", &[""]);
    is("/a", &["a"]);
    is("/a/", &["a", ""]);
    is("/a/b.json~-_:@$&'()*+,=", &["a", "b.json~-_:@$&'()*+,="]);
    let segments = read("/transfers/7", STRICT).expect("plain");
    assert!(segments.iter().all(|segment| matches!(segment, Cow::Borrowed(_))));
    assert!(!segments.spilled(), "no allocation");
}

#[test]
fn edge_p01_dot_segments_are_refused_or_resolved() {
    refused(
        &["/orders/../admin", "/..", "/.", "/a/./b", "/a/.", "/a/.."],
        DOT_SEGMENT,
    );
    let resolve = PathOptions {
        resolve_dot_segments: true,
        ..STRICT
    };
    let resolved = |path| with(path, resolve).map(|segments| segments.join("/"));
    assert_eq!(resolved("/orders/../admin"), Ok("admin".to_owned()));
    assert_eq!(resolved("/a/./b"), Ok("a/b".to_owned()));
    assert_eq!(resolved("/a/b/.."), Ok("a/".to_owned()));
    assert_eq!(resolved("/a/."), Ok("a/".to_owned()));
    assert_eq!(resolved("/../admin"), Err(ABOVE_ROOT));
    assert_eq!(resolved("/a/../../admin"), Err(ABOVE_ROOT));
    assert_eq!(resolved("/a/%2e%2e/admin"), Err(ENCODED_DOT_SEGMENT));
    let both = PathOptions {
        merge_slashes: true,
        ..resolve
    };
    // `/a/b` by one order of steps, `/b` by the other.
    assert_eq!(with("/a//../b", both), Err(DOUBLE_SLASH));
}

#[test]
fn edge_p02_encoded_dot_segments_are_refused() {
    refused(
        &[
            "/orders/%2e%2e/admin",
            "/%2E./admin",
            "/.%2e/admin",
            "/%2e",
            "/a/%2E%2e",
        ],
        ENCODED_DOT_SEGMENT,
    );
    is("/...", &["..."]);
    is("/.well-known/x", &[".well-known", "x"]);
}

#[test]
fn edge_p03_attack_d09_an_encoded_slash_is_refused_or_kept_as_text() {
    refused(&["/admin%2Fusers", "/admin%2fusers", "/%2f", "/a%2F"], ENCODED_SLASH);
    let keep = PathOptions {
        keep_encoded_slash: true,
        ..STRICT
    };
    assert_eq!(with("/admin%2fusers", keep), Ok(vec!["admin%2Fusers".to_owned()]));
    for bad in [
        "/..%2fadmin",
        "/a%2f..%2fb",
        "/a%2F%2e%2e",
        "/%2f",
        "/a%2f",
        "/a%2f%2fb",
        "/.%2fa",
    ] {
        assert_eq!(with(bad, keep), Err(ENCODED_SLASH), "{bad}");
    }
    assert_eq!(with("/a%252Fb", keep), Err(DOUBLE_ENCODING));
    assert_eq!(with("/a%25%32Fb%2Fc", keep), Err(DOUBLE_ENCODING));
}

#[test]
fn edge_p04_a_second_layer_of_encoding_is_refused() {
    refused(
        &[
            "/%252e%252e/admin",
            "/a%252Fb",
            "/%25%32%65",
            "/%25%32e",
            "/%2541",
            "/a%25ff",
        ],
        DOUBLE_ENCODING,
    );
    is("/100%25", &["100%"]);
    is("/100%25/x", &["100%", "x"]);
    is("/a%25zz", &["a%zz"]);
}

#[test]
fn edge_p05_an_empty_segment_is_refused_or_merged_and_never_drops_the_first() {
    refused(&["//admin", "///admin", "/a//b", "//", "/a//"], DOUBLE_SLASH);
    let merge = PathOptions {
        merge_slashes: true,
        ..STRICT
    };
    assert_eq!(with("//admin", merge), Ok(vec!["admin".to_owned()]));
    assert_eq!(with("///admin//x", merge), Ok(vec!["admin".to_owned(), "x".to_owned()]));
    assert_eq!(with("//a//", merge), Ok(vec!["a".to_owned(), String::new()]));
    assert_eq!(with("//", merge), Ok(vec![String::new()]));
}

#[test]
fn edge_p06_attack_d10_path_parameters_are_refused_raw_and_encoded() {
    refused(
        &[
            "/..;/admin",
            "/admin;x=1",
            "/a;p/b",
            "/;",
            "/a;jsessionid=1",
            "/a%3bb",
            "/a%3B",
        ],
        PARAMETER,
    );
}

#[test]
fn edge_p07_a_backslash_is_refused_raw_and_encoded() {
    refused(&["/..\\admin", "/a\\b", "/a%5cb", "/a%5C..%5c"], BACKSLASH);
}

#[test]
fn edge_p08_control_characters_are_refused() {
    refused(
        &[
            "/a%00", "/a%0ab", "/a%0d", "/a%7f", "/a\0", "/a\u{1}b", "/a\u{7f}", "/a%c2%85",
        ],
        CONTROL,
    );
    refused(&["/a b", "/a\tb", "/ "], SPACE);
    is("/a%20b", &["a b"]);
}

#[test]
fn edge_p09_bad_escapes_are_refused() {
    refused(
        &["/%", "/a%", "/a%z", "/a%zz", "/%4", "/%4/1", "/a%+1", "/%u0041"],
        BAD_ESCAPE,
    );
}

#[test]
fn edge_p10_attack_d07_an_encoded_question_mark_or_number_sign_is_text() {
    is("/mypath%3Ffoo=bar", &["mypath?foo=bar"]);
    is("/foo/secret%23/bar", &["foo", "secret#", "bar"]);
}

#[test]
fn edge_p12_a_raw_number_sign_is_refused() {
    refused(&["/a#b", "/#"], FRAGMENT);
}

#[test]
fn edge_p13_absolute_form_and_relative_paths_are_refused() {
    refused(
        &["http://evil/admin", "a/b", "admin", "?x", "*", "\\a"],
        NO_LEADING_SLASH,
    );
}

#[test]
fn edge_p15_an_empty_path_is_refused() {
    refused(&[""], EMPTY);
}

#[test]
fn edge_p16_bytes_that_are_no_utf8_and_their_substitutes_are_refused() {
    refused(
        &[
            "/%c0%ae",
            "/%ff",
            "/%ed%a0%80",
            "/%e2%82",
            "/%c0%af",
            "/%80",
            "/%f8%80%80%80%af",
        ],
        NOT_UTF8,
    );
    refused(&["/v!(w", "/!", "/a%ef%bf%bd"], SUBSTITUTION);
    refused(&["/é", "/a\u{fffd}", "/\u{ff0f}"], NOT_ASCII);
    is("/a%21", &["a!"]);
    let lax = PathOptions {
        allow_exclamation: true,
        ..STRICT
    };
    assert_eq!(with("/v!w", lax), Ok(vec!["v!w".to_owned()]));
    assert_eq!(with("/a%ef%bf%bd", lax), Err(SUBSTITUTION));
}

#[test]
fn edge_p17_unreserved_characters_are_decoded_once() {
    is("/%61dmin", &["admin"]);
    is("/adm%69n%2Ejson", &["admin.json"]);
    assert_eq!(strict("/adm%69n%2f.."), Err(ENCODED_SLASH));
}

#[test]
fn edge_p18_there_is_no_unicode_folding() {
    is("/a%EF%BC%8Fb", &["a\u{ff0f}b"]);
    let (composed, decomposed) = (strict("/%C3%A9"), strict("/e%CC%81"));
    assert_ne!(composed, decomposed);
    assert_eq!(composed, Ok(vec!["é".to_owned()]));
}

#[test]
fn edge_e06_what_servers_read_differently_is_refused() {
    for path in [
        "/transfers/a%2Fb",
        "/transfers/a%252Fb",
        "/transfers/a%5cb",
        "/transfers/%2e%2e/x",
        "/transfers/..;/x",
        "/transfers/x;jsessionid=1",
        "/transfers//x",
        "/transfers/%c0%af",
        "/transfers/%",
        "/transfers/%zz",
    ] {
        assert!(strict(path).is_err(), "{path}");
    }
}

#[test]
fn edge_e10_edge_p23_long_paths_are_refused_within_their_limits() {
    let long = format!("/{}", "a".repeat(64 * 1024));
    let many = "/a".repeat(20_000);
    let slashes = "/".repeat(64 * 1024);
    let eight = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
    assert_eq!(strict(&long), Err(TOO_LONG));
    assert_eq!(strict(&many), Err(TOO_LONG));
    assert_eq!(strict(&slashes), Err(TOO_LONG));
    assert_eq!(strict(&eight).map(|segments| segments.len()), Ok(1));
    assert_eq!(strict(&"/a".repeat(500)), Err(TOO_MANY_SEGMENTS));
    assert_eq!(
        strict(&"/a".repeat(SEGMENTS_MAX)).map(|segments| segments.len()),
        Ok(SEGMENTS_MAX)
    );
}

#[test]
fn ignoring_a_trailing_slash_drops_the_last_empty_segment() {
    let ignore = PathOptions {
        ignore_trailing_slash: true,
        ..STRICT
    };
    assert_eq!(with("/a/", ignore), with("/a", ignore));
    assert_eq!(with("/", ignore), Ok(vec![]));
    assert_eq!(with("/a//", ignore), Err(DOUBLE_SLASH));
}

fn hostile_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E"),
        Just("%2f"),
        Just("%5c"),
        Just("\\"),
        Just(";"),
        Just("/"),
        Just("//"),
        Just("%25"),
        Just("%"),
        Just("a"),
        Just("admin"),
        Just("%61"),
        Just("%c3%a9"),
        Just("%00"),
        Just("!"),
        Just("#"),
        Just("?"),
        Just("%3f"),
        Just("2e"),
        Just("%32"),
        Just("%65"),
        Just(" "),
        Just("é"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    /// What strict mode lets in is one thing to every reader: nothing that another layer of decoding,
    /// another separator or a clean-up could change.
    #[test]
    fn attack_d08_what_strict_mode_lets_in_has_no_second_reading(path in hostile_path()) {
        if let Ok(segments) = strict(&path) {
            for (index, segment) in segments.iter().enumerate() {
                prop_assert!(!segment.is_empty() || index + 1 == segments.len());
                prop_assert!(segment != "." && segment != "..");
                prop_assert!(!segment.contains(['/', '\\', ';', '\0']));
                let again = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
                prop_assert_eq!(again.as_ref(), segment.as_str(), "a second decoding changes it");
            }
        }
    }

    #[test]
    fn reading_never_panics(path in any::<String>(), bits in 0u8..64) {
        let bit = |n: u8| bits >> n & 1 == 1;
        let options = PathOptions {
            merge_slashes: bit(0),
            resolve_dot_segments: bit(1),
            keep_encoded_slash: bit(2),
            ignore_trailing_slash: bit(3),
            ignore_case: bit(4),
            allow_exclamation: bit(5),
        };
        let _ = read(&path, options);
        let _ = read(&format!("/{path}"), options);
    }
}
