//! The domain of Tenancy: types, rules and decisions.
//!
//! The crate is pure: no I/O, no async, no clock, no randomness, no SQL. A rule takes loaded rows and a command, and
//! returns [`changes::Changes`]: the rows to write, the guards they depend on, and an audit event for each thing that
//! happened. Time, ids and actor come from a [`decision_context::DecisionContext`].

pub mod access;
pub mod action;
pub mod actor;
pub mod apikey;
pub mod authority;
pub mod changes;
pub mod decision_context;
pub mod declared;
pub mod delivery;
pub mod document;
pub mod environment;
pub mod error;
pub mod event;
pub mod gated_change;
pub mod hold;
pub mod ids;
pub mod job;
pub mod json;
pub mod judge;
pub mod lane;
pub mod lifecycle;
pub mod log_fault;
pub mod manifest;
pub mod nearest;
pub mod normal_form;
pub mod organization;
pub mod permission;
pub mod placement;
pub mod quotas;
pub mod rules;
pub mod scope;
pub mod snapshot;
pub mod tenant;
pub mod time;
pub mod violation;
pub mod visible;
pub mod webhook;
mod words;

pub use error::Error;
pub use jiff::Timestamp;
pub use violation::Violation;
