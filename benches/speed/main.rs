//! Everything that we say about speed and memory, measured beside what it is compared with, in one run.
//!
//! `benches/run.sh` is the way in: it installs the peers, runs this, and writes docs/performance.md. By hand:
//!
//! ```text
//! cargo bench --bench speed -- [--only NAME] [--rounds N] [--json FILE]
//! ```
//!
//! Servers are processes of their own, and processor time is what the kernel accounts to them, so that the cost of the
//! load does not count. Sides take turns in every round, so that what else the machine does hits all of them alike; a
//! ratio is the median of the rounds' own ratios.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a program for developers"
)]

mod check;
mod figures;
mod load;
mod overload;
mod process;
mod servers;
mod world;

use std::path::PathBuf;

use figures::Figure;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How often each side is measured.
    pub(crate) rounds: usize,
}

/// One concern, and what it measures.
struct Part {
    name: &'static str,
    run: fn(Settings) -> Vec<Figure>,
}

const PARTS: &[Part] = &[
    Part {
        name: "check",
        run: check::run,
    },
    Part {
        name: "overload",
        run: overload::run,
    },
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut only, mut rounds, mut json) = (None, 7, None);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .unwrap_or_else(|| usage(&format!("`{argument}` wants a value")))
        };
        match argument.as_str() {
            "serve" => return servers::serve(&value()),
            "--only" => only = Some(value()),
            "--rounds" => match value().parse() {
                Ok(number) if number > 0 => rounds = number,
                _ => usage("`--rounds` wants a number from 1"),
            },
            "--json" => json = Some(PathBuf::from(value())),
            other => usage(&format!("unknown argument `{other}`")),
        }
    }
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name == only);
    let mut figures = Vec::new();
    let mut known = false;
    for part in PARTS {
        if wanted(part.name) {
            known = true;
            eprintln!("measuring: {}", part.name);
            figures.extend((part.run)(Settings { rounds }));
        }
    }
    if !known {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        usage(&format!("`--only` knows {}", names.join(", ")));
    }
    figures::print(&figures);
    if let Some(json) = json {
        figures::write(&figures, &json).expect("the file can be written");
    }
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\nusage: cargo bench --bench speed -- [--only NAME] [--rounds N] [--json FILE]");
    std::process::exit(2)
}
