//! Environments in PostgreSQL, on a real server, with an administrator who is no superuser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod crashes;
mod databases;
mod isolation;
mod life;
mod logins;
mod prepared;
mod schemas;
mod world;
