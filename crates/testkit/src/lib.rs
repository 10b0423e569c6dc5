//! Equipment for tests and benches: a real PostgreSQL, and faults for it.
//!
//! - [`Postgres`] is a private temporary cluster on 127.0.0.1. It is removed when the value is dropped, and also when
//!   the process that started it is killed.
//! - [`Proxy`] is between a client and a PostgreSQL port and cuts, delays, refuses or freezes at a chosen protocol
//!   message.
//! - [`PgBouncer`] pools transactions in front of a cluster, as production installations do.
//! - [`Nginx`] is a gateway with a given configuration.
//! - [`AccessFeed`] is a control plane that has only the feed of access answers, for tests of what follows it.
//!
//! Nothing here returns an error: a test without its database has failed, and the panic says what to install. All calls
//! that are not `async` block the thread; they work inside and outside of a tokio runtime.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test equipment: an error here is a failure of the test that uses it"
)]

mod access_feed;
mod account;
mod binaries;
mod chance;
mod database;
mod guard;
mod nginx;
mod pgbouncer;
mod port;
mod postgres;
mod proxy;
mod settings;
mod signal;
mod template;

pub use access_feed::AccessFeed;
pub use chance::Chance;
pub use database::Database;
pub use nginx::Nginx;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::{Armed, Fault, Message, Proxy};
pub use settings::Settings;
pub use signal::{Signal, signal};
