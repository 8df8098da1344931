//! The cached check: what the whole gate costs, of servers that look at nothing.

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
/// How many calls a round asks of each side.
const CALLS: usize = 100_000;

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
    for (_, _, address) in &sides {
        h2load(address, PATH, &body, CALLS / 10);
    }
    let mut cost = vec![Vec::new(); sides.len()];
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); sides.len()];
    for _ in 0..settings.rounds {
        for (side, (_, process, address)) in sides.iter().enumerate() {
            let before = process.cpu();
            let saw = h2load(address, PATH, &body, CALLS);
            cost[side].push((process.cpu() - before) / saw.answered as f64);
            seen[side].push(saw);
        }
    }
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

/// Waits until the gate allows what is to be measured, by its own count.
pub(crate) fn until_allowed(world: &World, body: &std::path::Path) {
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
