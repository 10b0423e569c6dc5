//! The places where the data of environments lives: looks at them, makes, opens, closes and removes them.
//!
//! This crate never touches the record. It is asked, acts, and answers what it did; the server commits the answer. It is the
//! only crate besides `store` that speaks to databases.

mod connection;
mod fault;
mod on_demand;
pub mod postgres;
mod provisioner;
mod random;
pub mod sqlite;

pub use connection::{Connection, Password, PostgresLogin};
pub use fault::Fault;
pub use on_demand::OnDemand;
pub use provisioner::{Found, Provisioner, Recorded, Wanted};
