//! The real program: a `dev` server, and commands from a second shell.

mod alone;
mod manifests;
mod second_shell;
mod shell;
mod start;
