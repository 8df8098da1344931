//! What a client of Envoy sees of authorization: the time that it adds, and what it costs both servers.
//!
//! One Envoy with one worker; requests of HTTP/1.1 on connections that stay open, answered by Envoy itself. Latency is
//! that of one request after the other on one connection, which waits for nobody else; costs and rates are those of
//! [`MANY`] connections. Each way is asked with one token, and with [`TOKENS`] that take turns, all seen before: the
//! gate has their verdicts, and so has `jwt_authn` with its cache.

mod bootstrap;

use bytes::Bytes;
use scopegate::jose::alg::Algorithm;

use crate::check::allowed;
use crate::curves::Curve;
use crate::drive;
use crate::figures::{Figure, median};
use crate::load::Seen;
use crate::process::{Process, until_open};
use crate::world::{Size, World};
use crate::{Measured, Settings};
use bootstrap::{Envoy, Rules, Way};

/// Tokens that take turns.
const TOKENS: usize = 20_000;
/// Room for all their verdicts: [`TOKENS`] are more than the default remembers, and `jwt_authn` has room for all as well.
/// And patience: a busy machine must not turn a check into a denial.
const ROOM: &str = "gate: { verdict_cache: 256MiB, timeout: 10s }\n";
/// The same, of a gate that looks for the next check for a while before it sleeps.
const ROOM_BUSY: &str = "gate: { verdict_cache: 256MiB, timeout: 10s, busy_poll: 1ms }\n";
/// Connections, where rates and costs are measured.
const MANY: usize = 32;
/// Connections of the plot.
const CONNECTIONS: [usize; 5] = [1, 2, 4, 8, 16];

/// The ways, by their place.
const OPEN: usize = 0;
const JWT: usize = 1;
const JWT_CACHED: usize = 2;
const STOCK: usize = 3;
const STOCK_UNIX: usize = 4;
const GATE: usize = 5;
const GATE_UNIX: usize = 6;
const GATE_BUSY: usize = 7;
const WAYS: [&str; 8] = [
    "no authorization",
    "Envoy's jwt_authn and rbac",
    "the same with its cache of tokens",
    "no-op tonic on TCP",
    "no-op tonic on a unix socket",
    "Scopegate on TCP",
    "Scopegate on a unix socket",
    "the same with `busy_poll: 1ms`",
];

/// What is made of the rounds.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// Median latency beyond that without authorization, µs.
    Added,
    /// Time between answers at full load, µs.
    Interval,
    /// Processor time of Envoy and of who it asks for each request, beyond that without authorization, µs.
    Cpu,
    /// The same, of who it asks alone.
    ServerCpu,
}

/// One figure: `own` compared with `other`.
struct Wanted {
    name: &'static str,
    what: &'static str,
    of: Of,
    many_tokens: bool,
    own: usize,
    other: usize,
    limit: Option<f64>,
}

const fn one(name: &'static str, what: &'static str, of: Of, own: usize, other: usize) -> Wanted {
    Wanted {
        name,
        what,
        of,
        many_tokens: false,
        own,
        other,
        limit: None,
    }
}

const fn many(name: &'static str, what: &'static str, of: Of, own: usize, other: usize) -> Wanted {
    let mut wanted = one(name, what, of, own, other);
    wanted.many_tokens = true;
    wanted
}

const P50: &str = "p50 added, Scopegate on a unix socket";
const P50_TOKENS: &str = "p50 added, 20,000 tokens";
const INTERVAL: &str = "time between answers at full load";
const INTERVAL_TOKENS: &str = "time between answers at full load, 20,000 tokens";
const CPU: &str = "CPU added to a request, Envoy and server";
const CPU_TOKENS: &str = "CPU added to a request, 20,000 tokens";
const SERVER: &str = "CPU of the server alone for a request";
const SERVER_TOKENS: &str = "CPU of the server alone, 20,000 tokens";

const WANTED: &[Wanted] = &[
    Wanted {
        limit: Some(0.85),
        ..one("envoy_p50_added", P50, Of::Added, GATE_UNIX, STOCK)
    },
    Wanted {
        limit: Some(0.85),
        ..one(
            "envoy_p50_added_busy",
            "the same with `busy_poll: 1ms`",
            Of::Added,
            GATE_BUSY,
            STOCK,
        )
    },
    one("envoy_p50_added_unix", P50, Of::Added, GATE_UNIX, STOCK_UNIX),
    one("envoy_p50_added_jwt", P50, Of::Added, GATE_UNIX, JWT),
    one("envoy_p50_added_jwt_cache", P50, Of::Added, GATE_UNIX, JWT_CACHED),
    one(
        "envoy_p50_added_tcp",
        "p50 added, Scopegate on TCP",
        Of::Added,
        GATE,
        STOCK,
    ),
    many("envoy_p50_added_tokens", P50_TOKENS, Of::Added, GATE_UNIX, STOCK),
    many("envoy_p50_added_tokens_jwt", P50_TOKENS, Of::Added, GATE_UNIX, JWT),
    many(
        "envoy_p50_added_tokens_jwt_cache",
        P50_TOKENS,
        Of::Added,
        GATE_UNIX,
        JWT_CACHED,
    ),
    one("envoy_interval", INTERVAL, Of::Interval, GATE_UNIX, STOCK),
    one("envoy_interval_open", INTERVAL, Of::Interval, GATE_UNIX, OPEN),
    one("envoy_interval_jwt", INTERVAL, Of::Interval, GATE_UNIX, JWT),
    many("envoy_interval_tokens", INTERVAL_TOKENS, Of::Interval, GATE_UNIX, STOCK),
    many(
        "envoy_interval_tokens_jwt",
        INTERVAL_TOKENS,
        Of::Interval,
        GATE_UNIX,
        JWT,
    ),
    one("envoy_cpu", CPU, Of::Cpu, GATE_UNIX, STOCK),
    one("envoy_cpu_jwt", CPU, Of::Cpu, GATE_UNIX, JWT),
    many("envoy_cpu_tokens", CPU_TOKENS, Of::Cpu, GATE_UNIX, STOCK),
    many("envoy_cpu_tokens_jwt", CPU_TOKENS, Of::Cpu, GATE_UNIX, JWT),
    one("envoy_server_cpu", SERVER, Of::ServerCpu, GATE_UNIX, STOCK),
    many(
        "envoy_server_cpu_tokens",
        SERVER_TOKENS,
        Of::ServerCpu,
        GATE_UNIX,
        STOCK,
    ),
];

pub(crate) const FIGURES: &[&str] = &{
    let mut names = [""; WANTED.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = WANTED[place].name;
        place += 1;
    }
    names
};

/// How many turns a way has in a round for its p50, and how many requests in each, one after the other.
const TURNS: usize = 8;
const ALONE: usize = 500;

/// What one way showed in one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    p50: f64,
    interval: f64,
    envoy: f64,
    server: f64,
}

pub(crate) fn run(settings: Settings) -> Measured {
    let stage = Stage::new(settings);
    let one_token = vec![request("/transfers/7", Some(&stage.world.token(0)))];
    let tokens: Vec<_> = (0..TOKENS)
        .map(|number| request("/transfers/7", Some(&stage.world.token(number))))
        .collect();
    stage.prove(&one_token);
    for way in 0..WAYS.len() {
        stage.ask(way, MANY, &tokens, TOKENS);
    }
    // [tokens][way][round]
    let mut rounds = [vec![Vec::new(); WAYS.len()], vec![Vec::new(); WAYS.len()]];
    let mut curves = vec![vec![Vec::new(); CONNECTIONS.len()]; WAYS.len()];
    for _ in 0..settings.rounds {
        for (set, requests) in [&one_token, &tokens].into_iter().enumerate() {
            let mut p50 = vec![Vec::new(); WAYS.len()];
            for _ in 0..TURNS {
                for (way, p50) in p50.iter_mut().enumerate() {
                    p50.push(stage.ask(way, 1, requests, ALONE).p50 * 1000.0);
                }
            }
            for (way, rounds) in rounds[set].iter_mut().enumerate() {
                rounds.push(stage.round(way, requests, median(&p50[way])));
            }
        }
        for (place, connections) in CONNECTIONS.into_iter().enumerate() {
            for (way, curve) in curves.iter_mut().enumerate() {
                curve[place].push(stage.ask(way, connections, &one_token, 2000).p50 * 1000.0);
            }
        }
    }
    let figures = WANTED.iter().map(|wanted| {
        let rounds = &rounds[usize::from(wanted.many_tokens)];
        let column = |way: usize| values(wanted.of, &rounds[way], &rounds[OPEN]);
        let mut figure = Figure::new(wanted.name, wanted.what, "µs", column(wanted.own));
        figure = figure.of(WAYS[wanted.other], column(wanted.other));
        figure.limit = wanted.limit;
        figure
    });
    Measured {
        figures: figures.collect(),
        curves: [
            ("envoy_latency.open", OPEN),
            ("envoy_latency.jwt", JWT),
            ("envoy_latency.stock", STOCK),
            ("envoy_latency.gate", GATE_UNIX),
        ]
        .into_iter()
        .map(|(name, way)| Curve {
            name,
            what: WAYS[way],
            x: "connections to Envoy with one request under way",
            unit: "µs, p50",
            points: CONNECTIONS
                .iter()
                .zip(&curves[way])
                .map(|(connections, rounds)| (*connections as f64, median(rounds)))
                .collect(),
        })
        .collect(),
    }
}

fn values(of: Of, own: &[Round], open: &[Round]) -> Vec<f64> {
    own.iter()
        .zip(open)
        .map(|(own, open)| match of {
            Of::Added => own.p50 - open.p50,
            Of::Interval => own.interval,
            Of::Cpu => own.envoy + own.server - open.envoy,
            Of::ServerCpu => own.server,
        })
        .collect()
}

/// Everything that runs.
struct Stage {
    /// Whose issuer and whose counters are those of the gate on TCP.
    world: World,
    /// The same on a unix socket.
    unix: World,
    /// And with `busy_poll`.
    busy: World,
    servers: Vec<Option<Process>>,
    envoy: Envoy,
    _sockets: tempfile::TempDir,
}

impl Stage {
    fn new(settings: Settings) -> Self {
        let sockets = tempfile::tempdir().expect("a folder");
        let socket = |name: &str| sockets.path().join(name).display().to_string();
        let world = World::new(Size::USUAL, Algorithm::Rs256, ROOM);
        let unix = World::at(&format!("unix:{}", socket("gate")), Size::USUAL, Algorithm::Rs256, ROOM);
        let busy = World::at(
            &format!("unix:{}", socket("busy")),
            Size::USUAL,
            Algorithm::Rs256,
            ROOM_BUSY,
        );
        // One issuer for all of them.
        let keys = world.folder().join("keys.json");
        for other in [&unix, &busy] {
            std::fs::copy(&keys, other.folder().join("keys.json")).expect("copies");
        }
        let (stock, stock_address) = Process::server(settings.stock, &["stock"]);
        let (stock_unix, stock_unix_address) = Process::server(settings.stock, &["stock", &socket("stock")]);
        let gate = Process::scopegate(world.folder(), &["--gate-threads", "1"]);
        let gate_unix = Process::scopegate(unix.folder(), &["--gate-threads", "1"]);
        let gate_busy = Process::scopegate(busy.folder(), &["--gate-threads", "1"]);
        let ways = [
            Way::Open,
            Way::OwnFilters { cached: 0 },
            Way::OwnFilters { cached: TOKENS + 1000 },
            Way::Asks(stock_address),
            Way::Asks(stock_unix_address),
            Way::Asks(world.address.clone()),
            Way::Asks(unix.address.clone()),
            Way::Asks(busy.address.clone()),
        ];
        for address in [&world.address, &unix.address, &busy.address] {
            until_open(address);
        }
        let rules = Rules {
            keys,
            routes: Size::USUAL.routes - 1,
        };
        Self {
            envoy: Envoy::start(&ways, &rules),
            servers: vec![
                None,
                None,
                None,
                Some(stock),
                Some(stock_unix),
                Some(gate),
                Some(gate_unix),
                Some(gate_busy),
            ],
            world,
            unix,
            busy,
            _sockets: sockets,
        }
    }

    /// Every way that should refuse does: what is measured is really authorized.
    fn prove(&self, good: &[Bytes]) {
        let strangers = [request("/transfers/7", None)];
        let no_route = [good[0].clone()].map(|request| {
            let text = String::from_utf8_lossy(&request).replace("/transfers/7", "/elsewhere");
            Bytes::from(text)
        });
        for (way, address) in self.envoy.addresses.iter().enumerate() {
            let believes = matches!(way, OPEN | STOCK | STOCK_UNIX);
            let (stranger, nowhere) = if believes { (200, 200) } else { (401, 403) };
            drive::requests(address, 1, &strangers, 4, stranger);
            drive::requests(address, 1, &no_route, 4, nowhere);
            self.ask(way, 1, good, 4);
        }
    }

    /// Requests that must be allowed, by the gate's own count as well.
    fn ask(&self, way: usize, connections: usize, requests: &[Bytes], calls: usize) -> Seen {
        let world = match way {
            GATE => Some(&self.world),
            GATE_UNIX => Some(&self.unix),
            GATE_BUSY => Some(&self.busy),
            _ => None,
        };
        let before = world.map(allowed);
        let seen = drive::requests(&self.envoy.addresses[way], connections, requests, calls, 200);
        if let (Some(world), Some(before)) = (world, before) {
            assert!(
                allowed(world) - before >= calls as f64,
                "the gate allowed every request"
            );
        }
        seen
    }

    fn round(&self, way: usize, requests: &[Bytes], p50: f64) -> Round {
        let calls = TOKENS.min(requests.len().max(8000));
        let server = || self.servers[way].as_ref().map_or(0.0, Process::cpu);
        let (envoy_before, server_before) = (self.envoy.process.cpu(), server());
        let seen = self.ask(way, MANY, requests, calls);
        Round {
            p50,
            interval: 1e6 / seen.per_second,
            envoy: (self.envoy.process.cpu() - envoy_before) / calls as f64,
            server: (server() - server_before) / calls as f64,
        }
    }
}

/// A request as a browser sends it.
fn request(path: &str, token: Option<&str>) -> Bytes {
    let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    Bytes::from(format!(
        "GET {path} HTTP/1.1\r\nhost: api0.bank.example\r\naccept: application/json\r\naccept-encoding: gzip, deflate, br\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n{token}\r\n"
    ))
}
