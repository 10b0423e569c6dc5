//! Tests of the real router with the real store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod apply;
mod background;
mod clock;
mod connections;
mod contention;
mod declarations;
mod environments;
mod event_processes;
mod event_reader;
mod events;
mod every_route;
mod expiry;
mod forms;
mod house;
mod idempotency;
mod job_queue;
mod jobs;
mod key_limits;
mod keys;
mod life;
mod methods;
mod organization_holds;
mod paging;
mod preconditions;
mod protections;
mod refusals;
mod refused_calls;
mod regions;
mod representations;
mod runner;
mod scopes;
mod serving;
mod tenants;
mod tls;
mod webhooks;
