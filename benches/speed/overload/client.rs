//! A client that costs next to nothing: HTTP/2 by hand, one thread, nothing kept of a call but when it was sent.
//!
//! It keeps what every client has to: the server's bounds on streams and on bytes under way. Beyond those a call is not
//! sent. It gives a call up after [`PATIENCE`], by a reset, as Envoy does.

#![expect(clippy::disallowed_methods, reason = "a client of its own, which measures time")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Envoy's own time-out of a check.
const PATIENCE: Duration = Duration::from_millis(200);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// When calls are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// As soon as a connection has fewer than so many under way.
    Closed { streams: usize },
    /// So many a second, as long as fewer than this are under way in all.
    Open { rate: f64, under_way_max: usize },
}

/// What became of the calls.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Allowed in time.
    pub(crate) good: usize,
    /// Denied in time.
    pub(crate) shed: usize,
    /// Given up.
    pub(crate) silent: usize,
    /// Reset by the server, or lost with its connection.
    pub(crate) reset: usize,
    /// Not sent.
    pub(crate) held_back: usize,
    /// Connections that the server ended.
    pub(crate) ended: usize,
}

impl Outcome {
    pub(crate) fn per_second(&self, calls: usize) -> f64 {
        calls as f64 / self.seconds
    }

    pub(crate) fn sent(&self) -> usize {
        self.good + self.shed + self.silent + self.reset
    }

    /// What had no answer in time, of what was sent.
    pub(crate) fn silent_percent(&self) -> f64 {
        100.0 * (self.silent + self.reset) as f64 / self.sent().max(1) as f64
    }
}

pub(crate) struct Client {
    address: String,
    connections: Vec<Connection>,
}

impl Client {
    pub(crate) fn connect(address: &str, connections: usize) -> Self {
        let mut connections: Vec<_> = (0..connections).map(|_| Connection::open(address)).collect();
        let mut outcome = Outcome::default();
        while connections.iter().any(|connection| !connection.greeted) {
            for connection in &mut connections {
                connection.turn(&mut outcome);
            }
        }
        Self {
            address: address.to_owned(),
            connections,
        }
    }

    /// Loads the server for this long, then waits for what is under way.
    pub(crate) fn run(mut self, requests: &[Vec<u8>], plan: Plan, lasts: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let started = Instant::now();
        let (mut arrived, mut next, mut turn) = (0_usize, 0, 0);
        while started.elapsed() < lasts {
            let mut busy = false;
            for connection in &mut self.connections {
                busy |= connection.turn(&mut outcome);
                if connection.over {
                    outcome.ended += 1;
                    outcome.reset += connection.under_way;
                    *connection = Connection::open(&self.address);
                }
            }
            match plan {
                Plan::Closed { streams } => {
                    for connection in &mut self.connections {
                        while connection.under_way < streams && connection.send(&requests[next % requests.len()]) {
                            next += 1;
                        }
                    }
                }
                Plan::Open { rate, under_way_max } => {
                    let due = (started.elapsed().as_secs_f64() * rate) as usize;
                    let mut under_way: usize = self.connections.iter().map(|connection| connection.under_way).sum();
                    while arrived < due {
                        let request = &requests[next % requests.len()];
                        let count = self.connections.len();
                        let mut connections = (0..count).map(|offset| (turn + offset) % count);
                        if under_way < under_way_max && connections.any(|number| self.connections[number].send(request))
                        {
                            under_way += 1;
                            (next, turn, arrived) = (next + 1, turn + 1, arrived + 1);
                        } else {
                            outcome.held_back += due - arrived;
                            arrived = due;
                        }
                    }
                }
            }
            if !busy {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        let ending = Instant::now();
        while ending.elapsed() < 2 * PATIENCE {
            for connection in &mut self.connections {
                connection.turn(&mut outcome);
            }
        }
        outcome
    }
}

/// What is known of a call until it is over.
struct Sent {
    at: Instant,
    over: bool,
    allowed: bool,
}

struct Connection {
    stream: TcpStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// The first of `calls`.
    first: u32,
    /// By stream, in order.
    calls: VecDeque<Sent>,
    under_way: usize,
    streams_max: usize,
    window: i64,
    indexed: bool,
    greeted: bool,
    over: bool,
}

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        stream.set_nonblocking(true).expect("a socket");
        let mut outgoing = PREFACE.to_vec();
        frame(&mut outgoing, SETTINGS, 0, 0, &[]);
        // No answers stop for want of room.
        frame(&mut outgoing, WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
        Self {
            stream,
            incoming: Vec::with_capacity(1 << 20),
            outgoing,
            first: 1,
            calls: VecDeque::new(),
            under_way: 0,
            streams_max: usize::MAX,
            window: 65_535,
            indexed: false,
            greeted: false,
            over: false,
        }
    }

    /// Sends a call, unless the server's bounds forbid it.
    fn send(&mut self, request: &[u8]) -> bool {
        let length = i64::try_from(request.len()).expect("small");
        if self.over || !self.greeted || self.under_way >= self.streams_max || self.window < length {
            return false;
        }
        self.window -= length;
        let stream = self.first + 2 * u32::try_from(self.calls.len()).expect("few");
        let headers = headers(std::mem::replace(&mut self.indexed, true));
        frame(&mut self.outgoing, HEADERS, END_HEADERS, stream, &headers);
        frame(&mut self.outgoing, DATA, END_STREAM, stream, request);
        self.calls.push_back(Sent {
            at: Instant::now(),
            over: false,
            allowed: false,
        });
        self.under_way += 1;
        true
    }

    /// Reads and writes what can be read and written, and gives calls up. Whether there was anything to do.
    fn turn(&mut self, outcome: &mut Outcome) -> bool {
        let read = self.read(outcome);
        let now = Instant::now();
        while let Some(call) = self.calls.front() {
            if !call.over {
                if now.duration_since(call.at) < PATIENCE {
                    break;
                }
                outcome.silent += 1;
                self.under_way -= 1;
                frame(&mut self.outgoing, RST_STREAM, 0, self.first, &CANCEL.to_be_bytes());
            }
            self.calls.pop_front();
            self.first += 2;
        }
        let written = self.write();
        read || written
    }

    fn read(&mut self, outcome: &mut Outcome) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut any = false;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.over = true,
                Ok(count) => {
                    self.incoming.extend_from_slice(&buffer[..count]);
                    any = true;
                    if count == buffer.len() {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.over = true,
            }
            break;
        }
        let incoming = std::mem::take(&mut self.incoming);
        let mut at = 0;
        while let Some(head) = incoming.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = incoming.get(at + 9..at + 9 + length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.take(head[3], head[4], stream, payload, outcome);
            at += 9 + length;
        }
        self.incoming = incoming;
        self.incoming.drain(..at);
        any
    }

    fn write(&mut self) -> bool {
        let mut written = 0;
        while written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.over = true;
                    break;
                }
            }
        }
        self.outgoing.drain(..written);
        written > 0
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], outcome: &mut Outcome) {
        match kind {
            DATA => {
                if let Some(call) = self.call(stream) {
                    call.allowed = allows(payload);
                }
            }
            HEADERS if flags & END_STREAM != 0 => {
                if let Some(call) = self.call(stream) {
                    call.over = true;
                    let (good, late) = (call.allowed, call.at.elapsed() >= PATIENCE);
                    self.under_way -= 1;
                    match (late, good) {
                        (true, _) => outcome.silent += 1,
                        (false, true) => outcome.good += 1,
                        (false, false) => outcome.shed += 1,
                    }
                }
            }
            RST_STREAM => {
                if let Some(call) = self.call(stream) {
                    call.over = true;
                    self.under_way -= 1;
                    outcome.reset += 1;
                }
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    if setting[..2] == [0, 3] {
                        self.streams_max = value as usize;
                    }
                }
                self.greeted = true;
                frame(&mut self.outgoing, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(&mut self.outgoing, PING, ACK, 0, payload),
            WINDOW_UPDATE if stream == 0 => {
                let more = payload.try_into().map(u32::from_be_bytes).expect("four bytes");
                self.window += i64::from(more);
            }
            GOAWAY => self.over = true,
            _ => {}
        }
    }

    /// A call that is not over.
    fn call(&mut self, stream: u32) -> Option<&mut Sent> {
        let place = stream.checked_sub(self.first)? / 2;
        self.calls.get_mut(place as usize).filter(|call| !call.over)
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("small");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What Envoy sends, by HPACK: everything is put into the table by the first call, and named by its place after that.
fn headers(indexed: bool) -> Vec<u8> {
    let fields = [
        (":path", "/envoy.service.auth.v3.Authorization/Check"),
        (":authority", "scopegate"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "200m"),
    ];
    // `:method: POST`, `:scheme: http`
    let mut block = vec![0x83, 0x86];
    for (place, (name, value)) in fields.iter().enumerate() {
        if indexed {
            // 62 is what was put in last.
            let index = 62 + fields.len() - 1 - place;
            block.push(0x80 | u8::try_from(index).expect("small"));
        } else {
            block.push(0x40);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("short"));
                block.extend_from_slice(text.as_bytes());
            }
        }
    }
    block
}

/// Whether a framed CheckResponse allows: the code of its status is absent or 0.
fn allows(framed: &[u8]) -> bool {
    // The status is field 1 and comes first: tag, length, then its code as field 1.
    match framed.get(5..) {
        Some([0x0a, length, rest @ ..]) => *length == 0 || rest.first() != Some(&0x08) || rest.get(1) == Some(&0),
        _ => true,
    }
}
