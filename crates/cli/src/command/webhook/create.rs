//! `webhook create`

use super::owner::Owner;
use super::show;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::program::quoted;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value};
use tenancy_api::document::{WebhookManifest, WebhookRequest};
use tenancy_api::webhook::NewWebhook;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook create acme-eu/main --endpoint https://hooks.acme.example/x --event 'TENANCY_*'
  tenancy webhook create main --organization acme --endpoint https://hooks.acme.example/x --event '*'
  tenancy webhook create audit --platform --endpoint https://siem.example/x --event '*' --format cloudevents
  SECRET=$(tenancy webhook create acme-eu/main --endpoint … --event '*' -o name)   prints only the secret";

/// Arguments of `webhook create`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    /// URL that receives the events. (--url names the server.)
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Event types, such as TENANCY_SUSPENDED or 'TENANCY_*'; can be repeated
    #[arg(long = "event", value_name = "TYPE", required = true, value_delimiter = ',')]
    events: Vec<String>,
    /// How the pauses between tries grow. Default: exponential
    #[arg(long, value_enum)]
    backoff: Option<Backoff>,
    /// First pause, in seconds. Default: 5, with fixed 300
    #[arg(long, value_name = "SECONDS")]
    base_seconds: Option<i64>,
    /// Maximum pause, in seconds. Default: 86400
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<i64>,
    /// Number of tries after the first. Default: 9
    #[arg(long, value_name = "NUMBER")]
    max_retries: Option<i64>,
    /// Share of a pause by which it varies at random, 0 to 1. Default: 0.2
    #[arg(long, value_name = "SHARE")]
    jitter: Option<f64>,
    /// Maximum number of tries per second. Default: no limit
    #[arg(long, value_name = "NUMBER")]
    max_per_second: Option<i64>,
    /// Maximum number of tries at the same time. Default: 8
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<i64>,
    /// Time limit of one try, in seconds. Default: 15
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<i64>,
    /// Format of the requests. Default: standard
    #[arg(long, value_enum)]
    format: Option<RequestFormat>,
    /// Create it disabled
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backoff {
    Exponential,
    Fixed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RequestFormat {
    /// Standard Webhooks 1.0
    Standard,
    /// CloudEvents 1.0, structured mode
    Cloudevents,
}

impl Create {
    fn retry_policy(&self) -> Option<Value> {
        let backoff = self.backoff.map(|backoff| match backoff {
            Backoff::Exponential => "exponential",
            Backoff::Fixed => "fixed",
        });
        let values = [
            ("backoff", backoff.map(Value::from)),
            ("base_seconds", self.base_seconds.map(Value::from)),
            ("max_seconds", self.max_seconds.map(Value::from)),
            ("max_retries", self.max_retries.map(Value::from)),
            ("jitter", self.jitter.map(Value::from)),
        ];
        let given: Map<_, _> = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        (!given.is_empty()).then_some(Value::Object(given))
    }
}

/// Creates a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Create) -> Result<Exit, Failure> {
    let (list, name) = given.owner.one(&given.name)?;
    let format = given.format.map(|format| match format {
        RequestFormat::Standard => "standard".to_owned(),
        RequestFormat::Cloudevents => "cloudevents".to_owned(),
    });
    let webhook = WebhookManifest {
        name: name.to_owned(),
        url: given.endpoint.clone(),
        events: given.events.clone(),
        retry_policy: given.retry_policy(),
        max_per_second: given.max_per_second,
        max_in_flight: given.max_in_flight,
        timeout_seconds: given.timeout_seconds,
        format,
        enabled: given.disabled.then_some(false),
    };
    let body = WebhookRequest { webhook, secret: None };
    let made = client.v1(Method::POST, &list).json(&body).receive::<NewWebhook<'static>>().await;
    let flags = [
        ("/name", "WEBHOOK"),
        ("/url", "--endpoint"),
        ("/events", "--event"),
        ("/retry_policy/base_seconds", "--base-seconds"),
        ("/retry_policy/max_seconds", "--max-seconds"),
        ("/retry_policy/max_retries", "--max-retries"),
        ("/retry_policy/jitter", "--jitter"),
        ("/max_per_second", "--max-per-second"),
        ("/max_in_flight", "--max-in-flight"),
        ("/timeout_seconds", "--timeout-seconds"),
    ];
    let made = made.map_err(|failure| {
        let failure = failure.of_flags(&flags);
        if failure.code.as_deref() != Some("webhook_exists") {
            return failure;
        }
        let message = format!("a webhook {} exists already: choose another name", given.name);
        let next = format!("webhook describe {}{}", quoted(&given.name), given.owner.options());
        Failure { message, details: Vec::new(), ..failure }.and_type(&next)
    })?;
    show(&made, given.output.output, || {
        let failure = Failure::refused(format!(
            "{} was created, but its secret was lost with the first response: rotate it",
            given.name
        ));
        failure.and_type(&format!("webhook rotate {}{}", quoted(&given.name), given.owner.options()))
    })
}
