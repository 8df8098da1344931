//! How the cost of a token grows: with clients, with stored grants, with rotations of the keys.

use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::curves::Curve;
use crate::figures::median;
use crate::issuer::chains::Chains;
use crate::issuer::world::{CLIENTS, CONFIGURATION, World};
use crate::issuer::{ES256, REFRESHES, tokens};

/// How often each point is measured.
const TIMES: usize = 3;
/// For how long a rate of rotations is looked at.
const ROTATING: Duration = Duration::from_secs(20);
/// How many chains are in use beside the grants that are only stored, so that many are refreshed for the first time.
const CHAINS: usize = 16_384;

pub(super) fn curves() -> Vec<Curve> {
    vec![with_clients(), with_grants(), with_rotations()]
}

fn with_clients() -> Curve {
    let points = [10, 1_000, 10_000].map(|clients| {
        let world = World::new(clients, 0);
        let process = world.start();
        tokens(&world, &process, "transfers", ES256 / 4);
        let costs = (0..TIMES).map(|_| tokens(&world, &process, "transfers", ES256));
        (clients as f64, median(&costs.collect::<Vec<_>>()))
    });
    Curve {
        name: "token_by_clients",
        what: "client-credentials token, ES256, server CPU",
        x: "clients",
        unit: "µs",
        points: points.to_vec(),
    }
}

fn with_grants() -> Curve {
    let points = [0, 100_000, 1_000_000].map(|stored| {
        let grants = stored + CHAINS;
        let world = Rc::new(World::new(CLIENTS, grants));
        let process = world.start();
        let mut chains = Chains::begin(&world, CHAINS, grants);
        let costs = (0..TIMES).map(|_| {
            let before = process.cpu();
            let refreshed = chains.refresh(&world, REFRESHES);
            (process.cpu() - before) / refreshed.acknowledged as f64
        });
        (stored as f64, median(&costs.collect::<Vec<_>>()))
    });
    Curve {
        name: "refresh_by_grants",
        what: "durable refresh, server CPU",
        x: "stored grants",
        unit: "µs",
        points: points.to_vec(),
    }
}

fn with_rotations() -> Curve {
    let world = World::new(CLIENTS, 0);
    let process = world.start();
    let admin = world.command(&["admin", "bootstrap", "-c", CONFIGURATION]);
    std::fs::write(world.file("admin.json"), admin).expect("writes");
    let rotate = || {
        let credentials = ["-c", CONFIGURATION, "--credentials", "admin.json"];
        world.command(&[&["keys", "rotate", "transfers"][..], &credentials].concat());
    };
    tokens(&world, &process, "transfers", ES256 / 4);
    let points = [0, 6, 60].map(|per_minute| {
        let cost = std::thread::scope(|scope| {
            // Ends the rotations when this is through, also by a panic.
            let (_until_here, ended) = mpsc::channel::<()>();
            if per_minute > 0 {
                let every = Duration::from_secs(60) / per_minute;
                scope.spawn(move || {
                    while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                        rotate();
                    }
                });
            }
            let (started, mut costs) = (Instant::now(), Vec::new());
            while started.elapsed() < ROTATING {
                costs.push(tokens(&world, &process, "transfers", ES256));
            }
            costs.iter().sum::<f64>() / costs.len() as f64
        });
        (f64::from(per_minute), cost)
    });
    Curve {
        name: "token_by_rotations",
        what: "client-credentials token, ES256, server CPU with that of the rotations",
        x: "key rotations per minute",
        unit: "µs",
        points: points.to_vec(),
    }
}
