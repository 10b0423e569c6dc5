//! Records whether the body of a request was read to its end.

use axum::body::Body;
use axum::http::Request;
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// A body that records whether it was read to its end.
pub struct Watched {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl Watched {
    /// Watches the body of a request. Also returns what tells whether the body was read to its end.
    pub fn over(request: Request<Incoming>) -> (Request<Body>, impl Fn() -> bool + Send) {
        let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let watched = request.map(|body| Body::new(Self { body, is_read: Arc::clone(&is_read) }));
        (watched, move || is_read.load(Ordering::Relaxed))
    }
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
