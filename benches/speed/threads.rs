//! What another gate thread brings, and what it costs.
//!
//! The client needs a processor too: on a machine with two, the second thread shares one with it.
//!
//! And how connections should come to the threads: by one accept loop that hands them out, as Scopegate's do, or by a
//! listener for each on one port, where the kernel chooses by a hash. Measured on no-op tonic, so that nothing else differs.

use scopegate::jose::alg::Algorithm;

use crate::check::{PATH, until_allowed};
use crate::curves::Curve;
use crate::figures::{Figure, median};
use crate::load::h2load;
use crate::process::{Process, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "threads_cpu",
    "threads_interval",
    "threads_port_interval_one",
    "threads_port_interval",
    "threads_port_p99",
    "threads_port_cpu",
];
const COUNTS: [usize; 2] = [1, 2];
/// How many checks a round asks of each.
const CALLS: usize = 100_000;
/// How often a round connects anew, since the kernel's hash is a matter of luck.
const CONNECTS: usize = 4;

pub(crate) fn run(settings: Settings) -> Measured {
    let sides = COUNTS.map(|count| {
        let world = World::new(Size::USUAL, Algorithm::Es256, "");
        let gate = Process::scopegate(world.folder(), &["--gate-threads", &count.to_string()]);
        until_open(&world.address);
        let body = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
        until_allowed(&world, &body);
        h2load(&world.address, PATH, &body, CALLS / 10);
        (world, gate, body)
    });
    let mut cost = COUNTS.map(|_| Vec::new());
    let mut interval = COUNTS.map(|_| Vec::new());
    for _ in 0..settings.rounds {
        for (place, (world, gate, body)) in sides.iter().enumerate() {
            let before = gate.cpu();
            let seen = h2load(&world.address, PATH, body, CALLS);
            cost[place].push((gate.cpu() - before) / seen.answered as f64);
            interval[place].push(1e6 / seen.per_second);
        }
    }
    let points = |values: &dyn Fn(usize) -> f64| {
        let places = COUNTS.iter().enumerate();
        places.map(|(place, count)| (*count as f64, values(place))).collect()
    };
    let curves = vec![
        Curve {
            name: "threads_cpu",
            what: "cached check, server CPU",
            x: "gate threads",
            unit: "µs for each check",
            points: points(&|place| median(&cost[place])),
        },
        Curve {
            name: "threads_rate",
            what: "cached checks at full load",
            x: "gate threads",
            unit: "checks each second",
            points: points(&|place| 1e6 / median(&interval[place])),
        },
    ];
    let [cost_one, cost_two] = cost;
    let [interval_one, interval_two] = interval;
    let mut figures = vec![
        Figure::new(
            "threads_cpu",
            "cached check with two gate threads, server CPU",
            "µs",
            cost_two,
        )
        .of("one gate thread", cost_one),
        Figure::new(
            "threads_interval",
            "time between answers at full load, two gate threads",
            "µs",
            interval_two,
        )
        .of("one gate thread", interval_one),
    ];
    figures.extend(ports(settings));
    Measured { figures, curves }
}

fn ports(settings: Settings) -> Vec<Figure> {
    let world = World::new(Size::USUAL, Algorithm::Es256, "");
    let body = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
    let sides = [("shared", "1"), ("handed", "1"), ("shared", "2"), ("handed", "2")]
        .map(|(name, threads)| Process::server(settings.tuned, &[name, threads]));
    for (_, address) in &sides {
        h2load(address, PATH, &body, CALLS / 10);
    }
    let mut cost = sides.each_ref().map(|_| Vec::new());
    let mut interval = cost.clone();
    let mut p99 = cost.clone();
    for _ in 0..settings.rounds {
        let mut spent = sides.each_ref().map(|_| 0.0);
        let mut answered = spent;
        let mut seconds = spent;
        let mut latency = spent;
        for connect in 0..CONNECTS {
            for turn in 0..sides.len() {
                // Each is the first of its pair in every second turn.
                let place = turn ^ (connect % 2);
                let (process, address) = &sides[place];
                let before = process.cpu();
                let seen = h2load(address, PATH, &body, CALLS / CONNECTS);
                spent[place] += process.cpu() - before;
                answered[place] += seen.answered as f64;
                seconds[place] += seen.answered as f64 / seen.per_second;
                latency[place] = f64::max(latency[place], seen.p99);
            }
        }
        for place in 0..sides.len() {
            cost[place].push(spent[place] / answered[place]);
            interval[place].push(1e6 * seconds[place] / answered[place]);
            p99[place].push(latency[place]);
        }
    }
    let [shared_one, handed_one, shared, handed] = interval;
    let [_, _, shared_p99, handed_p99] = p99;
    let [_, _, shared_cost, handed_cost] = cost;
    let handed_out = "one accept loop that hands connections out";
    vec![
        Figure::new(
            "threads_port_interval_one",
            "no-op tonic, one thread with a port of its own (SO_REUSEPORT): time between answers at full load",
            "µs",
            shared_one,
        )
        .of(handed_out, handed_one),
        Figure::new(
            "threads_port_interval",
            "the same, two threads on one port",
            "µs",
            shared,
        )
        .of(handed_out, handed),
        Figure::new(
            "threads_port_p99",
            "the same, the worst p99 of four connects",
            "ms",
            shared_p99,
        )
        .of(handed_out, handed_p99),
        Figure::new("threads_port_cpu", "the same, server CPU", "µs", shared_cost).of(handed_out, handed_cost),
    ]
}
