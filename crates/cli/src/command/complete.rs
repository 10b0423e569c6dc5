//! `__complete`: prints the names that can follow on a command line. The completion scripts call it.

use crate::client::Client;
use crate::contexts::Contexts;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ORGANIZATIONS, TENANTS};
use crate::listing::List;
use crate::output::Kind;
use crate::reach::Reach;
use crate::terminal::say;
use clap::Args;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tenancy_core::declared::Declared;

/// Maximum number of names.
const MAX_NAMES: usize = 100;

/// Maximum time for the answer of the server: a person waits at the prompt.
const MAX_WAIT: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  tenancy __complete -- acm describe tenant";

/// Arguments of `__complete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Complete {
    /// Word to complete; can be empty
    #[arg(allow_hyphen_values = true)]
    current: String,
    /// Words before it
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// What can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Tenants,
    Organizations,
    Contexts,
    Holds,
}

/// Runs the command.
///
/// # Errors
/// Fails if the names cannot be read.
pub async fn run(given: Complete) -> Result<Exit, Failure> {
    let words: Vec<_> = given.words.iter().map(String::as_str).collect();
    let names = match following(&words) {
        None => Vec::new(),
        // The kinds that a server has without configuration: the client does not know others.
        Some(Names::Holds) => Declared::default().holds.into_keys().collect(),
        Some(Names::Contexts) => Contexts::load(&Contexts::path()?)?.contexts.into_keys().collect(),
        Some(names) => {
            let context = words.windows(2).find(|pair| pair[0] == "--context").map(|pair| pair[1].to_owned());
            let client = Client::new(Reach::of_context(context).find()?)?;
            let listed = async {
                match names {
                    Names::Organizations => listed(&client, &ORGANIZATIONS, &given.current).await,
                    _ => listed(&client, &TENANTS, &given.current).await,
                }
            };
            tokio::time::timeout(MAX_WAIT, listed).await.unwrap_or_else(|_| Ok(Vec::new()))?
        }
    };
    names.iter().filter(|name| name.starts_with(&given.current)).try_for_each(|name| say(name))?;
    Ok(Exit::Done)
}

async fn listed<T: DeserializeOwned>(client: &Client, kind: &Kind<T>, prefix: &str) -> Result<Vec<String>, Failure> {
    let prefix = (!prefix.is_empty()).then_some(prefix);
    let rows = List::of(&[kind.plural]).filter("q", prefix).at_most(Some(MAX_NAMES)).all::<T>(client).await?;
    Ok(rows.iter().map(|row| (kind.name)(&row.value)).collect())
}

/// Options without a value.
const FLAGS: &[&str] = &["-y", "--yes", "--no-wait", "--early", "--purged", "--follow", "--portable", "--organization"];

/// Returns what can follow the words of a command line.
fn following(words: &[&str]) -> Option<Names> {
    // With these verbs, --organization says what the name is.
    let is_hold = words.iter().any(|word| matches!(*word, "suspend" | "activate"));
    let mut places = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let is_flag = FLAGS.contains(word) && (is_hold || *word != "--organization");
        match *word {
            option if !option.starts_with('-') => places.push(option),
            option if is_flag || option.contains('=') => {}
            // The value of the option. Without one, the value is what follows.
            option if rest.next().is_none() => {
                return match option {
                    "--hold" => Some(Names::Holds),
                    "--context" => Some(Names::Contexts),
                    "--organization" => Some(Names::Organizations),
                    "--tenant" => Some(Names::Tenants),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    match places.as_slice() {
        ["context", "use" | "remove"] => Some(Names::Contexts),
        ["describe" | "get" | "set" | "delete", "organization" | "organizations" | "org"] => Some(Names::Organizations),
        ["suspend" | "activate"] if words.contains(&"--organization") => Some(Names::Organizations),
        ["describe", "tenant"] | ["job", "cancel"] | ["export", ..] => Some(Names::Tenants),
        ["get", "tenants" | "tenant" | "environments" | "jobs" | "versions" | "webhooks"] => Some(Names::Tenants),
        [
            "suspend" | "activate" | "delete" | "undelete" | "purge" | "edit" | "set" | "wait" | "logs" | "rollback"
            | "diff",
        ] => Some(Names::Tenants),
        _ => None,
    }
}

/// Returns what is added to the generated script of a shell, so that it asks this command, too.
pub fn script(shell: clap_complete::Shell) -> &'static str {
    match shell {
        clap_complete::Shell::Bash => BASH,
        clap_complete::Shell::Zsh => ZSH,
        clap_complete::Shell::Fish => FISH,
        _ => "",
    }
}

const BASH: &str = r#"
_tenancy_names() {
    _tenancy "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}"
    [[ "$cur" == -* ]] && return 0
    local name
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <("${COMP_WORDS[0]}" __complete -- "$cur" "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)
    return 0
}
complete -F _tenancy_names -o nosort -o bashdefault -o default tenancy
"#;

const ZSH: &str = r#"
_tenancy_names() {
    _tenancy "$@"
    local -a names
    names=("${(@f)$("${words[1]}" __complete -- "${words[CURRENT]}" "${(@)words[2,CURRENT-1]}" 2>/dev/null)}")
    compadd -a names
}
compdef _tenancy_names tenancy
"#;

const FISH: &str = r#"
complete -c tenancy -f -a '(set -l words (commandline -opc); $words[1] __complete -- (commandline -ct) $words[2..-1] 2>/dev/null)'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_find_what_can_follow() {
        for (line, names) in [
            ("describe tenant", Some(Names::Tenants)),
            ("--context prod describe tenant", Some(Names::Tenants)),
            ("describe tenant acme-eu", None),
            ("suspend", Some(Names::Tenants)),
            ("suspend --organization", Some(Names::Organizations)),
            ("suspend acme-eu --hold", Some(Names::Holds)),
            ("suspend --reason x", Some(Names::Tenants)),
            ("delete --yes", Some(Names::Tenants)),
            ("set organization", Some(Names::Organizations)),
            ("audit --tenant", Some(Names::Tenants)),
            ("get tenants --organization", Some(Names::Organizations)),
            ("get tenants --context", Some(Names::Contexts)),
            ("context use", Some(Names::Contexts)),
            ("apply -f", None),
            ("", None),
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(following(&words), names, "{line}");
        }
    }
}
