//! Verdicts against servers behind Envoy (case P25).

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

mod models {
    //! Models of what Envoy makes of a path and of how servers read what it sends on.

    fn decode(text: &str) -> String {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    }

    fn resolve(path: &str) -> Option<String> {
        let mut out: Vec<&str> = Vec::new();
        let pieces: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        for (index, piece) in pieces.iter().enumerate() {
            let last = index + 1 == pieces.len();
            match *piece {
                "." if last => out.push(""),
                "." => {}
                ".." => {
                    out.pop();
                    if last {
                        out.push("");
                    }
                }
                other => out.push(other),
            }
        }
        Some(format!("/{}", out.join("/")))
    }

    fn merge(path: &str) -> String {
        let mut out = String::new();
        for character in path.chars() {
            if character != '/' || !out.ends_with('/') {
                out.push(character);
            }
        }
        out
    }

    /// Envoy's path settings: normalize_path, merge_slashes, path_with_escaped_slashes_action.
    pub(super) fn envoy(path: &str, mode: u8) -> Option<String> {
        let (raw, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let mut path = raw.to_owned();
        if mode & 4 != 0 {
            for escaped in ["%2f", "%2F"] {
                path = path.replace(escaped, "/");
            }
            for escaped in ["%5c", "%5C"] {
                path = path.replace(escaped, "\\");
            }
        }
        if mode & 1 != 0 {
            path = path.replace('\\', "/").replace("%2e", ".").replace("%2E", ".");
            path = resolve(&path)?;
        }
        if mode & 2 != 0 {
            path = merge(&path);
        }
        Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    fn cut(path: &str) -> &str {
        let path = path.split('?').next().unwrap_or(path);
        path.split('#').next().unwrap_or(path)
    }

    /// `net/http`'s mux: decodes, cleans, keeps `;` and `\`.
    fn go(path: &str) -> Option<String> {
        resolve(&merge(&decode(cut(path))))
    }

    /// Express and its static files: decodes, normalises the result, `\` too on Windows.
    fn node(path: &str) -> Option<String> {
        resolve(&merge(&decode(cut(path)).replace('\\', "/")))
    }

    /// Tomcat: takes parameters off before it decodes.
    fn tomcat(path: &str) -> Option<String> {
        let bare: Vec<&str> = cut(path)
            .split('/')
            .map(|piece| piece.split(';').next().unwrap_or(""))
            .collect();
        resolve(&merge(&decode(&bare.join("/")).replace('\\', "/")))
    }

    /// An older Java stack: takes parameters off after it has decoded.
    fn jetty(path: &str) -> Option<String> {
        let decoded = decode(cut(path));
        let bare: Vec<&str> = decoded
            .split('/')
            .map(|piece| piece.split(';').next().unwrap_or(""))
            .collect();
        resolve(&merge(&bare.join("/")))
    }

    /// nginx: decodes everything, merges, resolves.
    fn nginx(path: &str) -> Option<String> {
        resolve(&merge(&decode(cut(path))))
    }

    /// IIS: decodes twice, reads `\` as `/`.
    fn iis(path: &str) -> Option<String> {
        resolve(&merge(&decode(&decode(cut(path))).replace('\\', "/")))
    }

    pub(super) type Reader = fn(&str) -> Option<String>;

    pub(super) const ALL: [(&str, Reader); 6] = [
        ("go", go),
        ("node", node),
        ("tomcat", tomcat),
        ("jetty", jetty),
        ("nginx", nginx),
        ("iis", iis),
    ];
}

fn traversal() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("admin"),
        Just("Admin"),
        Just("%61dmin"),
        Just("public"),
        Just("x"),
        Just("/"),
        Just("/"),
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E%2e"),
        Just("%2f"),
        Just("%2F"),
        Just("%5c"),
        Just("\\"),
        Just(";"),
        Just(";x=1"),
        Just("%3b"),
        Just("%252f"),
        Just("%252e"),
        Just("%25"),
        Just("2e"),
        Just("2f"),
        Just("#"),
        Just("%23"),
        Just("?"),
        Just("%3f"),
        Just("%00"),
        Just("%20"),
        Just("%c0%af"),
        Just("%ff"),
        Just("!"),
        Just("%"),
        Just("é"),
        Just("%EF%BC%8F"),
    ];
    proptest::collection::vec(piece, 1..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

static STRICT: LazyLock<CompiledPolicy> = LazyLock::new(|| guarded(false));
static IGNORING_CASE: LazyLock<CompiledPolicy> = LazyLock::new(|| guarded(true));

fn guarded(ignore_case: bool) -> CompiledPolicy {
    compiled(vec![ApiDeclaration {
        paths: PathOptions {
            ignore_case,
            ..PathOptions::default()
        },
        ..api(
            "api",
            "h.example",
            vec![
                public("/{rest...}", &["GET"]),
                route("/admin", &[("GET", needs("deny"))]),
                route("/admin/{rest...}", &[("GET", needs("deny"))]),
            ],
        )
    }])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever Envoy does to a path before it asks us, and however the server behind it reads what it
    /// gets: if we let the request in, the path that the server reads is let in as well.
    #[test]
    fn edge_p25_attack_d08_attack_d09_no_verdict_is_looser_than_at_the_upstreams_reading(
        path in traversal(),
        mode in 0u8..8,
    ) {
        let Some(sent) = models::envoy(&path, mode) else { return Ok(()) };
        let line = format!("GET https://h.example{sent}");
        for (ignore_case, policy) in [(false, &*STRICT), (true, &*IGNORING_CASE)] {
            if outcome(policy, &line) != "GET /{rest...}" {
                continue;
            }
            for (name, reader) in models::ALL {
                let Some(read) = reader(&sent) else { continue };
                let protected = |path: &str| path == "/admin" || path.starts_with("/admin/");
                let read = if ignore_case { read.to_ascii_lowercase() } else { read };
                prop_assert!(!protected(&read), "{name} reads {sent:?} as {read:?}");
            }
        }
    }
}
