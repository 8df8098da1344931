//! The pages for people do what they say: every command on them is run, in order, against a Scopegate of its own.
//!
//! A page has a configuration in a `yaml` block (the bank's if it has none), commands in `sh` blocks, and after a block,
//! in a `text` block, what it prints. Lines of a `text` block have to appear in that order; `…` stands for anything.
//! Blocks of other kinds are for reading alone. The ports of the pages are the default ones; here they become free ones.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::peers::repository;
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};

/// A fenced block of a page.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    kind: String,
    text: String,
    line: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in page.lines().zip(1..) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block {
                    kind: kind.trim().to_owned(),
                    text: String::new(),
                    line: number,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    blocks
}

/// The first line of what was expected that is not where it should be.
fn missing<'e>(expected: &'e str, printed: &str) -> Option<&'e str> {
    let mut rest = printed.lines();
    let wanted = expected.lines().filter(|line| !line.trim().is_empty());
    wanted
        .into_iter()
        .find(|line| !rest.any(|printed| reads(line, printed)))
}

/// Whether a line has these parts in order. Blanks are as wide as the widest cell, which may be a port.
fn reads(wanted: &str, printed: &str) -> bool {
    let even = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = even(printed);
    let mut rest = printed.as_str();
    wanted.split('…').all(|part| match rest.find(even(part).as_str()) {
        Some(at) => {
            rest = &rest[at + even(part).len()..];
            true
        }
        None => false,
    })
}

fn run(script: &str, folder: &Path) -> (bool, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_scopegate"));
    let programs = program.parent().expect("it is in a folder");
    // The program under test is found first.
    let preamble = format!(
        "exec 2>&1\n[ ! -f .page ] || . ./.page\nPATH='{}':$PATH\n",
        programs.display()
    );
    // `-e` lets a failure pass that is not there: `! command` must fail to fail.
    let must_fail = |line: &str| match line.strip_prefix("! ") {
        Some(_) => format!("{line} || {{ echo 'this should have failed'; exit 1; }}\n"),
        None => format!("{line}\n"),
    };
    let script: String = script.lines().map(must_fail).collect();
    // What a block exports is there in the next one, as in the reader's terminal.
    let output = Command::new("bash")
        .args([
            "-euc",
            &format!("{preamble}{script}\n{{ export -p; declare -f; }} > .page\n"),
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

async fn page_holds(name: &str) {
    let page = std::fs::read_to_string(repository(&format!("docs/jobs/{name}.md"))).expect("the page is there");
    let blocks = blocks(&page);
    let config = blocks.iter().find(|block| block.kind == "yaml");
    let config = config.map_or_else(bank, |block| block.text.clone());
    let gate: Scopegate = ScopegateBuilder::new(&config).start().await;
    let mut commands = 0;
    let mut last: Option<(usize, String)> = None;
    for block in &blocks {
        match block.kind.as_str() {
            "sh" => {
                let (succeeded, printed) = run(&gate.with_ports(&block.text), gate.folder());
                assert!(succeeded, "{name}.md:{}: the commands fail:\n{printed}", block.line);
                last = Some((block.line, printed));
                commands += 1;
            }
            "text" => {
                let (line, printed) = last
                    .as_ref()
                    .unwrap_or_else(|| panic!("{name}.md:{}: of what?", block.line));
                if let Some(wanted) = missing(&gate.with_ports(&block.text), printed) {
                    panic!(
                        "{name}.md:{}: `{wanted}` is missing in what line {line} prints:\n{printed}",
                        block.line
                    );
                }
            }
            "yaml" | "json" => {}
            other => panic!("{name}.md:{}: a block of the kind `{other}`", block.line),
        }
    }
    assert!(commands >= 3, "{name}.md has commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_making_an_authorization_server_holds() {
    page_holds("make-an-authorization-server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_onboarding_a_client_holds() {
    page_holds("onboard-a-client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_monitoring_a_client_holds() {
    page_holds("monitor-a-client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_deprovisioning_a_client_holds() {
    page_holds("deprovision-a-client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_rotating_keys_holds() {
    page_holds("rotate-keys").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_answering_a_compromise_holds() {
    page_holds("answer-a-compromise").await;
}

#[test]
fn every_page_of_a_job_has_its_test() {
    let text = include_str!("docs.rs");
    for entry in std::fs::read_dir(repository("docs/jobs")).expect("the pages are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(
            text.contains(&format!("page_holds(\"{name}\")")),
            "{name}.md is not run"
        );
    }
}

#[test]
fn the_reader_of_pages_finds_blocks_and_what_is_missing() {
    let page = "# T\n```sh\na\nb\n```\ntext\n```text\nc\n```\n";
    let block = |kind: &str, text: &str, line| Block {
        kind: kind.to_owned(),
        text: text.to_owned(),
        line,
    };
    assert_eq!(blocks(page), [block("sh", "a\nb\n", 2), block("text", "c\n", 7)]);
    assert_eq!(
        missing("ID  …  ACTIVE\n\nsecond\n", "x\nID    abc   ACTIVE  more\nsecond\n"),
        None
    );
    assert_eq!(
        missing("second\nfirst\n", "first\nsecond\n"),
        Some("first"),
        "in their order"
    );
    assert_eq!(missing("ACTIVE … ID\n", "ID ACTIVE\n"), Some("ACTIVE … ID"));
}
