//! HTTP: the machinery; the handlers are in [`routes`].

pub mod auth;
pub mod body;
pub mod caller;
pub mod connection_service;
pub mod correlation;
pub mod event_stream;
pub mod following;
pub mod gate;
pub mod head;
pub mod key_traffic;
pub mod openapi;
pub mod path;
pub mod peer;
pub mod problem;
pub mod query;
pub mod rate;
pub mod representation;
pub mod respond;
pub mod response_cache;
pub mod route;
pub mod router;
pub mod routes;
pub mod server;
pub mod unread;
pub mod write;
