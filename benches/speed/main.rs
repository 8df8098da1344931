//! Everything that we say about speed and memory, measured beside what it is compared with, in one run.
//!
//! `benches/run.sh` is the way in: it installs the peers, runs this, and writes docs/performance.md. By hand:
//!
//! ```text
//! cargo bench --bench speed -- [--only NAME] [--rounds N] [--json FILE] [--curves FILE] [--stock PROGRAM] [--tuned PROGRAM]
//! ```
//!
//! `--stock` and `--tuned` are the programs of `benches/baselines`, built with the profile `stock`.
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
    clippy::similar_names,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program for developers"
)]

mod abuse;
mod check;
mod crypto;
mod curves;
mod drive;
mod figures;
mod growth;
mod issuer;
mod load;
mod many;
mod memory;
mod overload;
mod process;
mod servers;
mod signed;
mod start;
mod threads;
mod through_envoy;
mod world;

use std::path::{Path, PathBuf};

use curves::Curve;
use figures::Figure;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How often each side is measured.
    pub(crate) rounds: usize,
    /// The programs of benches/baselines; without them this program serves in their place.
    pub(crate) stock: Option<&'static Path>,
    pub(crate) tuned: Option<&'static Path>,
}

/// What a part found.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self {
            figures,
            curves: Vec::new(),
        }
    }
}

/// One concern, and what it measures.
struct Part {
    name: &'static str,
    /// The names of its figures, so that `--only` knows which part to run for one.
    figures: &'static [&'static str],
    run: fn(Settings) -> Measured,
}

const PARTS: &[Part] = &[
    Part {
        name: "check",
        figures: check::FIGURES,
        run: check::run,
    },
    Part {
        name: "issuer",
        figures: issuer::FIGURES,
        run: issuer::run,
    },
    Part {
        name: "issuer-growth",
        figures: &[],
        run: issuer::growth,
    },
    Part {
        name: "cold",
        figures: crypto::FIGURES,
        run: crypto::run,
    },
    Part {
        name: "envoy",
        figures: through_envoy::FIGURES,
        run: through_envoy::run,
    },
    Part {
        name: "growth",
        figures: growth::FIGURES,
        run: growth::run,
    },
    Part {
        name: "memory",
        figures: memory::FIGURES,
        run: memory::run,
    },
    Part {
        name: "million",
        figures: memory::MILLION_FIGURES,
        run: memory::million,
    },
    Part {
        name: "start",
        figures: start::FIGURES,
        run: start::run,
    },
    Part {
        name: "threads",
        figures: threads::FIGURES,
        run: threads::run,
    },
    Part {
        name: "abuse",
        figures: abuse::FIGURES,
        run: abuse::run,
    },
    Part {
        name: "overload",
        figures: overload::FIGURES,
        run: overload::run,
    },
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut only, mut json, mut curves) = (None, None, None);
    let mut settings = Settings {
        rounds: 7,
        stock: None,
        tuned: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .unwrap_or_else(|| usage(&format!("`{argument}` wants a value")))
        };
        match argument.as_str() {
            "serve" => return servers::main(),
            "abuse" => return abuse::abuse(&value(), &value(), &value()),
            "--only" => only = Some(value()),
            "--rounds" => match value().parse() {
                Ok(number) if number > 0 => settings.rounds = number,
                _ => usage("`--rounds` wants a number from 1"),
            },
            "--stock" => settings.stock = Some(program(value())),
            "--tuned" => settings.tuned = Some(program(value())),
            "--json" => json = Some(PathBuf::from(value())),
            "--curves" => curves = Some(PathBuf::from(value())),
            other => usage(&format!("unknown argument `{other}`")),
        }
    }
    let measured = measure(only.as_deref(), settings);
    figures::print(&measured.figures);
    if let Some(json) = json {
        figures::write(&measured.figures, &json).expect("the file can be written");
    }
    if let Some(file) = curves {
        curves::write(&measured.curves, &file).expect("the file can be written");
    }
}

/// Lives for as long as this program does.
fn program(path: String) -> &'static Path {
    Box::leak(PathBuf::from(path).into_boxed_path())
}

/// Runs every part, the one that is named, or the one that has the figure that is named.
fn measure(only: Option<&str>, settings: Settings) -> Measured {
    let mut measured = Measured::default();
    let mut known = false;
    for part in PARTS {
        let whole = only.is_none_or(|only| only == part.name);
        if !whole && !part.figures.iter().any(|name| only == Some(name)) {
            continue;
        }
        known = true;
        eprintln!("measuring: {}", part.name);
        let mut found = (part.run)(settings);
        let names: Vec<_> = found.figures.iter().map(|figure| figure.name).collect();
        assert_eq!(names, part.figures, "the list of the figures of `{}`", part.name);
        for figure in &mut found.figures {
            figure.part = part.name;
        }
        if !whole {
            found.figures.retain(|figure| only == Some(figure.name));
        }
        measured.figures.extend(found.figures);
        measured.curves.extend(found.curves);
    }
    if !known {
        let names = PARTS
            .iter()
            .flat_map(|part| std::iter::once(&part.name).chain(part.figures));
        let names: Vec<_> = names.copied().collect();
        usage(&format!("`--only` knows {}", names.join(", ")));
    }
    measured
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}\nusage: cargo bench --bench speed -- [--only NAME] [--rounds N] [--json FILE] [--curves FILE] \
         [--stock PROGRAM] [--tuned PROGRAM]"
    );
    std::process::exit(2)
}
