//! A receiver of webhooks: a real server that answers what the test tells it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A request that a receiver got.
#[derive(Debug, Clone)]
pub struct Got {
    pub headers: HeaderMap,
    pub body: Value,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    /// Answers to the next requests, then 204.
    answers: Mutex<VecDeque<(u16, &'static str)>>,
}

/// A running receiver.
pub struct Receiver {
    pub url: String,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let inner = Arc::new(Inner::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { url, inner, task }
    }

    /// Answers the next requests with these statuses, each with a `Retry-After` if it is not empty.
    pub fn answer(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        self.inner.answers.lock().expect("not poisoned").extend(answers);
    }

    /// Takes the requests since the last call.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut *self.inner.got.lock().expect("not poisoned"))
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    assert_eq!(method, Method::POST);
    let body = serde_json::from_slice(&body).expect("JSON");
    inner.got.lock().expect("not poisoned").push(Got { headers, body });
    let (status, retry_after) = inner.answers.lock().expect("not poisoned").pop_front().unwrap_or((204, ""));
    let mut headers = HeaderMap::new();
    if !retry_after.is_empty() {
        headers.insert("retry-after", retry_after.parse().expect("a header"));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    (status, headers, if status == StatusCode::NO_CONTENT { "" } else { "said by the receiver" })
}
