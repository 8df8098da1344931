use proptest::prelude::*;

use super::*;

fn codes(text: &str) -> Vec<(&'static str, u32, u32)> {
    let (_, findings) = read(text);
    findings
        .iter()
        .map(|finding| (finding.code, finding.location.line, finding.location.column))
        .collect()
}

/// The place of the scalar with this text.
fn place_of(node: &Node, wanted: &str) -> Option<Location> {
    match &node.kind {
        Kind::Scalar { text, .. } => (text == wanted).then_some(node.location),
        Kind::Sequence(items) => items.iter().find_map(|item| place_of(item, wanted)),
        Kind::Mapping(entries) => entries.iter().find_map(|entry| {
            (entry.key == wanted)
                .then_some(entry.key_location)
                .or_else(|| place_of(&entry.value, wanted))
        }),
    }
}

#[test]
fn places_count_lines_and_characters_from_one() {
    let rows = [
        ("a plain value", "a: x\n", (1, 4)),
        ("after a comment", "# c\na: x\n", (2, 4)),
        ("in a flow mapping", "a: { b: y, c: x }\n", (1, 15)),
        ("in quotes", "a: \"x\"\n", (1, 4)),
        ("in an indented block", "a:\n  - b: y\n    c: x\n", (3, 8)),
        ("after letters of two bytes", "a: { b: \"äöü\", c: x }\n", (1, 19)),
        ("after letters of four bytes", "a: [\"😀😀\", x]\n", (1, 11)),
        ("after a plain text of two bytes each", "a: [äöü, x]\n", (1, 10)),
        ("after a comment of two bytes each", "a: y # äöü\nb: x\n", (2, 4)),
        ("with CRLF", "a: y\r\nb: x\r\n", (2, 4)),
        ("after a byte order mark", "\u{feff}a: x\n", (1, 4)),
        ("a key", "a: y\nx: z\n", (2, 1)),
    ];
    for (name, text, (line, column)) in rows {
        let (root, findings) = read(text);
        assert_eq!(findings, [], "{name}");
        let place = root.and_then(|root| place_of(&root, "x"));
        assert_eq!(place, Some(Location { line, column }), "{name}");
    }
}

#[test]
fn what_has_two_meanings_is_refused_at_its_place() {
    // name, text, findings by code, line and column
    type Row<'r> = (&'r str, &'r str, &'r [(&'r str, u32, u32)]);
    let rows: [Row<'_>; 12] = [
        ("a key twice", "a: 1\nb: 2\na: 3\n", &[("duplicate_key", 3, 1)]),
        (
            "keys twice in two places",
            "a: { b: 1, b: 2 }\nc: { d: 1, d: 2 }\n",
            &[("duplicate_key", 1, 12), ("duplicate_key", 2, 12)],
        ),
        (
            "a key twice in two styles",
            "a: 1\n\"a\": 2\n",
            &[("duplicate_key", 2, 1)],
        ),
        ("two documents", "a: 1\n---\nb: 2\n", &[("second_document", 2, 1)]),
        ("an anchor", "a: &x 1\n", &[("yaml_alias", 1, 7)]),
        ("an anchor on a mapping", "a: &x { b: 1 }\n", &[("yaml_alias", 1, 7)]),
        ("a tag", "a: !!int 1\n", &[("yaml_tag", 1, 10)]),
        ("a mapping as a key", "{ a: 1 }: 2\n", &[("key_not_text", 1, 1)]),
        (
            "a template without quotes",
            "a: { {id}: x }\n",
            &[("key_not_text", 1, 6)],
        ),
        ("nothing", "", &[("empty_file", 1, 1)]),
        ("only a comment", "# nothing\n", &[("empty_file", 1, 1)]),
        ("a null document", "---\n", &[]),
    ];
    for (name, text, expected) in rows {
        assert_eq!(codes(text), expected, "{name}");
    }
}

#[test]
fn both_places_of_a_duplicate_key_are_named() {
    let (_, findings) = read("a: 1\nb: 2\n  \na: 3\n");
    let message = &findings.first().expect("one finding").message;
    assert_eq!(message, "the key `a` stands twice: here and in line 1, column 1");
}

#[test]
fn malformed_text_gets_one_located_error_with_a_hint() {
    let rows = [
        ("an open bracket", "a: [1, 2\nb: 3\n"),
        ("an open quote", "a: \"x\nb: y\n"),
        ("a stray bracket", "a: ]\n"),
        ("a tab as indentation", "a:\n\tb: 1\n"),
        ("a mapping in a value", "a: b: c\n"),
        ("an outdented key", "  a: 1\n b: 2\n"),
        ("an unknown alias", "a: *x\n"),
        ("a bad escape", "a: \"\\q\"\n"),
        ("a list within a mapping", "a: 1\n- b\n"),
        ("a reserved character", "a: @x\n"),
        ("an unclosed brace", "a: { b: 1\n"),
    ];
    for (name, text) in rows {
        let (root, findings) = read(text);
        assert_eq!(root, None, "{name}");
        let [finding] = findings.as_slice() else {
            panic!("{name}: {findings:?}")
        };
        assert!(
            finding.location.line >= 1 && finding.location.column >= 1,
            "{name}: {finding:?}"
        );
        assert!(finding.location.line <= 3, "{name}: {finding:?}");
        assert!(finding.hint.is_some(), "{name}");
    }
}

#[test]
fn bounds_hold_before_memory_is_spent() {
    assert_eq!(codes(&" ".repeat(TEXT_BYTES_MAX + 1)), [("file_too_large", 1, 1)]);
    let block = (0..100).fold(String::new(), |block, depth| block + &" ".repeat(depth) + "a:\n");
    assert_eq!(codes(&block), [("too_deep", 65, 65)]);
    // brackets that may become a key are read ahead: there the parser's own bound comes first
    for hostile in ["[", "{", "[\n", "- [", "? [", "\"a\": ["] {
        let findings = codes(&hostile.repeat(TEXT_BYTES_MAX / hostile.len()));
        assert!(
            matches!(findings.as_slice(), [("too_deep" | "yaml_syntax" | "key_not_text", line, _)] if *line < 300),
            "{findings:?}"
        );
    }
    let many = format!("[{}]", "a,".repeat(NODES_MAX + 1));
    assert!(matches!(codes(&many).as_slice(), [("too_many_values", 1, _)]));
    // a billion laughs needs aliases
    let laughs = "a: &a [x, x]\nb: &b [*a, *a]\n";
    assert!(matches!(codes(laughs).as_slice(), [("yaml_alias", 1, _)]));
}

#[test]
fn scalars_have_the_types_of_the_core_schema() {
    let rows = [
        ("true", Scalar::Bool(true)),
        ("False", Scalar::Bool(false)),
        ("yes", Scalar::Text("yes")),
        ("on", Scalar::Text("on")),
        ("~", Scalar::Null),
        ("null", Scalar::Null),
        ("12", Scalar::Integer(12)),
        ("-7", Scalar::Integer(-7)),
        ("+7", Scalar::Integer(7)),
        ("0o17", Scalar::Integer(15)),
        ("0xff", Scalar::Integer(255)),
        ("0x-1", Scalar::Text("0x-1")),
        ("1.5", Scalar::Float(1.5)),
        (".5", Scalar::Float(0.5)),
        ("1e3", Scalar::Float(1000.0)),
        (".inf", Scalar::Float(f64::INFINITY)),
        ("inf", Scalar::Text("inf")),
        ("nan", Scalar::Text("nan")),
        ("1-2", Scalar::Text("1-2")),
        ("127.0.0.1", Scalar::Text("127.0.0.1")),
        ("5m", Scalar::Text("5m")),
        ("99999999999999999999", Scalar::Float(1e20)),
    ];
    for (text, expected) in rows {
        assert_eq!(resolve(text), expected, "{text}");
        let quoted = Node {
            location: Location::default(),
            kind: Kind::Scalar {
                text: text.to_owned(),
                plain: false,
            },
        };
        assert_eq!(quoted.scalar(), Some(Scalar::Text(text)), "quoted {text}");
    }
}

/// Pieces that YAML gives a meaning to, so that the generated texts reach deep into the reader.
fn yamlish() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("a".to_owned()),
        Just(": ".to_owned()),
        Just("\n".to_owned()),
        Just("\n  ".to_owned()),
        Just("- ".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(", ".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("| \n".to_owned()),
        Just("? ".to_owned()),
        Just("&x ".to_owned()),
        Just("*x".to_owned()),
        Just("!t ".to_owned()),
        Just("%YAML 1.2\n".to_owned()),
        Just("---\n".to_owned()),
        Just("...\n".to_owned()),
        Just("\t".to_owned()),
        Just("#".to_owned()),
        Just("\\x4".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let (root, findings) = read(&text);
        prop_assert!(root.is_some() || !findings.is_empty());
    }

    #[test]
    fn nothing_like_yaml_makes_the_reader_panic(text in yamlish()) {
        let (root, findings) = read(&text);
        prop_assert!(root.is_some() || !findings.is_empty());
        for finding in findings {
            prop_assert!(finding.location.line >= 1 && finding.location.column >= 1);
        }
    }
}
