//! The service of a connection: what a request must be before the router sees it, and what is known of its sender.

use super::gate::without_route;
use super::head;
use super::peer::Peer;
use super::server::Server;
use super::unread::Watched;
use crate::connections::connection::Connection;
use crate::network::Network;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

/// Answers the requests of one connection.
///
/// If a request is refused before its body was read, hyper closes the connection after the answer. RFC 9112 (section
/// 9.6) requires `Connection: close`, without which a client would reuse a closed connection.
pub struct ConnectionService {
    server: Arc<Server>,
    router: TowerToHyperService<Router>,
    connection: Arc<Connection>,
    socket: IpAddr,
    trusted_proxies: Arc<[Network]>,
}

type Answered<F> = Either<F, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

impl ConnectionService {
    /// Answers like the router, on a connection from the address `socket`.
    pub fn new(
        server: Arc<Server>,
        router: Router,
        connection: Arc<Connection>,
        socket: IpAddr,
        trusted_proxies: Arc<[Network]>,
    ) -> Self {
        Self { server, router: TowerToHyperService::new(router), connection, socket, trusted_proxies }
    }

    /// Says that the connection ends after this response, because the body of the request is unread.
    fn ends(connection: &Connection, response: &mut Response<Body>) {
        connection.leave_body_unread();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered<<TowerToHyperService<Router> as Service<Request<Body>>>::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = Peer::of(self.socket, request.headers(), &self.trusted_proxies);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&self.connection));
        let is_empty = request.body().is_end_stream();
        if let Err(problem) = head::check(&request) {
            let mut response = without_route(&self.server, &request.map(Body::new), problem);
            if !is_empty {
                Self::ends(&self.connection, &mut response);
            }
            return Either::Right(ready(Ok(response)).boxed());
        }
        let goes_last = self.connection.goes_last();
        if is_empty && !goes_last && !self.connection.is_blocked() {
            return Either::Left(self.router.call(request.map(Body::new)));
        }
        let (connection, router) = (Arc::clone(&self.connection), self.router.clone());
        let answer = async move {
            // A client that sends requests and does not read the answers gets no further answers prepared.
            connection.unblocked().await;
            if goes_last {
                tokio::task::yield_now().await;
            }
            let (request, is_read) = Watched::over(request);
            let mut response = router.call(request).await?;
            if !is_read() {
                Self::ends(&connection, &mut response);
            }
            Ok(response)
        };
        Either::Right(answer.boxed())
    }
}
