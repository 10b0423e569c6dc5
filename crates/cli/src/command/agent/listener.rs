//! Where the agent listens, and how it serves connections.

use super::answers::Answers;
use crate::failure::Failure;
use crate::hosting;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tenancy_server::connections::open_files::room_for;
use tenancy_server::connections::tls::Certificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Maximum number of open connections. Further ones wait.
const MAX_CONNECTIONS: usize = 4096;
/// Maximum time for the head of a request, and for a TLS handshake.
const HEAD: Duration = Duration::from_secs(10);
/// Maximum size of the head of a request, in bytes. Gateways pass the headers of their clients on.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Maximum time that open connections get when the agent stops.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, for example because no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(50);

/// Address of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("names no path behind unix:".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| "must be ADDR:PORT or unix:PATH".to_owned()),
        }
    }
}

impl Address {
    /// Whether only processes of this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// An open socket.
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Socket {
    /// Listens. `mode`: of a Unix socket; who may write to it may connect.
    ///
    /// # Errors
    /// Fails if the address is in use or cannot be used.
    pub async fn open(address: &Address, mode: u32) -> Result<Self, Failure> {
        match address {
            Address::Tcp(address) => Ok(Self::Tcp(hosting::listen(*address).await?)),
            Address::Unix(path) => {
                let failed =
                    |error: io::Error| Failure::refused(format!("cannot listen on {}: {error}", path.display()));
                remove_unused(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    /// Returns the address for people and programs: a URL, or `unix:PATH`.
    ///
    /// # Errors
    /// Fails if the system does not tell the address.
    pub fn shown(&self, is_tls: bool) -> io::Result<String> {
        let scheme = if is_tls { "https" } else { "http" };
        match self {
            Self::Tcp(listener) => Ok(format!("{scheme}://{}", listener.local_addr()?)),
            Self::Unix(_, path) => Ok(format!("unix:{}", path.display())),
        }
    }

    /// Serves until `stop` is cancelled, then waits for open connections.
    pub async fn serve(
        self,
        answers: Arc<Answers>,
        tls: Option<Arc<Certificate>>,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let acceptor = tls.as_ref().map(Certificate::acceptor).transpose().map_err(Failure::refused)?;
        if let Some(certificate) = tls {
            tokio::spawn(certificate.follow(stop.clone()));
        }
        let (open, seats) = (GracefulShutdown::new(), Arc::new(Semaphore::new(room_for(MAX_CONNECTIONS))));
        loop {
            let next = async {
                // The semaphore is never closed.
                let seat = Arc::clone(&seats).acquire_owned().await.ok();
                (self.accept().await, seat)
            };
            let Some((accepted, seat)) = stop.run_until_cancelled(next).await else { break };
            let (answers, watcher) = (Arc::clone(&answers), open.watcher());
            match (accepted, &acceptor) {
                (Ok(Accepted::Tcp(stream)), None) => {
                    drop(tokio::spawn(watcher.watch(connection(stream, answers, seat))))
                }
                (Ok(Accepted::Unix(stream)), _) => drop(tokio::spawn(watcher.watch(connection(stream, answers, seat)))),
                (Ok(Accepted::Tcp(stream)), Some(acceptor)) => {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        if let Ok(Ok(stream)) = tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
                            // An error concerns only this connection.
                            let _ = watcher.watch(connection(stream, answers, seat)).await;
                        }
                    });
                }
                (Err(error), _) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if let Self::Unix(_, path) = &self {
            // Another agent may have removed it already.
            let _ = std::fs::remove_file(path);
        }
        drop(self);
        if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
            tracing::warn!("closes connections that were still open after {} seconds", DRAIN.as_secs());
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and written at once.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(UnixStream),
}

/// Removes a socket that no process listens on, such as after a kill.
async fn remove_unused(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::FileTypeExt;
    let shown = path.display();
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Failure::refused(format!("{shown} exists and is not a socket")).and("name another path"));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(Failure::refused(format!("{shown} is in use by another process")).and("name another path"));
    }
    std::fs::remove_file(path).map_err(|error| Failure::refused(format!("cannot remove {shown}: {error}")))
}

/// Builds the connection on a stream. The seat is free again when the connection ends.
fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    answers: Arc<Answers>,
    seat: Option<OwnedSemaphorePermit>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    let service = service_fn(move |request| {
        let _ = &seat;
        ready(Ok::<_, Infallible>(answers.answer(&request)))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_tell_local_addresses_from_others() {
        let address = |text: &str| text.parse::<Address>();
        for local in ["127.0.0.1:7301", "[::1]:0", "[::ffff:127.0.0.1]:7301", "unix:/run/tenancy/agent.sock"] {
            assert!(address(local).expect(local).is_local(), "{local}");
        }
        for other in ["0.0.0.0:7301", "[::]:7301", "10.0.0.1:80"] {
            assert!(!address(other).expect(other).is_local(), "{other}");
        }
        for wrong in ["unix:", "localhost:7301", "7301", "/run/agent.sock"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn must_replace_a_socket_that_nobody_uses_and_nothing_else() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("agent.sock");
        let address = Address::Unix(path.clone());
        let mode = || std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        let first = Socket::open(&address, 0o660).await.expect("free");
        assert_eq!(mode(), 0o660);
        let refused = Socket::open(&address, 0o660).await.err().expect("in use").message;
        assert!(refused.ends_with("is in use by another process"), "{refused}");
        drop(first);
        Socket::open(&address, 0o600).await.expect("nobody listens");
        assert_eq!(mode(), 0o600);
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "notes").expect("written");
        assert!(Socket::open(&address, 0o660).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), "notes");
    }
}
