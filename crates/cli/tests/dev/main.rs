//! The real program: a `dev` server, and commands from a second shell.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on shall stop")]

mod alone;
mod connect;
mod daily;
mod keys;
mod listen;
mod manifests;
mod second_shell;
mod shell;
mod start;
mod watching;
mod webhooks;
