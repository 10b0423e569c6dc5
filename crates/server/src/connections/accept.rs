//! Accepts connections and serves them.

use super::connection::Connection;
use super::open_files::room_for;
use super::response_budget::ResponseBudget;
use super::seats::Seats;
use super::stream::BoundedStream;
use crate::config::Limits;
use crate::http::connection_service::ConnectionService;
use crate::http::server::Server;
use crate::network::Network;
use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A listener with what serves its connections.
pub struct Front {
    server: Arc<Server>,
    router: Router,
    trusted_proxies: Arc<[Network]>,
    tls: Option<TlsAcceptor>,
    seats: Arc<Seats>,
    budget: Arc<ResponseBudget>,
}

/// Answer to a connection that gets no seat, as far as the client reads it.
const NO_SEAT: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 133\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"busy\",\
    \"detail\":\"Too many connections are open. Try again.\"}\n";

/// Minimum size of a connection's buffer. hyper requires at least 8 KiB, and reads bodies through the buffer.
const LEAST_BUFFER_BYTES: usize = 64 * 1024;

/// Number of connections without a key that are closed at once if no file descriptors are left.
const FREED_AT_ONCE: usize = 32;

impl Front {
    /// Creates what serves the connections of one listener.
    pub fn new(
        server: Arc<Server>,
        router: Router,
        trusted_proxies: Arc<[Network]>,
        tls: Option<TlsAcceptor>,
    ) -> Arc<Self> {
        let limits = &server.limits;
        let (most, of) = (room_for(limits.max_connections), &limits.connections);
        let seats = Seats::new(most, of.max_without_key, of.max_per_peer, Arc::clone(&server.metrics));
        let budget = ResponseBudget::new(of.max_response_bytes_in_flight);
        Arc::new(Self { server, router, trusted_proxies, tls, seats, budget })
    }

    /// Accepts connections until the server stops, then waits for open connections, up to the limit.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let (open, stop) = (GracefulShutdown::new(), self.server.stop.clone());
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, from)) => self.admit(stream, from.ip(), open.watcher()),
                Err(error) => {
                    // For example, no file descriptors are left, or the connection was closed while it waited. Others
                    // may still succeed.
                    tracing::warn!(%error, "could not accept a connection");
                    let is_of_peer =
                        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
                    let is_freed = !is_of_peer && self.seats.free_some(FREED_AT_ONCE);
                    tokio::time::sleep(Duration::from_millis(if is_freed { 5 } else { 50 })).await;
                }
            }
        }
        drop(listener);
        let seconds = self.server.limits.drain_timeout_seconds;
        if tokio::time::timeout(Duration::from_secs(seconds), open.shutdown()).await.is_err() {
            tracing::warn!("shutdown closes connections that were still open after {seconds} seconds");
        }
    }

    /// Gives a connection a seat and serves it, or refuses it at once: a client that is refused can try another
    /// process, and a client that waits cannot.
    fn admit(self: &Arc<Self>, stream: TcpStream, socket: IpAddr, watcher: Watcher) {
        let is_proxy = self.trusted_proxies.iter().any(|proxy| proxy.contains(socket));
        let Ok(seat) = self.seats.take(socket, is_proxy) else {
            if self.tls.is_none() {
                // The buffer of a new socket has room.
                let _ = stream.try_write(NO_SEAT.as_bytes());
            }
            return;
        };
        // Answers are small and written at once, so that Nagle's algorithm would only add latency.
        let _ = stream.set_nodelay(true);
        let closer = seat.closer().clone();
        let connection = Arc::new(Connection::new(seat, Arc::clone(&self.budget)));
        let stream = BoundedStream::new(stream, Arc::clone(&connection), self.server.limits.connections.clone());
        let (server, router) = (Arc::clone(&self.server), self.router.clone());
        let service = ConnectionService::new(server, router, connection, socket, Arc::clone(&self.trusted_proxies));
        let task = match &self.tls {
            None => tokio::spawn(serve_on(stream, service, self.server.limits.clone(), watcher)),
            Some(tls) => tokio::spawn(serve_tls(tls.clone(), stream, service, Arc::clone(&self.server), watcher)),
        };
        closer.of(task.abort_handle());
    }
}

async fn serve_tls(
    tls: TlsAcceptor,
    stream: BoundedStream<TcpStream>,
    service: ConnectionService,
    server: Arc<Server>,
    watcher: Watcher,
) {
    let time = Duration::from_secs(server.limits.header_read_timeout_seconds);
    let handshake = tokio::time::timeout(time, tls.accept(stream));
    // A client that does not complete the handshake, or does not trust the certificate, has no request to answer.
    if let Some(Ok(Ok(stream))) = server.stop.run_until_cancelled(handshake).await {
        serve_on(stream, service, server.limits.clone(), watcher).await;
    }
}

async fn serve_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: ConnectionService,
    limits: Limits,
    watcher: Watcher,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_read_timeout_seconds))
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes.max(LEAST_BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service);
    // An error concerns only this connection, for example a client that disconnects.
    let _ = watcher.watch(connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_refuse_with_a_complete_response() {
        let (head, body) = NO_SEAT.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let problem: serde_json::Value = serde_json::from_str(body).expect("json");
        assert_eq!(problem["status"], 503);
    }
}
