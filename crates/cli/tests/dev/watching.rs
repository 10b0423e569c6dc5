//! `watch`, and `audit --follow`.

use super::shell::{EXAMPLE, Shell};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn must_watch_and_go_on_over_a_restart_of_the_server() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    let address = dev.url().trim_start_matches("http://").to_owned();
    let lines = shell.follow("watch -o json --tenant acme-eu --type TENANCY_* --since 1h");
    let table = shell.follow("watch --organization acme --since 1h");
    let followed = shell.follow("audit --follow --limit 1 --tenant acme-eu");
    let whole = shell.follow("audit --follow --limit 10000 --tenant acme-eu");
    let json = shell.follow("audit --follow --limit 10000 --tenant acme-eu -o json");
    assert!(lines.line_with("TENANCY_REGISTERED").contains("acme-eu"), "what was before");
    // Each shows what was before when it already follows.
    table.line_with("TENANCY_REGISTERED");
    followed.line_with("acme-eu");
    shell.good("suspend acme-eu --hold billing --reason late");
    for follower in [&table, &followed] {
        assert!(follower.line_with("TENANCY_SUSPENDED").contains("acme-eu"));
    }
    assert_eq!(dev.stop(), 0);

    let dev = shell.dev_at(&address);
    shell.good("set acme-eu display_name=Later");
    // Killed: nobody is told.
    drop(dev);
    let _dev = shell.dev_at(&address);
    shell.good("set acme-eu display_name=Last");
    let log: Value = serde_json::from_str(&shell.good("audit --tenant acme-eu --limit 10000 -o json")).expect("JSON");
    let log = log.as_array().expect("events");
    let is_of_tenancy = |event: &&Value| event["event_type"].as_str().is_some_and(|t| t.starts_with("TENANCY_"));
    // The first one was read above.
    let mut shown = BTreeSet::new();
    for expected in log.iter().filter(is_of_tenancy).skip(1) {
        let line: Value = serde_json::from_str(&lines.line_with("{")).expect("one event in each line");
        assert_eq!(&line, expected);
        assert!(shown.insert(line["position"].as_i64()));
    }
    for expected in log {
        let line: Value = serde_json::from_str(&json.line_with("{")).expect("one event in each line");
        assert_eq!(&line, expected);
        let (line, event_type) = (whole.line_with("acme-eu"), expected["event_type"].as_str().expect("a type"));
        assert!(line.split_whitespace().any(|word| word == event_type), "{event_type} is not the next line: {line}");
    }
    for follower in [&table, &followed] {
        for _ in 0..2 {
            assert!(follower.line_with("TENANCY_UPDATED").contains("acme-eu"));
        }
    }
    assert_eq!(log.last().expect("an event")["event_type"], "TENANCY_UPDATED");
}

#[test]
fn must_say_why_it_cannot_watch() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    assert!(shell.bad("watch --type TENANCY_CREATE", 1).contains("did you mean"));
    assert!(shell.bad("watch --tenant nobody", 3).contains("nobody"));
    shell.bad("watch --since yesterday-ish", 2);
    let token = shell.good("key create brief --role viewer -o name");
    let mut watching = shell.follow(&format!("watch --since 1h --url {} --token {}", dev.url(), token.trim()));
    watching.line_with("TENANCY_REGISTERED");
    shell.good("key revoke brief");
    assert_eq!(watching.ended(), 5);
    assert!(watching.said().contains("revoked"));
}
