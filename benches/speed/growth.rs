//! How the cost of a cached check grows: with routes, APIs, authorization servers, and with what is told of each check.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use scopegate::jose::alg::Algorithm;

use crate::check::{in_turns, until_allowed};
use crate::curves::Curve;
use crate::figures::{Figure, median};
use crate::process::{Process, free_port, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &["check_routes", "check_told"];

pub(crate) fn run(settings: Settings) -> Measured {
    let collector = Collector::start();
    let told = format!(
        "telemetry:\n  decision_log: {{ to: decisions.log, allows: 0.01 }}\n  otlp: {{ endpoint: \"http://{}\", sample: 0.1 }}\n",
        collector.address
    );
    let large = Size {
        apis: 1_000,
        routes: 10_000,
        servers: 1,
    };
    let sides = [
        Side::new(Size::USUAL, ""),
        Side::new(large, ""),
        Side::new(Size::USUAL, &told),
    ];
    let [usual, routes, telling] = costs(&sides, settings.rounds).try_into().expect("three sides");
    assert!(sides[2].logged() > 0, "some checks are in the log");
    let figures = vec![
        Figure::new(
            "check_routes",
            "a cached check, 10,000 routes on 1,000 APIs",
            "µs",
            routes,
        )
        .of("50 routes on one", usual.clone())
        .at_most(1.15),
        Figure::new(
            "check_told",
            "a cached check, 1 % in the log and 10 % traced",
            "µs",
            telling,
        )
        .of("none of it", usual)
        .at_most(1.10),
    ];
    drop(sides);
    let size = |apis, routes, servers| Size { apis, routes, servers };
    let curves = vec![
        curve("routes", "routes", &[50, 500, 5_000, 10_000], settings, |routes| {
            size(1, routes, 1)
        }),
        curve("apis", "APIs of ten routes", &[1, 10, 100, 1_000], settings, |apis| {
            size(apis, 10 * apis, 1)
        }),
        curve(
            "servers",
            "authorization servers, an API each",
            &[1, 10, 100, 1_000],
            settings,
            |servers| size(servers, 10 * servers, servers),
        ),
    ];
    Measured { figures, curves }
}

/// A gate of its own, with what it is asked.
struct Side {
    world: World,
    gate: Process,
    body: PathBuf,
}

impl Side {
    fn new(size: Size, more: &str) -> Self {
        let world = World::new(size, Algorithm::Es256, more);
        let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
        until_open(&world.address);
        let body = world.check("allow", "GET", "/transfers/7", Some(&world.token(0)));
        until_allowed(&world, &body);
        Self { world, gate, body }
    }

    fn logged(&self) -> usize {
        let log = std::fs::read_to_string(self.world.folder().join("decisions.log"));
        log.map_or(0, |log| log.lines().count())
    }
}

/// What a check costs on each side, in each round.
fn costs(sides: &[Side], rounds: usize) -> Vec<Vec<f64>> {
    let asked: Vec<_> = sides
        .iter()
        .map(|side| (&side.gate, side.world.address.as_str(), side.body.as_path()))
        .collect();
    let (costs, _) = in_turns(&asked, rounds);
    costs
}

fn curve(
    name: &'static str,
    x: &'static str,
    sizes: &[usize],
    settings: Settings,
    size: impl Fn(usize) -> Size,
) -> Curve {
    // All at once, and in turns: what else the machine does hits all points alike.
    let sides: Vec<_> = sizes.iter().map(|count| Side::new(size(*count), "")).collect();
    let costs = costs(&sides, settings.rounds.min(3));
    let points = sizes.iter().zip(&costs);
    Curve {
        name,
        what: "a cached check",
        x,
        unit: "µs",
        points: points.map(|(count, costs)| (*count as f64, median(costs))).collect(),
    }
}

/// A collector of traces, which forgets them.
struct Collector {
    _process: Process,
    address: String,
}

impl Collector {
    fn start() -> Self {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/lib");
        let python = std::fs::read_dir(lib).ok().and_then(|mut entries| entries.next());
        let python = python.and_then(Result::ok).expect("run tests/peers.sh").path();
        let address = format!("127.0.0.1:{}", free_port());
        let http = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(python.join("site-packages/rotel/rotel-agent"));
        command.args(["start", "--exporter", "blackhole"]);
        command.args(["--otlp-grpc-endpoint", &address, "--otlp-http-endpoint", &http]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::command(&mut command);
        until_open(&address);
        Self {
            _process: process,
            address,
        }
    }
}
