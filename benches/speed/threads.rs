//! What another gate thread brings, and what it costs.
//!
//! The client needs a processor too: on a machine with two, the second thread shares one with it.

use scopegate::jose::alg::Algorithm;

use crate::check::{PATH, until_allowed};
use crate::curves::Curve;
use crate::figures::{Figure, median};
use crate::load::h2load;
use crate::process::{Process, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &["threads_cpu", "threads_interval"];
const COUNTS: [usize; 2] = [1, 2];
/// How many checks a round asks of each.
const CALLS: usize = 100_000;

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
    let figures = vec![
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
    Measured { figures, curves }
}
