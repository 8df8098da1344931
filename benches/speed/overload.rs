//! Ten times as many checks as the gate can answer, as an Envoy would ask them: on a schedule, whatever the answers do, and
//! with as many under way as its circuit breaker lets be.
//!
//! A call is good that is allowed within the 200 ms after which Envoy gives up. The peak of those per second is found by
//! a closed loop, with the least and with the most under way; then calls arrive at ten times that rate.
//!
//! | what becomes of an arrival | |
//! |---|---|
//! | good | allowed in time |
//! | shed | denied in time, by an answer that says why |
//! | silent | no answer in time: reset by the gate, or given up and reset by us |
//! | held back | as many are under way as may be: Envoy denies it by itself, at once |

mod client;

use std::path::Path;
use std::time::Duration;

use scopegate::jose::alg::Algorithm;

use crate::check::until_allowed;
use crate::curves::Curve;
use crate::figures::{Figure, median};
use crate::load::{CONNECTIONS, STREAMS};
use crate::process::{Process, until_open};
use crate::world::{Size, World, framed};
use crate::{Measured, Settings};
use client::{Client, Outcome, Plan};

pub(crate) const FIGURES: &[&str] = &[
    "overload_goodput",
    "overload_silent",
    "overload_memory",
    "overload_shed",
    "overload_held_back",
    "overload_cold_goodput",
    "overload_cold_silent",
    "overload_cold_memory",
    "overload_cold_shed",
    "overload_cold_held_back",
];
/// How long each load lasts.
const LASTS: Duration = Duration::from_secs(3);
/// How many times the peak arrives.
const TIMES: f64 = 10.0;
/// A verdict is forgotten before its token comes again.
const TOKENS: usize = 30_000;
const SMALL_CACHE: &str = "gate: { verdict_cache: 1MiB }\n";

/// How many requests an Envoy has under way to a cluster: the default of its circuit breaker's `max_requests`.
const UNDER_WAY_MAX: usize = 1024;
/// More Envoys than the one of the figures, each with as many connections.
const MANY_ENVOYS: [usize; 2] = [3, 8];

pub(crate) fn run(settings: Settings) -> Measured {
    let cached = measure(settings, "cached", 1, "", &[]);
    let cold = measure(settings, "cold", TOKENS, SMALL_CACHE, &MANY_ENVOYS);
    let curves = cold.curves();
    let mut figures = Vec::from(cached.figures(
        &FIGURES[..5],
        [
            "cached checks allowed in time, at the peak",
            "of what was sent under overload, not answered in time",
            "resident memory that overload added",
            "of what was sent under overload, denied in time",
            "of all arrivals, held back by Envoy's circuit breaker",
        ],
    ));
    figures.extend(cold.figures(
        &FIGURES[5..],
        [
            "cold checks allowed in time, at the peak",
            "of cold checks sent under overload, not answered in time",
            "resident memory that cold overload added",
            "of cold checks sent under overload, denied in time",
            "of all arrivals of cold checks, held back by Envoy's circuit breaker",
        ],
    ));
    Measured { figures, curves }
}

/// What one kind of check did in all rounds.
#[derive(Debug, Default)]
struct Side {
    peak: Vec<f64>,
    good: Vec<f64>,
    silent: Vec<f64>,
    shed: Vec<f64>,
    held_back: Vec<f64>,
    memory: Vec<f64>,
    /// For each number of [`MANY_ENVOYS`], what became of the load in each round.
    many: Vec<(usize, Vec<Outcome>)>,
}

impl Side {
    fn figures(&self, names: &[&'static str], whats: [&'static str; 5]) -> [Figure; 5] {
        [
            Figure::new(names[0], whats[0], "/s", self.peak.clone())
                .of("the same under ten times as many", self.good.clone())
                .at_most(1.25),
            Figure::new(names[1], whats[1], "%", self.silent.clone()).at_most(1.0),
            Figure::new(names[2], whats[2], "MB", self.memory.clone()).at_most(64.0),
            Figure::new(names[3], whats[3], "%", self.shed.clone()),
            Figure::new(names[4], whats[4], "%", self.held_back.clone()),
        ]
    }

    fn curves(&self) -> Vec<Curve> {
        let of_peak = |good: &dyn Fn(usize) -> f64| {
            let rounds = 0..self.peak.len();
            median(
                &rounds
                    .map(|round| 100.0 * good(round) / self.peak[round])
                    .collect::<Vec<_>>(),
            )
        };
        let mut goodput = vec![(1.0, of_peak(&|round| self.good[round]))];
        let mut silent = vec![(1.0, median(&self.silent))];
        for (envoys, saw) in &self.many {
            let envoys = *envoys as f64;
            goodput.push((envoys, of_peak(&|round| saw[round].per_second(saw[round].good))));
            silent.push((
                envoys,
                median(&saw.iter().map(Outcome::silent_percent).collect::<Vec<_>>()),
            ));
        }
        let curve = |name, what, points| Curve {
            name,
            what,
            x: "Envoys with a full circuit breaker",
            unit: "%",
            points,
        };
        vec![
            curve("overload.goodput", "cold checks allowed in time, of the peak", goodput),
            curve("overload.silent", "of cold checks sent, not answered in time", silent),
        ]
    }
}

fn measure(settings: Settings, name: &str, tokens: usize, more: &str, many: &[usize]) -> Side {
    let world = World::new(Size::USUAL, Algorithm::Es256, more);
    let requests: Vec<_> = (0..tokens)
        .map(|number| framed("api0.bank.example", "GET", "/transfers/7", Some(&world.token(number))))
        .collect();
    let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
    until_open(&world.address);
    let first = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
    until_allowed(&world, &first);
    let load = |connections, plan| Client::connect(&world.address, connections).run(&requests, plan, LASTS);
    let overload = |envoys, rate| {
        let under_way_max = envoys * UNDER_WAY_MAX;
        load(envoys * CONNECTIONS, Plan::Open { rate, under_way_max })
    };
    // Many under way are as good for the gate as few until they come too late. Which are better is for all rounds to say:
    // the better of two in each round would be partly luck.
    let mut peaks = [STREAMS, 4 * STREAMS].map(|streams| (streams, Vec::new()));
    let mut side = Side {
        many: many.iter().map(|envoys| (*envoys, Vec::new())).collect(),
        ..Side::default()
    };
    let calm = gate.resident();
    for _ in 0..settings.rounds {
        for (streams, peak) in &mut peaks {
            let saw = load(CONNECTIONS, Plan::Closed { streams: *streams });
            peak.push(saw.per_second(saw.good));
        }
        let rate = TIMES
            * peaks
                .iter()
                .filter_map(|(_, peak)| peak.last())
                .fold(0.0, |most: f64, peak| most.max(*peak));
        let saw = overload(1, rate);
        eprintln!("  {name}: {rate:.0}/s, {saw:?}");
        side.good.push(saw.per_second(saw.good));
        side.silent.push(saw.silent_percent());
        side.held_back
            .push(100.0 * saw.held_back as f64 / (saw.held_back + saw.sent()).max(1) as f64);
        side.shed.push(100.0 * saw.shed as f64 / saw.sent().max(1) as f64);
        side.memory.push((gate.resident() - calm) / 1e6);
        for (envoys, saw) in &mut side.many {
            saw.push(overload(*envoys, rate));
        }
    }
    side.peak = peaks
        .into_iter()
        .map(|(_, peak)| peak)
        .max_by(|one, other| median(one).total_cmp(&median(other)))
        .expect("two of them");
    assert!(Path::new("/proc").join(gate.id().to_string()).exists(), "it lives");
    side
}
