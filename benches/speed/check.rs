//! The cached check: what the whole gate costs, of servers that look at nothing.

use std::path::Path;

use scopegate::jose::alg::Algorithm;

use crate::figures::Figure;
use crate::load::{Seen, get, h2load};
use crate::process::{Process, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "check_cached",
    "check_cached_tuned",
    "check_cached_alike",
    "check_cached_hyper",
    "check_p50",
    "check_p99",
    "check_interval",
];
/// What Envoy calls.
pub(crate) const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// How many calls a turn asks of each side: few enough that what else the machine does falls on all of them alike.
const CALLS: usize = 12_500;
/// How many turns a side has in a round.
const TURNS: usize = 8;

pub(crate) fn run(settings: Settings) -> Measured {
    let world = World::new(Size::USUAL, Algorithm::Es256, "");
    let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
    until_open(&world.address);
    let body = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
    until_allowed(&world, &body);
    let mut sides = vec![("gate", gate, world.address.clone())];
    let servers = [
        ("stock", settings.stock),
        ("tuned", settings.tuned),
        ("stock", None),
        ("hyper", None),
    ];
    for (name, program) in servers {
        let (process, address) = Process::server(program, &[name]);
        sides.push((name, process, address));
    }
    let asked: Vec<_> = sides
        .iter()
        .map(|(_, process, address)| (process, address.as_str(), body.as_path()))
        .collect();
    let (cost, seen) = in_turns(&asked, settings.rounds);
    let column = |side: usize, of: fn(&Seen) -> f64| seen[side].iter().map(of).collect::<Vec<_>>();
    vec![
        Figure::new("check_cached", "whole cached check, server CPU", "µs", cost[0].clone())
            .of("stock no-op tonic", cost[1].clone())
            .at_most(0.40),
        Figure::new(
            "check_cached_tuned",
            "the same, of tuned no-op tonic",
            "µs",
            cost[0].clone(),
        )
        .of("tuned no-op tonic", cost[2].clone())
        .at_most(0.60),
        Figure::new(
            "check_cached_alike",
            "the same, of stock no-op tonic that is compiled as Scopegate is",
            "µs",
            cost[0].clone(),
        )
        .of("stock no-op tonic, one unit with LTO", cost[3].clone()),
        Figure::new("check_cached_hyper", "the same, of no-op hyper", "µs", cost[0].clone())
            .of("no-op hyper", cost[4].clone()),
        Figure::new(
            "check_p50",
            "whole cached check, p50 with 256 under way",
            "ms",
            column(0, |seen| seen.p50),
        )
        .of("stock no-op tonic", column(1, |seen| seen.p50)),
        Figure::new(
            "check_p99",
            "whole cached check, p99 with 256 under way",
            "ms",
            column(0, |seen| seen.p99),
        )
        .of("stock no-op tonic", column(1, |seen| seen.p99)),
        Figure::new(
            "check_interval",
            "time between answers at full load, one thread",
            "µs",
            column(0, |seen| 1e6 / seen.per_second),
        )
        .of("stock no-op tonic", column(1, |seen| 1e6 / seen.per_second)),
    ]
    .into()
}

/// What a call costs on each side in each round, and what h2load saw in each turn. A side is a server, its address and what
/// it is asked. Its cost is all that its process does from the round's begin to its end: what it puts off counts too.
pub(crate) fn in_turns(sides: &[(&Process, &str, &Path)], rounds: usize) -> (Vec<Vec<f64>>, Vec<Vec<Seen>>) {
    for (_, address, body) in sides {
        h2load(address, PATH, body, CALLS);
    }
    let mut costs = vec![Vec::new(); sides.len()];
    let mut seen = vec![Vec::new(); sides.len()];
    for _ in 0..rounds {
        let before: Vec<_> = sides.iter().map(|(process, ..)| process.cpu()).collect();
        for _ in 0..TURNS {
            for ((_, address, body), seen) in sides.iter().zip(&mut seen) {
                seen.push(h2load(address, PATH, body, CALLS));
            }
        }
        for (((process, ..), before), costs) in sides.iter().zip(before).zip(&mut costs) {
            costs.push((process.cpu() - before) / (TURNS * CALLS) as f64);
        }
    }
    (costs, seen)
}

/// Waits until the gate allows what is to be measured, by its own count.
pub(crate) fn until_allowed(world: &World, body: &Path) {
    for _ in 0..500 {
        let before = allowed(world);
        h2load(&world.address, PATH, body, 256);
        if allowed(world) >= before + 256.0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the gate does not allow what it measures");
}

/// How many checks the gate has allowed since its start.
pub(crate) fn allowed(world: &World) -> f64 {
    get(&world.telemetry, "/metrics")
        .lines()
        .filter(|line| line.starts_with("scopegate_decisions_total{") && line.contains("\"allow\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
