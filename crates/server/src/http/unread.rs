//! Unread request bodies: the connection is closed after the answer, and the answer says so.

use super::peer::Peer;
use crate::network::Network;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// Router that adds `Connection: close`. If a request is refused before its body was read, hyper closes the connection
/// after the answer. RFC 9112 (section 9.6) requires the header, without which a client would reuse a closed
/// connection.
///
/// It also adds the [`Peer`] to each request.
pub struct SaysWhatIsUnread {
    router: TowerToHyperService<Router>,
    socket: IpAddr,
    trusted_proxies: Arc<[Network]>,
}

impl SaysWhatIsUnread {
    /// Answers like the router, on a connection from the address `socket`.
    pub fn new(router: Router, socket: IpAddr, trusted_proxies: Arc<[Network]>) -> Self {
        Self { router: TowerToHyperService::new(router), socket, trusted_proxies }
    }
}

type Answered<F> = Either<F, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

impl Service<Request<Incoming>> for SaysWhatIsUnread {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered<<TowerToHyperService<Router> as Service<Request<Body>>>::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = Peer::of(self.socket, request.headers(), &self.trusted_proxies);
        request.extensions_mut().insert(peer);
        if request.body().is_end_stream() {
            return Either::Left(self.router.call(request.map(Body::new)));
        }
        let is_read = Arc::new(AtomicBool::new(false));
        let watched = |body| Body::new(Watched { body, is_read: Arc::clone(&is_read) });
        let answered = self.router.call(request.map(watched));
        let answer = async move {
            let mut response = answered.await?;
            if !is_read.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        };
        Either::Right(answer.boxed())
    }
}

/// A body that records whether it was read to its end.
struct Watched {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
