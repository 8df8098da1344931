//! What the gate's memory is spent on: a process that waits, and each token that is remembered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scopegate::jose::alg::Algorithm;

use crate::check::allowed;
use crate::curves::Curve;
use crate::figures::{Figure, median};
use crate::load::get;
use crate::many::{ask, tokens};
use crate::process::{Process, free_port, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &["verdict_bytes", "verdict_account", "idle_bytes"];
pub(crate) const MILLION_FIGURES: &[&str] = &["million_bytes"];

/// Distinct tokens of a round.
const TOKENS: usize = 200_000;

/// Room for a million verdicts.
const ROOM: &str = "gate: { verdict_cache: 1GiB }\n";

pub(crate) fn run(settings: Settings) -> Measured {
    let world = World::new(Size::USUAL, Algorithm::EdDsa, ROOM);
    let tokens = tokens(&world, TOKENS);
    let (mut each, mut account, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
        until_open(&world.address);
        // What a gate has that answers: buffers, connections.
        ask(&world.address, &Arc::new(tokens[..1].to_vec()), 20_000);
        let before = settled(&gate);
        ask(&world.address, &tokens, TOKENS);
        each.push((settled(&gate) - before) / TOKENS as f64);
        account.push(remembered(&world, TOKENS) / TOKENS as f64);
        idle.push(quickstart());
    }
    vec![
        Figure::new("verdict_bytes", "memory of a remembered token", "B", each.clone()).at_most(400.0),
        Figure::new("verdict_account", "the same", "B", each)
            .of("what the cache accounts for it", account)
            .at_most(1.05),
        Figure::new(
            "idle_bytes",
            "gate and issuer that wait, resident",
            "MB",
            idle.iter().map(|bytes| bytes / 1e6).collect(),
        )
        .at_most(30.0),
    ]
    .into()
}

/// A million tokens, and how the cost of a check grows with how many there are.
pub(crate) fn million(settings: Settings) -> Measured {
    const MILLION: usize = 1_000_000;
    let world = World::new(Size::USUAL, Algorithm::EdDsa, ROOM);
    let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
    until_open(&world.address);
    let all = tokens(&world, MILLION);
    let mut points = Vec::new();
    for count in [1, 1_000, 20_000, 200_000, MILLION] {
        let some = Arc::new(all[..count].to_vec());
        ask(&world.address, &some, count.max(20_000));
        let mut costs = Vec::new();
        for _ in 0..settings.rounds.min(3) {
            let calls = count.clamp(100_000, 400_000);
            let before = gate.cpu();
            ask(&world.address, &some, calls);
            costs.push((gate.cpu() - before) / calls as f64);
        }
        points.push((count as f64, median(&costs)));
    }
    let resident = settled(&gate) / 1e6;
    remembered(&world, MILLION);
    Measured {
        figures: vec![
            Figure::new(
                "million_bytes",
                "a gate that remembers a million tokens, resident",
                "MB",
                vec![resident],
            )
            .at_most(450.0),
        ],
        curves: vec![Curve {
            name: "tokens",
            what: "a cached check, by the tokens that are remembered",
            x: "tokens",
            unit: "µs",
            points,
        }],
    }
}

/// Resident memory, once the allocator has given back what it gives back.
fn settled(process: &Process) -> f64 {
    std::thread::sleep(Duration::from_secs(1));
    process.resident()
}

/// That every token is still remembered, and was verified once: gives the bytes that the cache accounts for them.
fn remembered(world: &World, count: usize) -> f64 {
    let metrics = get(&world.telemetry, "/metrics");
    let value = |name: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name) && line.contains("\"verdicts\""))
            .unwrap_or_else(|| panic!("no {name} in {metrics}"));
        line.rsplit(' ')
            .next()
            .and_then(|text| text.parse::<f64>().ok())
            .expect("a number")
    };
    let entries = value("scopegate_cache_entries{");
    assert!(
        entries >= count as f64,
        "only {entries} of {count} tokens are remembered"
    );
    assert!(allowed(world) >= count as f64, "they were allowed");
    value("scopegate_cache_bytes{")
}

/// The resident memory of the quick start's configuration, where nobody asks.
fn quickstart() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/bank/scopegate.yaml");
    let mut text = std::fs::read_to_string(example).expect("the bank");
    let telemetry = format!("127.0.0.1:{}", free_port());
    text = text.replace("127.0.0.1:9464", &telemetry);
    for port in ["9191", "8443", "8444"] {
        text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", free_port()));
    }
    std::fs::write(folder.path().join("scopegate.yaml"), text).expect("writes");
    let process = Process::scopegate(folder.path(), &[]);
    until_open(&telemetry);
    settled(&process)
}
