//! Whether the time that a secret's comparison takes tells anything (attack F16), by the method of dudect: many samples of
//! two classes in random order, the slowest ones cut off, Welch's t between them. |t| below 4.5 is no difference.
//!
//! | classes | what one could learn |
//! |---|---|
//! | a wrong first byte, a wrong last byte | how much of a guess is right |
//! | a wrong secret of a client, a secret of no client | which clients there are |
//! | a wrong secret, a secret of a public client | which clients have secrets |
//!
//! `cargo bench --bench secrets [-- SAMPLES]` prints |t| of each and fails if one is too large. It belongs to no test-suite: a
//! busy machine has noise of its own. That every client costs the same comparisons is a unit test of `oauth::client`.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program for developers that measures time"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use scopegate::entropy;
use scopegate::model::digest::Digest;
use scopegate::model::id::ClientId;
use scopegate::model::secret::Secret;
use scopegate::oauth::client::{Client, Credentials, SecretPlace, StoredSecrets, secret_matches};
use scopegate::oauth::declared::ClientKind;

/// Beyond this, dudect says, there is a difference.
const T_MAX: f64 = 4.5;

const SAMPLES: usize = 100_000;

/// What is measured: a client, if there is one, and the secret that is shown.
struct Class<'a> {
    client: Option<&'a Client>,
    shown: Secret<String>,
}

fn main() -> ExitCode {
    let samples = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(SAMPLES);
    let secret = entropy::random_text::<32>();
    let stored = StoredSecrets::new(vec![Digest::of(secret.as_bytes())], SecretPlace::Either).expect("one secret");
    let known = client(Credentials::Secrets(stored));
    let public = client(Credentials::Public);
    let changed = |index: usize| {
        let mut bytes = secret.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        Secret::new(String::from_utf8(bytes).expect("ASCII"))
    };
    let (first, last) = (0, secret.len() - 1);
    let class = |client, index| Class {
        client,
        shown: changed(index),
    };
    let mut good = true;
    for (name, one, two) in [
        (
            "first byte, last byte",
            class(Some(&known), first),
            class(Some(&known), last),
        ),
        (
            "known client, no client",
            class(Some(&known), first),
            class(None, first),
        ),
        (
            "known client, public client",
            class(Some(&known), first),
            class(Some(&public), first),
        ),
    ] {
        let t = compare(&one, &two, samples);
        let fine = t.abs() < T_MAX;
        good &= fine;
        println!(
            "{name:32} |t| = {:5.2}  {}",
            t.abs(),
            if fine { "ok" } else { "TOO LARGE" }
        );
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn client(credentials: Credentials) -> Client {
    Client {
        id: ClientId::parse("client").expect("valid"),
        kind: ClientKind::Service,
        grants: BTreeSet::new(),
        redirect_uris: Vec::new(),
        credentials,
        assigned_groups: BTreeSet::new(),
        assigned_users: BTreeSet::new(),
        options: Arc::default(),
    }
}

fn compare(one: &Class<'_>, two: &Class<'_>, samples: usize) -> f64 {
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    // The order is random, so that neither class has the warmer cache.
    let mut coins = Vec::new();
    while times.iter().any(|times| times.len() < samples) {
        if coins.is_empty() {
            coins = entropy::random_bytes::<64>().to_vec();
        }
        let which = usize::from(coins.pop().unwrap_or_default() & 1);
        let class = if which == 0 { one } else { two };
        let start = Instant::now();
        black_box(secret_matches(black_box(class.client), black_box(&class.shown)));
        let nanoseconds = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
        times[which].push(nanoseconds);
    }
    // What the machine did meanwhile is no matter of the code: the same bound for both classes.
    let mut all: Vec<u32> = times.concat();
    all.sort_unstable();
    let bound = all[all.len() * 9 / 10];
    welch(&kept(&times[0], bound), &kept(&times[1], bound))
}

fn kept(times: &[u32], bound: u32) -> Vec<f64> {
    times
        .iter()
        .filter(|time| **time <= bound)
        .map(|time| f64::from(*time))
        .collect()
}

/// Welch's t.
fn welch(one: &[f64], two: &[f64]) -> f64 {
    let (mean_one, error_one) = moments(one);
    let (mean_two, error_two) = moments(two);
    let error = (error_one + error_two).sqrt();
    if error == 0.0 {
        0.0
    } else {
        (mean_one - mean_two) / error
    }
}

/// The mean, and the square of its error.
fn moments(times: &[f64]) -> (f64, f64) {
    let count = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)).max(2.0);
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}
