//! `--allow`: the gated changes that are wanted, by name.

use clap::Args;
use clap::builder::PossibleValuesParser;

/// Every kind of change that must be allowed by name.
const KINDS: [&str; 6] =
    ["less-retention", "move-isolation", "move-profile", "move-region", "protection-off", "remove-environment"];

/// The option of every command that writes manifests.
#[derive(Args, Debug, Clone)]
pub struct Allow {
    /// A kind of change that may destroy data and is wanted; may be given several times
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(KINDS))]
    pub allow: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::KINDS;

    #[test]
    fn must_know_every_kind_that_the_rules_ask_for() {
        let rules = include_str!("../../core/src/rules/gates.rs");
        let asked = rules.split("gate(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut asked: Vec<_> = asked.collect();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked, KINDS);
    }
}
