//! One connection of Envoy's: HTTP/2 by the `h2` crate, its calls answered where they are read.
//!
//! ```text
//!  socket ─ read all that is there ─ accept ─ accept ─ … ─ answer ─ answer ─ … ─ write once
//!                                                    └ must wait (keys, introspection, the rest of the message): a task
//! ```
//!
//! A check from the cache takes two microseconds; a task, a boxed future and a body type for each cost as much again. So a
//! call that can be answered is answered on the connection's own task, after everything that has arrived was read:
//! the answers of one turn leave by as few system calls as they fit in. What must wait gets a task, so that nothing waits
//! behind it.
//!
//! **Overload.** A connection answers for a turn before the others have theirs (see `envoy::turns`), and whatever has
//! arrived is read, and its time noted, in every turn: what has waited for too long is denied without being verified, and
//! what its caller has given up is not looked at.
//!
//! **Busy poll.** Where the file asks for it, a connection that has just answered keeps its thread awake for a moment.
//!
//! What a stream may do to us is bounded by `h2` (see [`Limits`]); who says nothing is asked by a ping and let go.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::envoy::grpc::{self, Answer, Incoming, RpcError, Unreadable};
use crate::envoy::server::{Destination, ExtAuthz};
use crate::envoy::service::{Call, Checks, Progress};
use crate::envoy::turns::Behind;
use crate::net::limits::{FirstBytes, Limits, Stop};

/// Serves one connection until it ends or is ended.
pub(super) async fn serve<C: Checks, I>(io: I, service: &ExtAuthz<C>, limits: &Limits, stop: &Stop)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let io = BufReader::with_capacity(READ_BYTES, io);
    let shaken = builder(limits).handshake(FirstBytes::within(limits.first_bytes, io));
    let shaken = tokio::select! {
        () = stop.soft.cancelled() => return,
        shaken = shaken => shaken,
    };
    let mut connection = match shaken {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, "a connection ended before it began"),
    };
    let vigil = connection.ping_pong().map(|pings| Vigil::begin(pings, limits));
    let mut serving = Serving {
        connection,
        service,
        accepted: VecDeque::new(),
        behind: None,
        answered: None,
        apart: JoinSet::new(),
        vigil,
        leaving: Some(Box::pin(stop.soft.clone().cancelled_owned())),
    };
    tokio::select! {
        () = stop.hard.cancelled() => {}
        () = poll_fn(|context| serving.poll(context)) => {}
    }
}

/// A cached check takes microseconds, and reading the clock a part of one. Who is behind looks after each.
const LOOK_AT_CLOCK_EVERY: usize = 8;

/// How much is taken from the socket at once. `h2` asks for 8 KiB, which is five checks; a busy connection has dozens.
const READ_BYTES: usize = 64 * 1024;

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_list_bytes_max)
        .max_pending_accept_reset_streams(limits.pending_resets_max)
        .max_local_error_reset_streams(Some(limits.local_resets_max))
        .initial_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buffer_size(limits.send_buffer_bytes);
    builder
}

/// A connection that is past its preface. Dropping it ends the calls that wait.
struct Serving<'s, C: Checks, I> {
    connection: Connection<FirstBytes<BufReader<I>>, Bytes>,
    service: &'s ExtAuthz<C>,
    /// Checks that were accepted: counted in, and not looked at yet.
    accepted: VecDeque<(Call<C>, RecvStream, SendResponse<Bytes>)>,
    /// There while some of them are left over from an earlier turn.
    behind: Option<Behind>,
    /// When checks were answered last.
    answered: Option<Duration>,
    /// Calls that have to wait for something.
    apart: JoinSet<()>,
    vigil: Option<Vigil>,
    leaving: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<C: Checks, I> Serving<'_, C, I>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(leaving) = &mut self.leaving
            && leaving.as_mut().poll(context).is_ready()
        {
            self.leaving = None;
            self.connection.graceful_shutdown();
        }
        while let Poll::Ready(Some(_)) = self.apart.poll_join_next(context) {}
        if let Some(vigil) = &mut self.vigil
            && vigil.poll(context).is_ready()
        {
            tracing::debug!("a connection ended: its peer no longer answers");
            return Poll::Ready(());
        }
        loop {
            // Everything that has arrived is read before anything is answered, so that the answers leave together.
            if self.accept(context).is_ready() {
                return Poll::Ready(());
            }
            if self.accepted.is_empty() {
                self.linger(context);
                return Poll::Pending;
            }
            if self.answer_for_a_turn(context).is_pending() {
                // What was answered leaves, and what has arrived meanwhile is counted in and its time noted.
                let over = self.accept(context);
                context.waker().wake_by_ref();
                return over;
            }
        }
    }

    /// Where it is asked for, keeps the thread awake for a moment after an answer: to be woken takes longer than a check.
    fn linger(&self, context: &Context<'_>) {
        let check = self.service.check();
        let busy = check.busy_poll();
        let is_fresh = |answered| check.monotonic().saturating_sub(answered) < busy;
        if !busy.is_zero() && self.answered.is_some_and(is_fresh) {
            context.waker().wake_by_ref();
        }
    }

    /// Answers what was accepted. Pending if that takes longer than a turn: other connections wait for the thread, and the
    /// time of their calls runs only once they are read.
    fn answer_for_a_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (check, turns) = (self.service.check(), self.service.turns());
        let (begun, turn) = (check.monotonic(), turns.turn());
        self.answered = Some(begun);
        let mut answered = 0_usize;
        while let Some((call, body, mut respond)) = self.accepted.pop_front() {
            if self.behind.is_some() && respond.poll_reset(context).is_ready() {
                // Whoever asked has given up while it waited. Dropping the call says so.
                continue;
            }
            self.answer(call, body, respond, context);
            answered += 1;
            let looks = self.behind.is_some() || answered.is_multiple_of(LOOK_AT_CLOCK_EVERY);
            if looks && !self.accepted.is_empty() && check.monotonic().saturating_sub(begun) >= turn {
                self.behind.get_or_insert_with(|| Behind::new(turns));
                return Poll::Pending;
            }
        }
        self.behind = None;
        Poll::Ready(())
    }

    /// Accepts every call whose headers have arrived. Ready once the connection is over.
    fn accept(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut arrival = None;
        loop {
            let (request, mut respond) = match pin!(self.connection.accept()).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(Ok(accepted))) => accepted,
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a connection ended");
                    return Poll::Ready(());
                }
            };
            match self.service.destination(&request) {
                Destination::Check => {
                    let check = self.service.check();
                    let arrival = *arrival.get_or_insert_with(|| check.arrival());
                    let call = check.begin(request.headers(), arrival);
                    self.accepted.push_back((call, request.into_body(), respond));
                }
                Destination::Generated(generated) => drop(self.apart.spawn(generated.answer(request, respond))),
                Destination::Unknown => end(grpc::error(RpcError::UnknownMethod), &mut respond),
                Destination::NotGrpc => end(grpc::not_grpc(), &mut respond),
            }
        }
    }

    fn answer(&mut self, call: Call<C>, body: RecvStream, mut respond: SendResponse<Bytes>, context: &mut Context<'_>) {
        let mut receiving = Receiving::new(body, call.message_bytes_max());
        match receiving.poll(context) {
            Poll::Ready(message) => match call.decide(message) {
                Progress::Answered(answer) => send(answer, &mut respond),
                Progress::Undecided(undecided) => drop(self.apart.spawn(unless_reset(undecided.settle(), respond))),
            },
            Poll::Pending => drop(self.apart.spawn(unless_reset(late(call, receiving), respond))),
        }
    }
}

/// A message that is on its way.
struct Receiving {
    body: RecvStream,
    incoming: Incoming,
    bytes_max: usize,
}

impl Receiving {
    fn new(body: RecvStream, bytes_max: usize) -> Self {
        Self {
            body,
            incoming: Incoming::default(),
            bytes_max,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Unreadable>> {
        // Asked for the end after each frame, and not before the first: the whole message is nearly always one frame.
        loop {
            match ready!(self.body.poll_data(context)) {
                None => break,
                Some(Err(_)) => return Poll::Ready(Err(Unreadable::Malformed("the call was broken off"))),
                Some(Ok(data)) => {
                    // An error means that the stream is over: the next frame says so.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.incoming.push(data, self.bytes_max)?;
                }
            }
            if self.body.is_end_stream() {
                break;
            }
        }
        Poll::Ready(std::mem::take(&mut self.incoming).message(self.bytes_max))
    }
}

/// A call whose message was not there when its turn came.
async fn late<C: Checks>(call: Call<C>, mut receiving: Receiving) -> Answer {
    match tokio::time::timeout(call.left(), poll_fn(|context| receiving.poll(context))).await {
        Ok(message) => match call.decide(message) {
            Progress::Answered(answer) => answer,
            Progress::Undecided(undecided) => undecided.settle().await,
        },
        Err(_) => call.too_late("the message did not arrive in time"),
    }
}

/// Answers when the answer is there. A caller that resets its stream ends the call.
async fn unless_reset(answer: impl Future<Output = Answer>, mut respond: SendResponse<Bytes>) {
    let answer = tokio::select! {
        biased;
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
        answer = answer => answer,
    };
    send(answer, &mut respond);
}

/// Hands an answer to `h2`, which keeps it until the peer's window has room. How many are kept is bounded by the streams
/// that may be open, how large each is by what the gate says.
fn send(answer: Answer, respond: &mut SendResponse<Bytes>) {
    let sent = match answer {
        Answer::Message(message) => respond.send_response(grpc::head(), false).and_then(|mut stream| {
            stream.send_data(message, false)?;
            stream.send_trailers(grpc::trailers())
        }),
        Answer::Error(error) => return end(grpc::error(error), respond),
    };
    note(sent);
}

/// Sends a response that has no body.
fn end(response: Response<()>, respond: &mut SendResponse<Bytes>) {
    note(respond.send_response(response, true).map(drop));
}

pub(super) fn note(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer had nobody to go to");
    }
}

/// Watches over a connection once HTTP/2 has begun: it is pinged now and then, and let go if it does not answer.
struct Vigil {
    pings: PingPong,
    interval: Duration,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Vigil {
    fn begin(pings: PingPong, limits: &Limits) -> Self {
        Self {
            pings,
            interval: limits.ping_interval,
            patience: limits.ping_timeout,
            timer: Box::pin(tokio::time::sleep(limits.ping_interval)),
            asked: false,
        }
    }

    /// Ready if the peer is gone. Errors are left to the connection, which has them too.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked && self.pings.poll_pong(context).is_ready() {
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            ready!(self.timer.as_mut().poll(context));
            if self.asked {
                return Poll::Ready(());
            }
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.asked = true;
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
    }
}

#[cfg(test)]
mod tests;
