//! `webhook test`

use super::owner::Owner;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Kind, Output, one};
use crate::terminal::say;
use clap::Args;
use reqwest::Method;
use tenancy_api::delivery::WebhookTest;
use tenancy_core::delivery::AttemptOutcome;

/// Arguments of `webhook test`.
#[derive(Args, Debug)]
pub struct Test {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

const TEST: Kind<WebhookTest<'static>> =
    Kind { plural: "tests", name: |test| test.outcome.as_str().to_owned(), columns: &[] };

/// Sends a test message, and shows the request and the answer.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Test) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "test"]);
    let sent = client.v1(Method::POST, &segments).receive::<WebhookTest<'static>>().await?;
    match given.output.output {
        Format::Table | Format::Wide => say(&shown(&sent.value))?,
        _ => one(&TEST, &sent, given.output.output)?,
    }
    let is_delivered = sent.value.outcome.as_str() == AttemptOutcome::Delivered.as_str();
    Ok(if is_delivered { Exit::Done } else { Exit::Refused })
}

fn shown(test: &WebhookTest<'_>) -> String {
    let mut lines = vec!["> POST".to_owned()];
    lines.extend(test.request_headers.iter().map(|header| format!("> {}: {}", header.name, header.value)));
    lines.push(format!("> ({} bytes)", test.request_body_bytes));
    let status = test.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    lines.push(format!("< {status} after {} ms", test.total_ms));
    if !test.answer_start.is_empty() {
        lines.extend(test.answer_start.lines().map(|line| format!("< {line}")));
    }
    if let Some(detail) = &test.detail {
        lines.push(detail.to_string());
    }
    lines.push(test.outcome.as_str().to_owned());
    lines.join("\n")
}
