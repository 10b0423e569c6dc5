//! `status`: which server, who we are to it, and what is there.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::text;
use crate::listing::List;
use crate::output::{Format, Output};
use crate::table::{Cell, Table};
use crate::terminal::{colours, say, write};
use crate::yaml;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most things that are counted one by one; beyond, "at least".
const MAX_COUNTED: usize = 5_000;

const EXAMPLES: &str = "\
Examples:
  tenancy status
  tenancy status --context prod -o json";

/// Arguments of `status`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says; [`Exit::NoServer`] when it is not ready.
pub async fn run(client: &Client, given: Status) -> Result<Exit, Failure> {
    // Once, and not again: that it is not ready is an answer here.
    let (_, ready) = client.request(Method::GET, &["readyz"]).look().await?;
    let Some(word) = text(&ready, "status").filter(|_| ready["wrong"].is_array()) else {
        return Err(client.no_tenancy());
    };
    let is_ready = word == "ok";
    let mut status = json!({
        "url": client.url(),
        "found_by": client.found_by(),
        "ready": is_ready,
        "not_ready_because": (!is_ready).then(|| list(&ready["wrong"]).join("; ")),
        "warnings": ready["warnings"],
    });
    // A server that is not ready can say nothing of what it has.
    if is_ready {
        status["key"] = client.get(&["whoami"]).await?.body;
        status["tenants"] = count(client, &["tenants"], "state").await?;
        status["organizations"] = count(client, &["organizations"], "").await?;
        status["open_jobs"] = open_jobs(client).await?;
        status["background"] = background(client).await?;
    }
    match given.output.output {
        Format::Json => write(&yaml::json(&status)?)?,
        Format::Yaml => write(&yaml::yaml(&status)?)?,
        Format::Name => say(client.url())?,
        Format::Table | Format::Wide => write(&render(&status, colours()))?,
    }
    Ok(if is_ready { Exit::Done } else { Exit::NoServer })
}

/// How many there are, in all and by the values of a field.
async fn count(client: &Client, segments: &[&str], field: &str) -> Result<Value, Failure> {
    let mut by = BTreeMap::<String, usize>::new();
    let mut all = 0;
    let list = List::of(segments).at_most(Some(MAX_COUNTED));
    let more = list.pages(client, |items| {
        all += items.len();
        for value in items.iter().filter_map(|item| text(item, field)) {
            *by.entry(value.to_owned()).or_default() += 1;
        }
        Ok(true)
    });
    let more = more.await?;
    Ok(json!({"count": all, "at_least": more, "by": by}))
}

async fn open_jobs(client: &Client) -> Result<Value, Failure> {
    let mut open = 0;
    for state in ["queued", "running"] {
        open += List::of(&["jobs"]).filter("state", Some(state)).at_most(Some(MAX_COUNTED)).all(client).await?.len();
    }
    Ok(json!({"count": open, "at_least": open >= MAX_COUNTED, "by": {}}))
}

/// The loops in the background of the server that answers; `null` where it has no such route yet, or this key may not read it.
async fn background(client: &Client) -> Result<Value, Failure> {
    match client.get(&["status"]).await {
        Ok(answer) => Ok(answer.body["background"].clone()),
        Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::NotAllowed) => Ok(Value::Null),
        Err(failure) => Err(failure),
    }
}

fn render(status: &Value, colours: bool) -> String {
    let ready = match status["not_ready_because"].as_str() {
        Some(why) => format!("no: {why}"),
        None => match list(&status["warnings"]) {
            warnings if warnings.is_empty() => "yes".to_owned(),
            warnings => format!("yes, but {}", warnings.join("; ")),
        },
    };
    let key = &status["key"];
    let field = |name| text(key, name).unwrap_or_default();
    let mut rows = vec![
        ("server", status["url"].as_str().unwrap_or_default().to_owned()),
        ("found by", status["found_by"].as_str().unwrap_or_default().to_owned()),
        ("ready", ready),
    ];
    if key.is_object() {
        rows.extend([
            ("key", format!("{} ({}), {}", field("name"), field("key_id"), field("role"))),
            ("organizations", counted(&status["organizations"])),
            ("tenants", counted(&status["tenants"])),
            ("open jobs", counted(&status["open_jobs"])),
        ]);
        rows.extend(status["background"].as_array().map(|loops| ("background", in_background(loops))));
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
    Table::untitled(2, colours).render(&rows)
}

fn list(texts: &Value) -> Vec<&str> {
    texts.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `5 loops, all well`, or each loop whose last run failed with its error.
fn in_background(loops: &[Value]) -> String {
    let failing = |one: &&Value| text(one, "last_error_at").is_some() && one["last_error_at"] == one["last_run_at"];
    let said = |one: &Value| {
        let field = |name| text(one, name).unwrap_or_default();
        format!("{} failed at {}: {}", field("name"), field("last_error_at"), field("last_error"))
    };
    match loops.iter().filter(failing).map(said).collect::<Vec<_>>() {
        failing if failing.is_empty() => format!("{} loops, all well", loops.len()),
        failing => failing.join("; "),
    }
}

/// `3: 2 Active, 1 Suspended`
fn counted(count: &Value) -> String {
    let least = if count["at_least"] == true { "at least " } else { "" };
    let by = count["by"].as_object().into_iter().flatten();
    let parts: Vec<_> = by.map(|(value, count)| format!("{count} {value}")).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{least}{}{parts}", count["count"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_say_where_who_and_what() {
        let status = json!({
            "url": "http://127.0.0.1:7300", "found_by": "context dev", "ready": true, "not_ready_because": null,
            "key": {"key_id": "key_1", "name": "dev", "role": "admin"},
            "organizations": {"count": 1, "at_least": false, "by": {}},
            "tenants": {"count": 3, "at_least": false, "by": {"Active": 2, "Suspended": 1}},
            "open_jobs": {"count": 0, "at_least": false, "by": {}},
            "background": [{"name": "jobs", "last_run_at": "2026-07-01T00:00:02Z"},
                {"name": "ended-holds", "last_run_at": "2026-07-01T00:00:02Z", "last_error_at": "2026-07-01T00:00:01Z"}],
        });
        assert_eq!(
            render(&status, false),
            "server         http://127.0.0.1:7300\n\
             found by       context dev\n\
             ready          yes\n\
             key            dev (key_1), admin\n\
             organizations  1\n\
             tenants        3: 2 Active, 1 Suspended\n\
             open jobs      0\n\
             background     2 loops, all well\n"
        );
        let failing = [json!({"name": "jobs", "last_run_at": "T1", "last_error_at": "T1", "last_error": "no answer"})];
        assert_eq!(in_background(&failing), "jobs failed at T1: no answer");
        let warned = json!({"warnings": ["few partitions lie ahead"]});
        assert!(render(&warned, false).contains("yes, but few partitions lie ahead"));
        let away = json!({"url": "u", "found_by": "--url", "not_ready_because": "the database cannot be reached"});
        assert_eq!(
            render(&away, false),
            "server    u\nfound by  --url\nready     no: the database cannot be reached\n"
        );
    }
}
