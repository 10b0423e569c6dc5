//! Webhooks: what is sent to the endpoints of tenants, organizations and the platform.
//!
//! The dispatcher turns events of the log into deliveries; the deliverer sends them and records what became of them. See
//! ADR 0039.

pub(crate) mod attempts;
mod consequences;
pub mod deliverer;
pub mod dispatcher;
mod matching;
pub(crate) mod places;
mod recorder;
mod rendering;
pub mod replay;
pub mod retention;
pub mod sending;
pub mod transport;
mod visit;
