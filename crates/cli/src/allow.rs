//! `--allow`: the gated changes that are wanted, by name.

use clap::Args;
use clap::builder::PossibleValuesParser;
use tenancy_core::rules::gates::ALLOWED_BY_NAME;

/// The option of every command that writes manifests.
#[derive(Args, Debug, Clone)]
pub struct Allow {
    /// A kind of change that may destroy data and is wanted; may be given several times
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(ALLOWED_BY_NAME))]
    pub allow: Vec<String>,
}
