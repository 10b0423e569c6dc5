//! `completions`: prints completion scripts for shells.

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::write_data;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  tenancy completions bash > ~/.local/share/bash-completion/completions/tenancy
  tenancy completions zsh > ~/.zfunc/_tenancy
  tenancy completions fish > ~/.config/fish/completions/tenancy.fish";

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn run(given: Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(given.shell, &mut Arguments::command(), "tenancy", &mut script);
    script.extend_from_slice(super::complete::script(given.shell).as_bytes());
    write_data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
