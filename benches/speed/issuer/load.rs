//! The load on the issuer: callers that each keep one HTTP/1.1 connection and ask one thing after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

/// How many callers there are.
pub(super) const CALLERS: usize = 32;

/// A POST of a form by a client that proves itself by Basic.
pub(super) fn form(address: &str, path: &str, (client, secret): (&str, &str), form: &str) -> Vec<u8> {
    let credentials = STANDARD.encode(format!("{client}:{secret}"));
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {credentials}\r\n\
         content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\nuser-agent: okta-sdk/8.0\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// One caller's connection.
pub(super) struct Caller {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Caller {
    pub(super) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            answer: Vec::with_capacity(8 * 1024),
        }
    }

    /// Asks, and gives the body of the answer, which has to be 200; nothing if the server is gone.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Option<&[u8]> {
        self.stream.write_all(request).await.ok()?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await.ok()? == 0 {
                return None;
            }
            let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.answer[..end]).expect("ASCII");
            let mut lines = head.lines().map(str::to_ascii_lowercase);
            let length = lines.find_map(|line| {
                line.strip_prefix("content-length: ")
                    .and_then(|length| length.parse().ok())
            });
            let body = end + 4;
            if self.answer.len() < body + length.unwrap_or(0) {
                continue;
            }
            let is_good = self.answer.starts_with(b"HTTP/1.1 200 ");
            assert!(is_good, "{}", String::from_utf8_lossy(&self.answer));
            return Some(&self.answer[body..]);
        }
    }
}

/// The text of a member of a flat JSON document, without reading the rest: the load must not cost more than the server.
pub(super) fn member<'a>(body: &'a [u8], name: &str) -> &'a str {
    let text = std::str::from_utf8(body).expect("UTF-8");
    let mark = format!("\"{name}\":\"");
    let (_, rest) = text
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no `{name}` in {text}"));
    rest.split('"').next().expect("an end")
}

/// Asks the requests in turn, as fast as the callers can, until `count` are answered; `seen` gets each answer.
pub(super) fn run(address: &str, count: usize, requests: &Rc<[Vec<u8>]>, seen: impl FnMut(&[u8]) + 'static) {
    let next = Rc::new(Cell::new(0));
    let seen = Rc::new(RefCell::new(seen));
    together(|_| {
        let (address, requests) = (address.to_owned(), Rc::clone(requests));
        let (next, seen) = (Rc::clone(&next), Rc::clone(&seen));
        async move {
            let mut caller = Caller::connect(&address).await;
            while next.get() < count {
                let number = next.replace(next.get() + 1);
                let answer = caller.ask(&requests[number % requests.len()]).await.expect("an answer");
                seen.borrow_mut()(answer);
            }
        }
    });
}

/// Runs every caller at once on this thread, so that nothing of the load is anywhere else, and gives what became of
/// each.
pub(super) fn together<T: 'static, F: Future<Output = T> + 'static>(caller: impl Fn(usize) -> F) -> Vec<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let callers: Vec<_> = (0..CALLERS).map(|number| spawn_local(caller(number))).collect();
        let mut ended = Vec::with_capacity(callers.len());
        for caller in callers {
            ended.push(caller.await.expect("no panic"));
        }
        ended
    })
}
