//! The issuer: what a token costs of the signature in it, a refresh that is on the disk when it is acknowledged, and
//! introspection; and how these grow with clients, grants and rotations.
//!
//! Everything goes through the HTTP endpoint of the process as it is shipped, with its log and its metrics, on SQLite
//! as it is configured (`synchronous=FULL`). The transport is plain HTTP/1.1 on loopback (`dev: true`, `tls: none`),
//! 32 callers, each with one connection that it keeps and one request under way:
//!
//! - HTTP/1.1 because most OAuth clients speak it, and because it is the dearer one: a system call for each request and
//!   for each answer, where HTTP/2 shares them among many;
//! - without TLS because a connection that is kept costs a record's encryption for each message, which is one or two
//!   microseconds of a library that is not ours, and a handshake that is over before anything is measured.
//!
//! Clients prove themselves by `client_secret_basic` at each request. The people whose grants are refreshed are in the
//! database, so that a refresh reads grant, person and groups of it, and writes the grant.

mod bare;
mod chains;
mod growth;
mod load;
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use crate::issuer::bare::Bare;
use crate::issuer::chains::Chains;
use crate::issuer::load::member;
use crate::issuer::world::{CLIENTS, World};
use crate::process::Process;
use crate::{Figure, Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "token_es256",
    "token_rs256",
    "refresh_interval",
    "refresh_cpu",
    "introspection",
    "introspection_first",
];

/// How many of each a round asks for.
const ES256: usize = 20_000;
/// See [`ES256`].
const RS256: usize = 4_000;
/// See [`ES256`].
const REFRESHES: usize = 20_000;
/// See [`ES256`].
const INTROSPECTIONS: usize = 20_000;
/// How many tokens are asked about in turn.
const TOKENS: usize = 1_000;
/// How many chains of refresh tokens are in use.
const CHAINS: usize = 1_024;

/// How they grow: a part of its own, since it takes long.
pub(crate) fn growth(_: Settings) -> Measured {
    Measured {
        figures: Vec::new(),
        curves: growth::curves(),
    }
}

pub(crate) fn run(settings: Settings) -> Measured {
    let world = Rc::new(World::new(CLIENTS, CHAINS));
    let process = world.start();
    let (es256, rs256) = (Bare::es256(), Bare::rs256());
    let mut chains = Chains::begin(&world, CHAINS, CHAINS);
    // Once, so that nothing is the first of its kind.
    tokens(&world, &process, "transfers", ES256 / 4);
    tokens(&world, &process, "reports", RS256 / 4);
    chains.refresh(&world, REFRESHES / 4);

    let mut seen: [Vec<f64>; 8] = Default::default();
    for _ in 0..settings.rounds {
        let minted = mint(&world, TOKENS);
        let before = process.cpu();
        let refreshed = chains.refresh(&world, REFRESHES);
        let refresh_cpu = process.cpu() - before;
        let count = refreshed.acknowledged as f64;
        let round = [
            es256.cost(ES256),
            tokens(&world, &process, "transfers", ES256),
            rs256.cost(RS256),
            tokens(&world, &process, "reports", RS256),
            introspections(&world, &process, &minted, TOKENS),
            introspections(&world, &process, &minted, INTROSPECTIONS),
            refreshed.wall.as_secs_f64() * 1e6 / count,
            refresh_cpu / count,
        ];
        for (values, value) in seen.iter_mut().zip(round) {
            values.push(value);
        }
    }
    drop(chains.survive_a_kill(&world, process));

    let [
        bare_es256,
        token_es256,
        bare_rs256,
        token_rs256,
        first,
        again,
        interval,
        refresh,
    ] = seen;
    let figures = vec![
        Figure::new(
            "token_es256",
            "client-credentials token, ES256, server CPU",
            "µs",
            token_es256,
        )
        .of("bare ES256 signature", bare_es256)
        .at_most(3.0),
        Figure::new(
            "token_rs256",
            "client-credentials token, RS256, server CPU",
            "µs",
            token_rs256,
        )
        .of("bare RS256 signature", bare_rs256)
        .at_most(1.15),
        Figure::new(
            "refresh_interval",
            "time between acknowledged durable refreshes, 32 callers",
            "µs",
            interval,
        )
        .at_most(200.0),
        Figure::new("refresh_cpu", "durable refresh, server CPU", "µs", refresh),
        Figure::new(
            "introspection",
            "introspection of an access token, server CPU",
            "µs",
            again,
        )
        .at_most(25.0),
        Figure::new(
            "introspection_first",
            "the same, of a token that was never asked about",
            "µs",
            first,
        ),
    ];
    figures.into()
}

/// Server CPU of one client-credentials token, in microseconds.
fn tokens(world: &World, process: &Process, server: &str, count: usize) -> f64 {
    let requests = world.token_requests(server);
    let before = process.cpu();
    load::run(&world.address, count, &requests, |_| ());
    (process.cpu() - before) / count as f64
}

/// Access tokens to ask about.
fn mint(world: &World, count: usize) -> Rc<[Vec<u8>]> {
    let minted = Rc::new(RefCell::new(Vec::with_capacity(count)));
    let taken = Rc::clone(&minted);
    load::run(
        &world.address,
        count,
        &world.token_requests("transfers"),
        move |answer| {
            taken.borrow_mut().push(member(answer, "access_token").to_owned());
        },
    );
    let minted = minted.take();
    minted.iter().map(|token| world.introspection(token)).collect()
}

/// Server CPU of one introspection, in microseconds.
fn introspections(world: &World, process: &Process, questions: &Rc<[Vec<u8>]>, count: usize) -> f64 {
    let before = process.cpu();
    load::run(&world.address, count, questions, |answer| {
        assert!(
            contains(answer, b"\"active\":true"),
            "{}",
            String::from_utf8_lossy(answer)
        );
    });
    (process.cpu() - before) / count as f64
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
