//! The first check of a token: what it costs beyond a cached one, of the bare verification of its signature.
//!
//! The bare verification is what it adds to a server that does nothing else, under the same load: a loop that has the machine
//! for itself is faster, and a row says by how much.

use bytes::Bytes;
use scopegate::jose::alg::Algorithm;

use crate::check::{PATH, allowed, until_allowed};
use crate::drive;
use crate::figures::Figure;
use crate::process::{Process, own_cpu, until_open};
use crate::signed::Signed;
use crate::world::{Size, World, framed};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "cold_rs256",
    "cold_rs256_loop",
    "cold_rs256_whole",
    "cold_ps256",
    "cold_es256",
    "cold_es384",
    "cold_eddsa",
];
/// Tokens in each turn, all new: twice as many as the gate finds without their digests.
const TOKENS: usize = 1000;
/// How often the sides take turns in a round. What is looked for is a small difference of two large costs, and a machine
/// that others use is faster and slower by turns of a second: a round's sides must have met the same of it.
const TURNS: usize = 4;
/// How often they are checked again: a cached check is so much cheaper.
const AGAIN: usize = 4;

pub(crate) fn run(settings: Settings) -> Measured {
    let rs256 = measure(Algorithm::Rs256, settings);
    let mut figures = vec![
        Figure::new(
            "cold_rs256",
            "first check of an RS256 token, beyond a cached one, server CPU",
            "µs",
            rs256.beyond(),
        )
        .of("RS256 verification, added to no-op hyper", rs256.bare.clone())
        .at_most(1.25),
        Figure::new(
            "cold_rs256_loop",
            "first check of an RS256 token, beyond a cached one, server CPU",
            "µs",
            rs256.beyond(),
        )
        .of("RS256 verification in a loop of its own", rs256.alone.clone()),
        Figure::new(
            "cold_rs256_whole",
            "first check of an RS256 token, whole, server CPU",
            "µs",
            rs256.cold.clone(),
        )
        .of("cached check", rs256.cached.clone()),
    ];
    for (name, what, bare, algorithm) in [
        (
            "cold_ps256",
            "the same beyond a cached one, PS256",
            "PS256 verification, added to no-op hyper",
            Algorithm::Ps256,
        ),
        (
            "cold_es256",
            "the same beyond a cached one, ES256",
            "ES256 verification, added to no-op hyper",
            Algorithm::Es256,
        ),
        (
            "cold_es384",
            "the same beyond a cached one, ES384",
            "ES384 verification, added to no-op hyper",
            Algorithm::Es384,
        ),
        (
            "cold_eddsa",
            "the same beyond a cached one, EdDSA",
            "EdDSA verification, added to no-op hyper",
            Algorithm::EdDsa,
        ),
    ] {
        let costs = measure(algorithm, settings);
        figures.push(Figure::new(name, what, "µs", costs.beyond()).of(bare, costs.bare));
    }
    figures.into()
}

/// Processor time for each token, by rounds.
#[derive(Debug, Default)]
struct Costs {
    cold: Vec<f64>,
    cached: Vec<f64>,
    /// What a verification adds to a no-op server under the same load.
    bare: Vec<f64>,
    /// What it takes in a loop that has its processor for itself.
    alone: Vec<f64>,
}

impl Costs {
    fn beyond(&self) -> Vec<f64> {
        self.cold
            .iter()
            .zip(&self.cached)
            .map(|(cold, cached)| cold - cached)
            .collect()
    }
}

fn measure(algorithm: Algorithm, settings: Settings) -> Costs {
    // A busy machine must not turn a check into a denial.
    let world = World::new(Size::USUAL, algorithm, "gate: { timeout: 10s }\n");
    let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
    until_open(&world.address);
    until_allowed(
        &world,
        &world.check("allow", "GET", "/transfers/7", Some(&world.token(0))),
    );
    let signed = world.folder().join("signed");
    let tokens: Vec<_> = (0..TOKENS).map(|number| world.token(number)).collect();
    let lines = [algorithm.as_str().to_owned(), world.public_jwk().to_string()];
    std::fs::write(&signed, [&lines[..], &tokens[..]].concat().join("\n")).expect("written");
    let loops = Signed::read(&signed);
    let (idle, idle_address) = Process::server(None, &["hyper"]);
    let (verifying, verifying_address) = Process::server(None, &["verifying", signed.to_str().expect("UTF-8")]);
    let mut costs = Costs::default();
    let mut first = TOKENS;
    for _ in 0..settings.rounds {
        let (mut cold, mut cached, mut verified, mut alone) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..TURNS {
            let tokens: Vec<_> = (first..first + TOKENS).map(|number| world.token(number)).collect();
            first += TOKENS;
            let bodies: Vec<_> = tokens
                .iter()
                .map(|token| Bytes::from(framed("api0.bank.example", "GET", "/transfers/7", Some(token))))
                .collect();
            let cost = |server: &Process, address: &str, times: usize| {
                let cpu = server.cpu();
                for _ in 0..times {
                    drive::checks(address, PATH, &bodies);
                }
                (server.cpu() - cpu) / (TURNS * times * TOKENS) as f64
            };
            let count = allowed(&world);
            cold += cost(&gate, &world.address, 1);
            verified += cost(&verifying, &verifying_address, 1);
            cached += cost(&gate, &world.address, AGAIN);
            verified -= cost(&idle, &idle_address, AGAIN);
            let cpu = own_cpu();
            for _ in 0..TOKENS {
                loops.verify_one();
            }
            alone += (own_cpu() - cpu) / (TURNS * TOKENS) as f64;
            let calls = ((1 + AGAIN) * TOKENS) as f64;
            assert!(allowed(&world) - count >= calls, "every token is good");
        }
        costs.cold.push(cold);
        costs.cached.push(cached);
        costs.bare.push(verified);
        costs.alone.push(alone);
    }
    costs
}
