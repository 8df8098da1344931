//! Ten times as many checks as the gate can answer, as an Envoy would ask them: on a schedule, whatever the answers do.
//!
//! A call is good that is allowed within the 200 ms after which Envoy gives up. The peak of those per second is found by
//! a closed loop, with the least and with the most under way; then calls arrive at ten times that rate.
//!
//! | what becomes of an arrival | |
//! |---|---|
//! | good | allowed in time |
//! | shed | denied in time, by an answer that says why |
//! | silent | no answer in time: reset by the gate, or given up and reset by us |
//! | held back | the gate let no more calls on any connection be under way: Envoy's own bound answers for it at once |

mod client;

use std::path::Path;
use std::time::Duration;

use scopegate::jose::alg::Algorithm;

use crate::Settings;
use crate::check::until_allowed;
use crate::figures::Figure;
use crate::load::{CONNECTIONS, STREAMS};
use crate::process::{Process, until_open};
use crate::world::{Size, World, framed};
use client::{Client, Outcome, Plan};

pub(crate) const FIGURES: &[&str] = &[
    "overload_goodput",
    "overload_silent",
    "overload_memory",
    "overload_shed",
    "overload_cold_goodput",
    "overload_cold_silent",
    "overload_cold_memory",
    "overload_cold_shed",
];
/// How long each load lasts.
const LASTS: Duration = Duration::from_secs(3);
/// How many times the peak arrives.
const TIMES: f64 = 10.0;
/// A verdict is forgotten before its token comes again.
const TOKENS: usize = 30_000;
const SMALL_CACHE: &str = "gate: { verdict_cache: 1MiB }\n";

pub(crate) fn run(settings: Settings) -> crate::Measured {
    let cached = measure(settings, "cached", 1, "");
    let cold = measure(settings, "cold", TOKENS, SMALL_CACHE);
    let figures = |names: &[&'static str], whats: [&'static str; 4], measured: Side| {
        [
            Figure::new(names[0], whats[0], "/s", measured.peak)
                .of("the same under ten times as many", measured.good)
                .at_most(1.25),
            Figure::new(names[1], whats[1], "%", measured.silent).at_most(1.0),
            Figure::new(names[2], whats[2], "MB", measured.memory).at_most(64.0),
            Figure::new(names[3], whats[3], "%", measured.shed),
        ]
    };
    let mut all = Vec::from(figures(
        &FIGURES[..4],
        [
            "cached checks allowed in time, at the peak",
            "of what was sent under overload, not answered in time",
            "resident memory that overload added",
            "of what was sent under overload, denied in time",
        ],
        cached,
    ));
    all.extend(figures(
        &FIGURES[4..],
        [
            "cold checks allowed in time, at the peak",
            "of cold checks sent under overload, not answered in time",
            "resident memory that cold overload added",
            "of cold checks sent under overload, denied in time",
        ],
        cold,
    ));
    all.into()
}

#[derive(Debug, Default)]
struct Side {
    peak: Vec<f64>,
    good: Vec<f64>,
    silent: Vec<f64>,
    shed: Vec<f64>,
    memory: Vec<f64>,
}

fn measure(settings: Settings, name: &str, tokens: usize, more: &str) -> Side {
    let world = World::new(Size::USUAL, Algorithm::Es256, more);
    let requests: Vec<_> = (0..tokens)
        .map(|number| framed("api0.bank.example", "GET", "/transfers/7", Some(&world.token(number))))
        .collect();
    let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
    until_open(&world.address);
    let first = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
    until_allowed(&world, &first);
    let mut measured = Side::default();
    for _ in 0..settings.rounds {
        let mut peak: f64 = 0.0;
        // Many under way are as good for the gate as few until they come too late.
        for streams in [STREAMS, 4 * STREAMS] {
            let saw = load(&world.address, &requests, Plan::Closed { streams });
            peak = peak.max(saw.per_second(saw.good));
        }
        let before = gate.resident();
        let rate = TIMES * peak;
        let saw = load(&world.address, &requests, Plan::Open { rate });
        let sent = saw.sent().max(1) as f64;
        eprintln!("  {name}: peak {peak:.0}/s, {saw:?}");
        measured.peak.push(peak);
        measured.good.push(saw.per_second(saw.good));
        measured.silent.push(100.0 * (saw.silent + saw.reset) as f64 / sent);
        measured.shed.push(100.0 * saw.shed as f64 / sent);
        measured.memory.push((gate.resident() - before) / 1e6);
    }
    assert!(Path::new("/proc").join(gate.id().to_string()).exists(), "it lives");
    measured
}

fn load(address: &str, requests: &[Vec<u8>], plan: Plan) -> Outcome {
    Client::connect(address, CONNECTIONS).run(requests, plan, LASTS)
}
