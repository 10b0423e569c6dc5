//! `--allow`: confirms gated changes by kind.

use clap::Args;
use clap::builder::PossibleValuesParser;
use tenancy_core::rules::gates::ALLOWED_BY_NAME;

/// The `--allow` option of commands that write manifests.
#[derive(Args, Debug, Clone)]
pub struct Allow {
    /// Confirm a kind of change that can destroy data or looks like a mistake; can be repeated
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(ALLOWED_BY_NAME))]
    pub allow: Vec<String>,
}
