//! Webhooks, from the creation to the deletion, for each kind of owner.

use super::listen::{program, value};
use super::shell::{EXAMPLE, Shell};
use serde_json::Value;
use std::time::{Duration, Instant};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command until its output contains a text.
fn until(shell: &Shell, line: &str, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let shown = shell.good(line);
        if shown.contains(text) {
            return shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no {text:?} in the output of {line}:\n{shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn must_create_list_rotate_switch_and_delete_webhooks_of_each_owner() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    for (name, list, options) in
        [("acme-eu/cli", "acme-eu", ""), ("cli", "", " --organization acme"), ("cli", "", " --platform")]
    {
        let create =
            format!("webhook create {name}{options} --endpoint https://hooks.acme.example/x --event TENANCY_*");
        let secret = shell.good(&format!("{create} --max-retries 3 -o name"));
        assert!(secret.starts_with("whsec_"), "{secret}");
        let again = shell.bad(&create, 4);
        assert!(again.contains("exists already"), "{again}");
        let wrong =
            shell.bad(&format!("webhook create {name}-2{options} --endpoint ftp://x --event NONSENSE --jitter 7"), 2);
        assert!(["--endpoint", "--event", "--jitter"].iter().all(|flag| wrong.contains(flag)), "{wrong}");

        let table = shell.good(&format!("webhook list {list}{options}"));
        assert!(table.starts_with("WEBHOOK ") && table.contains(name) && table.contains("TENANCY_*"), "{table}");
        let described = shell.good(&format!("webhook describe {name}{options}"));
        assert!(described.contains("max_retries=3") && !described.contains("whsec_"), "{described}");
        let json = shell.good(&format!("webhook describe {name}{options} -o json"));
        assert!(json.contains("\"webhook_id\": \"whk_") && !json.contains("secret"), "{json}");

        let rotated = shell.good(&format!("webhook rotate {name}{options} --overlap 1h"));
        assert!(rotated.contains("whsec_") && !rotated.contains(secret.trim()), "{rotated}");
        shell.bad(&format!("webhook rotate {name}{options} --overlap 8d"), 2);
        assert!(shell.good(&format!("webhook disable {name}{options}")).contains("disabled"));
        assert!(shell.good(&format!("webhook describe {name}{options}")).contains("no"));
        assert!(shell.good(&format!("webhook enable {name}{options} -o name")).contains(name));
        assert!(shell.bad(&format!("webhook delete {name}{options}"), 2).contains("--yes"));
        shell.good(&format!("webhook delete {name}{options} --yes"));
        let gone = shell.bad(&format!("webhook describe {name}{options}"), 3);
        assert!(gone.contains("no webhook"), "{gone}");
        assert!(gone.contains(format!("webhook list {list}{options}\n").replace("  ", " ").as_str()), "{gone}");
    }
    assert!(shell.bad("webhook list", 2).contains("--platform"));
    assert!(shell.bad("webhook rotate cli", 2).contains("TENANT/WEBHOOK"));

    // A manifest keeps the new fields, and an export contains them.
    let manifest = "kind: Tenant\ntenant_id: acme-eu\nwebhooks:\n- {name: main, url: 'https://hooks.acme.example/x', \
                    events: ['*'], max_per_second: 5, format: cloudevents, enabled: false}\n";
    let file = shell.write("webhooks.yaml", manifest).display().to_string();
    let applied = shell.good(&format!("apply -f {file}"));
    assert!(!applied.contains("whsec_"), "{applied}");
    let exported = shell.good("export acme-eu");
    assert!(
        ["max_per_second: 5", "format: cloudevents", "enabled: false"].iter().all(|line| exported.contains(line)),
        "{exported}"
    );
    let exported = shell.write("exported.yaml", &exported).display().to_string();
    assert!(shell.good(&format!("plan -f {exported}")).contains("unchanged"), "an export changes nothing");
}

#[test]
fn must_show_what_was_sent_to_a_webhook_what_it_answered_and_what_waits() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let (url, received) = program(&[
        "500 Oops\r\ncontent-length: 9\r\n\r\nno \x1b[31mway",
        "200 OK\r\ncontent-length: 4\r\n\r\nfine",
        "503 Busy\r\n\r\n",
    ]);
    let created = shell.run(&format!(
        "webhook create acme-eu/hook --endpoint {url} --event TENANCY_* --backoff fixed --base-seconds 1 --jitter 0"
    ));
    let secret = created.out.lines().find(|line| line.starts_with("whsec_")).expect("a secret").to_owned();
    assert!(created.code == 0 && created.err.contains("shown only once"), "{created:?}");

    // Test messages: the whole exchange, and its result as the exit code.
    let failed = shell.run("webhook test acme-eu/hook");
    assert_eq!(failed.code, 1, "{failed:?}");
    for part in ["> POST\n", "> webhook-signature: v1,", "\n< 500 after ", "the receiver answered with 500\nfailed\n"] {
        assert!(failed.out.contains(part), "{part}\n{}", failed.out);
    }
    assert!(
        !failed.out.contains('\x1b'),
        "what a receiver answers does not reach the terminal as it is: {}",
        failed.out
    );
    let test = json(&shell.good("webhook test acme-eu/hook -o json"));
    assert_eq!(
        (&test["outcome"], &test["status"], &test["answer_start"]),
        (&"delivered".into(), &200.into(), &"fine".into())
    );

    // A delivery that fails once.
    let status = until(&shell, "webhook status acme-eu/hook", "waiting");
    assert_eq!(status, "waiting  0\n");
    shell.good("set acme-eu labels.a=b");
    let status = until(&shell, "webhook status acme-eu/hook", "last success");
    assert!(status.starts_with("waiting       0\nlast success  ") && status.contains("ago: 503\n"), "{status}");
    let page = shell.good("describe tenant acme-eu");
    let row = page.lines().find(|line| line.starts_with("hook ")).expect("a row");
    assert!(row.starts_with("hook  yes      0        ") && row.ends_with("ago: 503"), "{page}");
    let table = shell.good("webhook deliveries acme-eu/hook --state waiting,delivered");
    assert!(table.starts_with("DELIVERY ") && table.lines().count() == 2 && table.contains("delivered  2"), "{table}");
    let id = shell.good("webhook deliveries acme-eu/hook -o name").trim().to_owned();
    let log = shell.good(&format!("webhook deliveries acme-eu/hook --delivery {id}"));
    assert!(log.starts_with("ATTEMPT ") && log.lines().count() == 3 && log.contains("answered with 503"), "{log}");
    let log = json(&shell.good(&format!("webhook deliveries acme-eu/hook --delivery {id} -o json")));
    assert_eq!(log["log"].as_array().map(Vec::len), Some(2), "{log}");

    // Sent again: one delivery, and the events since a time.
    let ids = |received: &std::sync::mpsc::Receiver<(String, Vec<u8>)>| {
        let (head, _) = received.recv_timeout(Duration::from_secs(60)).expect("a request");
        value(&head, "webhook-id").to_owned()
    };
    let sent: Vec<_> = (0..4).map(|_| ids(&received)).collect();
    assert_eq!(sent[2..], [id.clone(), id.clone()], "two tests, and two attempts");
    assert_eq!(shell.good(&format!("webhook resend acme-eu/hook {id}")), format!("{id} is sent again\n"));
    assert_eq!(ids(&received), id);
    let replayed = shell.run("webhook replay acme-eu/hook --since 1h");
    assert!(replayed.code == 0 && replayed.out.starts_with("acme-eu/hook: the events since "), "{replayed:?}");
    assert!(replayed.err.ends_with("webhook status acme-eu/hook\n"), "{replayed:?}");
    // Before it come the events of the tenant's creation.
    while ids(&received) != id {}
    for line in ["webhook list acme-eu -o json", "webhook describe acme-eu/hook", "webhook status acme-eu/hook -o json"]
    {
        assert!(!shell.good(line).contains(&secret), "{line}");
    }
}

#[test]
fn must_name_the_next_command_when_a_command_about_a_webhook_fails() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let commands =
        ["describe", "test", "status", "deliveries", "rotate", "enable", "disable", "delete --yes", "replay --pause"];
    for command in commands {
        let said = shell.bad(&format!("webhook {command} acme-eu/mian"), 3);
        assert!(said.contains("no webhook \"acme-eu/mian\"; did you mean \"main\"?"), "{command}: {said}");
        assert!(said.ends_with("webhook list acme-eu\n") && said.contains("\nnext: "), "{command}: {said}");
    }
    for (line, code, message, next) in [
        ("webhook list acme-ue", 3, "did you mean \"acme-eu\"?", "get tenants"),
        ("webhook status acme-ue/main", 3, "did you mean \"acme-eu\"?", "get tenants"),
        ("webhook list --organization acem", 3, "did you mean \"acme\"?", "get organizations"),
        ("webhook status x --organization acme", 3, "no webhook \"acme/x\"", "webhook list --organization acme"),
        ("webhook status x --platform", 3, "no webhook \"x\"", "webhook list --platform"),
        ("webhook resend acme-eu/main dlv_1", 3, "no delivery \"dlv_1\"", "webhook deliveries acme-eu/main"),
        ("webhook deliveries acme-eu/main --delivery dlv_1", 3, "no delivery", "webhook deliveries acme-eu/main"),
        ("webhook replay acme-eu/main --pause", 1, "has no replay in progress", "webhook status acme-eu/main"),
        (
            "webhook create acme-eu/main --endpoint https://hooks.acme.example/x --event *",
            4,
            "error: a webhook acme-eu/main exists already: choose another name\n",
            "webhook describe acme-eu/main",
        ),
    ] {
        let said = shell.bad(line, code);
        assert!(said.contains(message) && said.ends_with(&format!("{next}\n")), "{line}: {said}");
    }
    for (line, message) in [
        ("webhook deliveries acme-eu/main --state faild", "'failed'"),
        ("webhook replay acme-eu/main --since soon", "\"soon\" is not a time"),
        ("webhook replay acme-eu/main --since 2020-01-01T00:00:00Z", "--since: lies too far back"),
        ("webhook replay acme-eu/main", "--since"),
    ] {
        let said = shell.bad(line, 2);
        assert!(said.contains(message), "{line}: {said}");
    }
    shell.good("webhook disable acme-eu/main");
    let said = shell.bad("webhook replay acme-eu/main --since 1h", 1);
    assert!(said.ends_with("webhook enable acme-eu/main\n"), "{said}");
}

#[test]
fn must_apply_and_export_the_webhooks_of_an_organization() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let manifest = "kind: Organization\norganization_id: acme\nwebhooks:\n\
                    - {name: main, url: 'https://hooks.acme.example/x', events: ['*'], max_per_second: 5}\n";
    let file = shell.write("organization.yaml", manifest).display().to_string();
    let planned = shell.good(&format!("plan -f {file}"));
    assert!(planned.contains("organization  acme  to be changed") && planned.contains("+ webhooks"), "{planned}");
    assert!(shell.bad("webhook describe main --organization acme", 3).contains("no webhook"), "a plan writes nothing");
    let applied = shell.run(&format!("apply -f {file}"));
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.err.contains("webhook rotate main --organization acme"), "{applied:?}");
    assert!(!applied.out.contains("whsec_") && !applied.err.contains("whsec_"), "{applied:?}");
    assert!(shell.good("describe organization acme").contains("webhooks"));

    let exported = shell.good("export --organization acme");
    assert!(exported.contains("max_per_second: 5") && !exported.contains("webhook_id"), "{exported}");
    let exported = shell.write("exported.yaml", &exported).display().to_string();
    assert_eq!(shell.run(&format!("plan -f {exported} --exit-code")).code, 0, "an export changes nothing");

    // What a document leaves out stays; what is not in the list is removed.
    let named = shell.write("named.yaml", "kind: Organization\norganization_id: acme\ndisplay_name: Acme\n");
    shell.good(&format!("apply -f {}", named.display()));
    assert!(shell.good("webhook list --organization acme").contains("main"));
    let ran = shell.run(&format!("plan -f {exported}"));
    shell.good("webhook disable main --organization acme");
    let back = shell.good(&format!("plan -f {file}"));
    assert!(back.contains("unchanged") && ran.code == 0, "a file that does not say `enabled` leaves it alone: {back}");
    let off = shell.write("off.yaml", "kind: Organization\norganization_id: acme\nwebhooks: []\n");
    assert!(shell.good(&format!("apply -f {}", off.display())).contains("- webhooks"));
    assert!(!shell.good("webhook list --organization acme").contains("main"));
    assert!(shell.good("explain organization.webhooks").contains("max_in_flight"));
}
