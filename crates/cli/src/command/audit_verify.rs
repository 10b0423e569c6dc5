//! `audit verify`: verifies the audit log against its seals.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::terminal::{say, write_data};
use crate::wire::LogVerification;
use crate::yaml;
use reqwest::Method;

/// Verifies the log part by part, until its end or the first fault.
///
/// # Errors
/// Fails if a request fails, or with the first fault.
pub async fn run(client: &Client, format: Format) -> Result<Exit, Failure> {
    let mut all: Option<LogVerification> = None;
    loop {
        let after = all.as_ref().and_then(|all| all.next.clone());
        let request = client.v1(Method::GET, &["audit", "verification"]).query_if("after", after);
        let part: LogVerification = request.receive::<LogVerification>().await?.value;
        let part = match all.take() {
            Some(before) => LogVerification {
                events: before.events + part.events,
                expired: before.expired + part.expired,
                seals: before.seals + part.seals,
                ..part
            },
            None => part,
        };
        if part.next.is_none() {
            return shown(&part, format);
        }
        all = Some(part);
    }
}

fn shown(all: &LogVerification, format: Format) -> Result<Exit, Failure> {
    let value = serde_json::to_value(all).map_err(|error| Failure::refused(error.to_string()))?;
    match format {
        Format::Json => write_data(&yaml::json(&value)?)?,
        Format::Yaml => write_data(&yaml::yaml(&value)?)?,
        Format::Table | Format::Wide | Format::Name => {
            let how = if all.fault.is_none() { "verified" } else { "verified before the fault" };
            say(&format!("{how}: {} events in {} seals; {} expired", all.events, all.seals, all.expired))?;
            let unsealed = all.position - all.sealed_position;
            if all.fault.is_none() {
                say(&format!(
                    "sealed up to position {}; {unsealed} later positions are not sealed yet",
                    all.sealed_position
                ))?;
            }
            if !all.digest.is_empty() {
                say(&format!("digest of the last seal: {}", all.digest))?;
            }
        }
    }
    let Some(fault) = &all.fault else { return Ok(Exit::Done) };
    let message = format!("the audit log was tampered with: {} ({})", fault.message, fault.kind.as_str());
    let next = "compare the event with a backup, and find out who can write to the database";
    Err(Failure::refused(message).and(next))
}
