//! Binding and accepting.
//!
//! - A TCP address that is taken is an error, also if it is another Scopegate that has it: connections are handed to
//!   threads by us, so that no two sockets need to share a port.
//! - A unix socket's file is left over by a process that was killed: if nobody answers there, it is removed. A file that is
//!   no socket, or a socket that answers, is left alone and is an error.
//! - Running out of file descriptors stops accepting for a moment, not the process (attack E08).
//! - More connections than the cap are closed as they come: whoever made them learns so at once.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::net::settings::ListenAddress;

/// How many connections may wait for being accepted.
const BACKLOG: u32 = 1024;

/// Owner and group may connect: Envoy usually runs as another user of one group.
const SOCKET_MODE: u32 = 0o660;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddress,
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {reason}")]
pub struct BindError {
    address: ListenAddress,
    reason: String,
}

impl Listener {
    /// Binds the address. Port 0 takes a free port: [`Listener::address`] says which.
    ///
    /// # Errors
    /// [`BindError`] names the address and what is in the way.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(socket_address) => bind_tcp(*socket_address),
            ListenAddress::Unix(path) => bind_unix(path),
        };
        bound.map_err(|error| BindError {
            address: address.clone(),
            reason: match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another process listens there; end it, or choose another address".to_owned()
                }
                io::ErrorKind::PermissionDenied => format!("{error}; ports below 1024 need CAP_NET_BIND_SERVICE"),
                _ => error.to_string(),
            },
        })
    }

    /// Where it listens: the port that was taken, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is one small write: waiting for more to send would only delay it.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Socket::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    /// Accepts until `stop` is cancelled, and hands each connection on. Errors of the operating system are waited out.
    pub async fn accept_each(&self, connections_max: usize, stop: &CancellationToken, mut take: impl FnMut(Accepted)) {
        let seats = Arc::new(Semaphore::new(connections_max));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(stream) => match seats.clone().try_acquire_owned() {
                    Ok(seat) => take(Accepted { stream, seat }),
                    Err(_) => {
                        tracing::warn!(listener.address = %self.address, connections_max, "closed a connection: there are too many");
                    }
                },
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::error!(listener.address = %self.address, %error, "cannot accept connections just now");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

/// How long to wait when descriptors or memory have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Errors that tell of one connection that is gone already, not of the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Listener> {
    use socket2::{Domain, Protocol, Socket as RawSocket, Type};
    let raw = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a restart need not wait for old connections to be forgotten. It does not share a port.
    raw.set_reuse_address(true)?;
    raw.set_nonblocking(true)?;
    raw.bind(&address.into())?;
    raw.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    let listener = TcpListener::from_std(raw.into())?;
    let address = ListenAddress::Tcp(listener.local_addr()?);
    Ok(Listener {
        socket: Socket::Tcp(listener),
        address,
        _file: None,
    })
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    clear_stale(path)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: std::fs::metadata(path)?.ino(),
    };
    Ok(Listener {
        socket: Socket::Unix(listener),
        address: ListenAddress::Unix(path.to_owned()),
        _file: Some(file),
    })
}

/// Removes a socket file at which nobody answers any more.
fn clear_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file in the way that is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The file of a unix socket, removed with its listener, unless somebody else has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A connection that was accepted, and its place among those that may be open.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// To be kept until the connection is closed.
    pub seat: OwnedSemaphorePermit,
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// A connection between two runtimes: bound to neither.
#[derive(Debug)]
pub enum Handoff {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Takes the connection off this thread's runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn hand_off(self) -> io::Result<Handoff> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Handoff::Tcp),
            Self::Unix(stream) => stream.into_std().map(Handoff::Unix),
        }
    }
}

impl Handoff {
    /// Puts the connection on this thread's runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn resume(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(context, buffer))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16) -> ListenAddress {
        ListenAddress::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[tokio::test]
    async fn port_zero_takes_a_free_port_and_a_taken_one_is_a_clear_error() {
        let first = Listener::bind(&tcp(0)).expect("binds");
        let ListenAddress::Tcp(address) = first.address() else {
            panic!("is TCP")
        };
        assert_ne!(address.port(), 0);
        let error = Listener::bind(first.address()).expect_err("is taken").to_string();
        assert!(
            error.contains(&format!("`{address}`")) && error.contains("another process"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let address = ListenAddress::Unix(folder.path().join("run/authz.sock"));
        let ListenAddress::Unix(path) = &address else { return };
        let living = Listener::bind(&address).expect("binds, and makes the folder");
        assert_eq!(
            std::fs::metadata(path).expect("exists").permissions().mode() & 0o777,
            SOCKET_MODE
        );
        assert!(
            Listener::bind(&address)
                .expect_err("lives")
                .to_string()
                .contains("another process")
        );
        drop(living);
        assert!(!path.exists(), "is removed with its listener");
        // What a killed process leaves behind: the file without the listener.
        drop(std::os::unix::net::UnixListener::bind(path).expect("binds"));
        assert!(path.exists());
        drop(Listener::bind(&address).expect("replaces the left-over"));
        std::fs::write(path, "mine").expect("writes");
        assert!(Listener::bind(&address).is_err());
        assert_eq!(std::fs::read(path).expect("reads"), b"mine");
    }

    #[tokio::test]
    async fn connections_over_the_cap_are_closed_at_once_and_a_seat_becomes_free_again() {
        use tokio::io::AsyncReadExt as _;
        let listener = Listener::bind(&tcp(0)).expect("binds");
        let ListenAddress::Tcp(address) = *listener.address() else {
            panic!("is TCP")
        };
        let stop = CancellationToken::new();
        let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let accepting = tokio::spawn({
            let stop = stop.clone();
            async move {
                listener
                    .accept_each(1, &stop, |accepted| drop(sender.send(accepted)))
                    .await;
            }
        });
        let _first = TcpStream::connect(address).await.expect("connects");
        let seat = accepted.recv().await.expect("accepted");
        let mut second = TcpStream::connect(address).await.expect("connects");
        assert_eq!(second.read(&mut [0]).await.ok(), Some(0), "closed");
        drop(seat);
        let _third = TcpStream::connect(address).await.expect("connects");
        assert!(accepted.recv().await.is_some());
        stop.cancel();
        accepting.await.expect("ends");
    }
}
