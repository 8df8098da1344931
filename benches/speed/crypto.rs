//! The first check of a token: what it costs beyond a cached one, of the bare verification of its signature.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use scopegate::jose::alg::Algorithm;

use crate::check::{PATH, allowed, until_allowed};
use crate::drive;
use crate::figures::Figure;
use crate::process::{Process, own_cpu, until_open};
use crate::world::{Size, World, framed};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "cold_rs256",
    "cold_rs256_whole",
    "cold_ps256",
    "cold_es256",
    "cold_es384",
    "cold_eddsa",
];
/// Tokens in each round, all new.
const TOKENS: usize = 3000;
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
        .of("bare RS256 verification", rs256.bare.clone())
        .at_most(1.25),
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
            "bare PS256 verification",
            Algorithm::Ps256,
        ),
        (
            "cold_es256",
            "the same beyond a cached one, ES256",
            "bare ES256 verification",
            Algorithm::Es256,
        ),
        (
            "cold_es384",
            "the same beyond a cached one, ES384",
            "bare ES384 verification",
            Algorithm::Es384,
        ),
        (
            "cold_eddsa",
            "the same beyond a cached one, EdDSA",
            "bare EdDSA verification",
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
    bare: Vec<f64>,
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
    let key = public_key(&world.public_jwk(), algorithm);
    let mut costs = Costs::default();
    for round in 0..settings.rounds {
        let first = 1 + round * TOKENS;
        let tokens: Vec<_> = (first..first + TOKENS).map(|number| world.token(number)).collect();
        let bodies: Vec<_> = tokens
            .iter()
            .map(|token| Bytes::from(framed("api0.bank.example", "GET", "/transfers/7", Some(token))))
            .collect();
        let cost = |times: usize| {
            let (cpu, count) = (gate.cpu(), allowed(&world));
            for _ in 0..times {
                drive::checks(&world.address, PATH, &bodies);
            }
            let calls = (times * TOKENS) as f64;
            let cost = (gate.cpu() - cpu) / calls;
            assert!(allowed(&world) - count >= calls, "every token is good");
            cost
        };
        costs.cold.push(cost(1));
        costs.cached.push(cost(AGAIN));
        costs.bare.push(bare(&key, &tokens));
    }
    costs
}

/// The verification alone: everything is decoded before.
fn bare(key: &ParsedPublicKey, tokens: &[String]) -> f64 {
    let parts: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (message, signature) = token.rsplit_once('.').expect("a token");
            (
                message.as_bytes(),
                URL_SAFE_NO_PAD.decode(signature).expect("base64url"),
            )
        })
        .collect();
    let before = own_cpu();
    for (message, signature) in &parts {
        key.verify_sig(message, signature).expect("a good signature");
    }
    (own_cpu() - before) / parts.len() as f64
}

fn public_key(jwk: &serde_json::Value, algorithm: Algorithm) -> ParsedPublicKey {
    let member = |name: &str| {
        URL_SAFE_NO_PAD
            .decode(jwk[name].as_str().expect("a member"))
            .expect("base64url")
    };
    let rsa = |parameters| {
        let (n, e) = (member("n"), member("e"));
        PublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
    };
    let point = || [vec![4], member("x"), member("y")].concat();
    match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Es256 => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point()).ok(),
        Algorithm::Es384 => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point()).ok(),
        _ => ParsedPublicKey::new(&signature::ED25519, member("x")).ok(),
    }
    .expect("a key")
}
