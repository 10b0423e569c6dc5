//! `tenancy`: the only executable. It is the server, the job runner, the migration tool and the client.

mod allow;
mod applied;
mod arguments;
mod change;
mod client;
mod command;
mod contexts;
mod documents;
mod environment;
mod events;
mod exit;
mod failure;
mod hosting;
mod kinds;
mod listing;
mod naming;
mod output;
mod private_file;
mod program;
mod progress;
mod reach;
mod selector;
mod sending;
mod standing;
mod stream;
mod suggest;
mod table;
mod terminal;
mod time;
mod trust;
mod waiting;
mod wire;
mod yaml;

use crate::arguments::Arguments;
use crate::failure::Failure;
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Must run before any TLS connection: without an installed provider, rustls picks one by compiled features.
    let provider_is_set = rustls::crypto::aws_lc_rs::default_provider().install_default().is_ok();
    let arguments = Arguments::parse();
    // One thread is enough for the client. A server starts its own threads.
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) if provider_is_set => runtime.block_on(arguments.run()),
        Ok(_) => Err(Failure::refused("the TLS provider is already installed")),
        Err(error) => Err(Failure::refused(format!("the program cannot start: {error}"))),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            // A failed write to standard error cannot be reported anywhere.
            let _ = std::io::stderr().write_all(failure.render(terminal::error_colours()).as_bytes());
        }
        failure.exit
    });
    exit.into()
}
