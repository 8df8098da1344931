//! The import table: who may know whom. One crate has no crate walls, so this test is the wall.
//!
//! Each room is a file or folder right under `src`. Test code is exempt: it may build what it needs from anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::peers::repository;

/// The rooms, each with the rooms that it may import. `main`, `lib`, `app`, `cli` and `testing` know everybody.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // The nouns know nothing.
    ("model", &[]),
    ("clock", &["model"]),
    ("entropy", &[]),
    ("threads", &[]),
    // Pure: no I/O, no clock. Policy and oauth never meet.
    ("jose", &["model"]),
    ("policy", &["model", "jose"]),
    ("oauth", &["model", "jose"]),
    // Both halves read together, for `access`.
    ("reach", &["model", "policy", "oauth"]),
    // The truths that both halves read.
    ("keys", &["model", "clock", "jose"]),
    ("revocation", &["model", "clock", "policy"]),
    (
        "store",
        &["model", "clock", "entropy", "jose", "oauth", "revocation", "audit"],
    ),
    ("audit", &["model", "clock", "oauth"]),
    (
        "trust",
        &["model", "clock", "entropy", "jose", "policy", "keys", "revocation"],
    ),
    // The two halves: they never import each other.
    (
        "authz",
        &[
            "model",
            "clock",
            "entropy",
            "jose",
            "policy",
            "keys",
            "revocation",
            "trust",
        ],
    ),
    (
        "issuer",
        &[
            "model",
            "clock",
            "entropy",
            "jose",
            "oauth",
            "keys",
            "revocation",
            "store",
            "audit",
            "threads",
            // how documents of others are fetched
            "trust",
        ],
    ),
    // What administrators may do, and do.
    (
        "admin",
        &[
            "model",
            "clock",
            "entropy",
            "jose",
            "oauth",
            "issuer",
            "revocation",
            "store",
            "audit",
        ],
    ),
    // The adapters: they never import each other, but for the sockets of `net`, which carry the calls of Envoy.
    ("envoy", &["model", "clock", "entropy", "policy", "authz", "net"]),
    (
        "http",
        &[
            "model", "clock", "entropy", "jose", "oauth", "issuer", "admin", "audit", "store",
        ],
    ),
    ("net", &["model", "clock", "trust"]),
    ("telemetry", &["model", "clock", "entropy"]),
];

/// Rooms that import whatever they need: what they hold are the wires between the others.
const KNOW_EVERYBODY: &[&str] = &["main", "lib", "app", "cli", "lifecycle", "testing"];

/// Config builds everybody's settings; nobody but the composition root may import it.
const CONFIG: &str = "config";

/// Crates that a room must not name: what makes the pure rooms pure, and keeps a wire in its adapter.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[
    ("model", &["tokio", "tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("jose", &["tokio", "tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("policy", &["tokio", "tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("oauth", &["tokio", "tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("reach", &["tokio", "tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("keys", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("revocation", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("trust", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("authz", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("issuer", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("audit", &["tonic", "axum", "sqlx", "reqwest", "hyper"]),
    ("envoy", &["axum", "sqlx", "reqwest"]),
    ("http", &["tonic", "sqlx", "reqwest"]),
    ("telemetry", &["sqlx", "reqwest"]),
];

/// One source file without its comments and its test code.
struct Source {
    room: String,
    path: String,
    text: String,
}

#[test]
fn each_room_imports_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut violations = Vec::new();
    for source in sources() {
        if KNOW_EVERYBODY.contains(&source.room.as_str()) {
            continue;
        }
        for imported in rooms_named_in(&source.text) {
            let allowed = imported == source.room
                || match table.get(source.room.as_str()) {
                    Some(allowed) => allowed.contains(&imported.as_str()),
                    None if source.room == CONFIG => !KNOW_EVERYBODY.contains(&imported.as_str()),
                    None => panic!("{}: the room `{}` is not in the table", source.path, source.room),
                };
            if !allowed {
                violations.push(format!(
                    "{}: `{}` must not import `{imported}`",
                    source.path, source.room
                ));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_pure_room_names_no_runtime_and_an_adapter_only_its_own_wire() {
    let table: BTreeMap<&str, &[&str]> = MUST_NOT_NAME.iter().copied().collect();
    let mut violations = Vec::new();
    for source in sources() {
        for krate in table.get(source.room.as_str()).copied().unwrap_or_default() {
            if words_before_path(&source.text).any(|word| word == *krate) {
                violations.push(format!(
                    "{}: `{}` must not name the crate `{krate}`",
                    source.path, source.room
                ));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_verified_token_is_asserted_by_authz_alone() {
    let defined_in = "src/policy/caller.rs";
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.room != "authz" && source.path != defined_in)
        .filter(|source| source.text.contains("assertion_by_authz"))
        .map(|source| source.path)
        .collect();
    assert!(users.is_empty(), "a token is vouched for outside authz: {users:?}");
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let long: Vec<String> = files(&repository("src"))
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > 600)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "split these: {long:#?}");
}

#[test]
fn the_reader_of_imports_reads_every_form() {
    let text = "use crate::model::id::Issuer;\nuse crate::{jose, policy::{decide, facts}};\nlet x = crate::trust::a();";
    assert_eq!(rooms_named_in(text), ["jose", "model", "policy", "trust"]);
    let kept = without_tests_and_comments("use a; // crate::x\n/// crate::y\n#[cfg(test)]\nmod tests {\n crate::z }\n");
    assert_eq!(rooms_named_in(&kept), [""; 0]);
    assert_eq!(
        words_before_path("a tokio::spawn, sqlx::{x}").collect::<Vec<_>>(),
        ["tokio", "sqlx"]
    );
}

fn sources() -> Vec<Source> {
    let root = repository("src");
    let mut sources = Vec::new();
    for path in files(&root) {
        let inside = path.strip_prefix(&root).expect("found below it");
        let is_test = inside
            .components()
            .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
        if is_test || inside.ends_with("testing.rs") {
            continue;
        }
        let first = inside.components().next().expect("a file has a name").as_os_str();
        sources.push(Source {
            room: Path::new(first)
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            path: format!("src/{}", inside.display()),
            text: without_tests_and_comments(&fs::read_to_string(&path).expect("source is text")),
        });
    }
    assert!(sources.len() > 20, "the source is where the test looks");
    sources
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code that ships: test modules stand at the foot of a file.
fn without_tests_and_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default().trim_start();
        if line.trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            break;
        }
        kept.push_str(line.split("//").next().unwrap_or_default());
        kept.push('\n');
    }
    kept
}

/// The rooms after `crate::`, also in a group, each once.
fn rooms_named_in(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let path = &text[at + "crate::".len()..];
        if let Some(group) = path.strip_prefix('{') {
            let mut depth = 1;
            let mut start_of_item = true;
            for (at, character) in group.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => start_of_item = true,
                    c if start_of_item && c.is_ascii_lowercase() => {
                        rooms.push(identifier(&group[at..]));
                        start_of_item = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            rooms.push(identifier(path));
        }
    }
    rooms.retain(|room| room.starts_with(|c: char| c.is_ascii_lowercase()));
    rooms.sort();
    rooms.dedup();
    rooms
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Each word that stands right before `::`.
fn words_before_path(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("::").map(|(at, _)| {
        let before = &text[..at];
        let start = before
            .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(0, |at| at + 1);
        &before[start..]
    })
}
