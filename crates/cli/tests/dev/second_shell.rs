//! Commands from a second shell, without options.

use super::shell::{EXAMPLE, Shell};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn must_list_and_describe() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let table = shell.good("get tenants");
    assert!(table.starts_with("TENANT   STATE   DESIRED"), "{table}");
    assert!(table.lines().all(|line| line.trim_end() == line) && !table.contains('\x1b'), "{table}");
    assert_eq!(shell.good("get tenants -o name"), "acme-eu\nacme-us\n");
    assert_eq!(shell.good("get tenants --limit 1 -o name"), "acme-eu\n");
    assert_eq!(shell.good("get tenants -l tier=platinum -o name"), "acme-us\n");
    assert_eq!(shell.good("get tenants --region eu-west-1 --state Active --profile mt-standard -o name"), "acme-eu\n");
    assert_eq!(shell.good("get tenants --state Suspended"), "");
    assert_eq!(shell.good("get organizations -o name"), "acme\n");
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/dev\nacme-eu/prod\n");
    assert_eq!(json(&shell.good("get tenants -o json")).as_array().map(Vec::len), Some(2));
    assert_eq!(json(&shell.good("get tenant acme-eu -o json"))["tenant_id"], "acme-eu");
    assert_eq!(json(&shell.good("get environments acme-eu/prod -o json"))["isolation_level"], "strict");
    assert!(shell.good("get jobs acme-eu").contains("activate"));
    assert!(shell.good("get versions acme-eu").contains("VERSION"));
    let page = shell.good("describe tenant stripe:cus_9s6");
    for part in ["acme-eu  Active", "Environments", "Newest events", "TENANCY_ACTIVATED"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(shell.good("describe organization acme").contains("Acme Corp"));
    assert!(shell.good("describe environment acme-eu/prod").contains("strict"));
    let job = shell.good("get jobs acme-eu -o name --limit 1");
    assert!(shell.good(&format!("describe job {}", job.trim())).contains("Steps"));
    assert!(shell.good(&format!("wait --job acme-eu/{}", job.trim())).contains("completed"));
    shell.good("logs acme-us");
    assert_eq!(json(&shell.good("logs acme-us -o json"))["action"], "activate");
    assert_eq!(json(&shell.good("wait acme-eu -o json"))["state"], "Active");
    assert_eq!(json(&shell.good("context list -o json"))[0]["name"], "dev");
    let hook = shell.good("get webhooks acme-eu -o name");
    assert_eq!(hook, "acme-eu/main\n");
    assert!(shell.good("describe webhook acme-eu/main").contains("https://"));
    assert!(shell.bad("describe webhook acme-eu/mian", 3).contains("did you mean \"main\"?"));
    let status = shell.good("status");
    assert!(status.contains("tenants        2: 2 Active") && status.contains("admin"), "{status}");
}

#[test]
fn must_verify_the_audit_log() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let verified = (0..100).find_map(|_| {
        let found = json(&shell.good("audit verify -o json"));
        std::thread::sleep(std::time::Duration::from_millis(100));
        (found["sealed_position"] == found["position"] && found["position"].as_i64() > Some(5)).then_some(found)
    });
    let verified = verified.expect("sealed within a second or so");
    assert_eq!((&verified["events"], &verified["fault"]), (&verified["position"], &Value::Null));
    let said = shell.good("audit verify");
    assert!(said.contains(&format!("verified: {} events in ", verified["events"])), "{said}");
    assert!(
        said.contains(&format!("digest of the last seal: {}", verified["digest"].as_str().expect("text"))),
        "{said}"
    );
    shell.bad("audit verify --tenant acme-eu", 2);
}

#[test]
fn must_suspend_and_say_which_hold_keeps_a_tenant_from_its_desired_state() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    let suspend = ["suspend", "acme-eu", "--reason", "not paid", "--hold", "billing"];
    let ran = shell.run_with(&suspend, &[], None);
    assert_eq!(ran.code, 0, "{ran:?}");
    let waits = "acme-eu is Suspended, desired: Active; held by billing";
    assert!(ran.out.contains(waits), "{ran:?}");

    let ran = shell.run_with(&["apply", "-f", EXAMPLE], &[], None);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("3 unchanged\n") && ran.out.contains(waits), "{ran:?}");
    assert!(ran.err.contains("activate acme-eu --hold billing"), "{ran:?}");
    let said = shell.bad("wait acme-eu --timeout 1", 7);
    assert!(said.starts_with(waits) && said.contains("activate acme-eu --hold billing"), "at once: {said}");
    shell.good("wait acme-eu --state suspended");
    assert_eq!(dev.stop(), 0);

    let dev = shell.dev(&["--apply", EXAMPLE]);
    assert!(dev.shown.contains(waits), "{}", dev.shown);
    assert_eq!(shell.good("get tenants --state Suspended -o name"), "acme-eu\n");
    assert!(shell.good("describe tenant acme-eu").contains("not paid"));
    assert!(shell.good("activate acme-eu --hold billing").contains("acme-eu is Active"));
    let log = shell.good("audit --tenant acme-eu");
    for event in ["TENANCY_HOLD_PLACED", "TENANCY_SUSPENDED", "TENANCY_HOLD_RELEASED", "TENANCY_ACTIVATED"] {
        assert!(log.contains(event), "{event}\n{log}");
    }
    let typed = shell.good("audit --type TENANCY_SUSPENDED --since 1h -o json");
    assert_eq!(json(&typed).as_array().map(Vec::len), Some(1));
}

#[test]
fn must_archive_and_restore() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let said = shell.bad("delete acme-eu --yes", 1);
    assert!(said.contains("next:") && said.contains("suspend acme-eu"), "{said}");
    shell.good("suspend acme-eu --reason ended --no-wait");
    shell.good("wait acme-eu --state Suspended");
    let said = shell.bad("delete acme-eu", 2);
    assert!(said.contains("purged after 30 days") && said.contains("needs --yes"), "{said}");
    let ran = shell.run("delete acme-eu --yes");
    assert!(ran.code == 0 && ran.out == "acme-eu is Archived\n", "{ran:?}");
    assert!(ran.err.contains("its data is kept until") && ran.err.contains("undelete acme-eu"), "{ran:?}");
    for verb in ["plan", "apply"] {
        let said = shell.bad(&format!("{verb} -f {EXAMPLE}"), 1);
        assert!(said.contains("acme-eu is Archived: undelete it") && said.contains("undelete acme-eu\n"), "{said}");
    }
    assert!(shell.good("describe tenant acme-eu").contains("undelete it first"));
    assert!(shell.bad("purge acme-eu", 2).contains("undelete acme-eu` restores it until then. Without a terminal"));
    assert_eq!(shell.run("purge acme-eu --yes").code, 1, "the grace period is not over");
    assert!(shell.good("undelete acme-eu").contains("acme-eu is Suspended"));
    shell.good("delete acme-eu --yes");
    assert_eq!(shell.good("purge acme-eu --early --yes"), "acme-eu is purged\n");
}

#[test]
fn must_end_with_the_exit_code_of_each_failure() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    for line in
        ["get tenants acme-ue", "describe tenant amce-eu", "set acme-ue/prod quotas.storageGiB=1", "rollback acme-e 1"]
    {
        let said = shell.bad(line, 3);
        assert!(said.contains("did you mean \"acme-eu\"?") && said.contains("get tenants\n"), "{said}");
    }
    assert!(shell.bad("describe organization acem", 3).contains("did you mean \"acme\"?"));
    assert!(!shell.bad("suspend unknown --reason x", 3).contains("did you mean"));
    assert_eq!(shell.run("describe job job_00000000000000000000000000000000").code, 3);
    assert_eq!(shell.run("suspend acme-eu/prod --reason x").code, 2);
    assert_eq!(shell.run("get organizations --region eu-west-1").code, 2);
    assert_eq!(shell.run("get environments acme-eu --organization acme").code, 2);
    assert_eq!(shell.run("get versions acme-eu newest").code, 2);
    assert_eq!(shell.run("wait acme-eu --state Actve").code, 2);
    assert!(shell.bad("get tenants --state Actve", 2).contains("did you mean Active?"));
    for name in ["", ".", ".."] {
        assert_eq!(shell.run_with(&["get", "tenants", name], &[], None).code, 2, "{name:?}");
    }
    assert!(shell.bad("suspend acme-eu --reason x --hold biling", 2).starts_with("error: --hold"));
    assert_eq!(shell.run("set acme-eu nonsense").code, 2);
    let said = shell.bad("set acme-eu quotas.apiRateLimit=many", 1);
    assert!(said.contains("/quotas/apiRateLimit: "), "{said}");
    let said = shell.bad("set acme-us deletion_protection=false", 1);
    assert!(said.contains("--allow protection-off"), "{said}");

    let token = shell.good("key create grafana --role viewer -o name");
    assert_eq!(shell.run("key create grafana --role viewer").code, 4);
    let url = dev.url();
    let as_viewer = |line: &str| {
        let environment = [("TENANCY_URL", url.as_str()), ("TENANCY_TOKEN", token.trim())];
        shell.run_with(&line.split_whitespace().collect::<Vec<_>>(), &environment, None)
    };
    assert_eq!(as_viewer("get tenants -o name").out, "acme-eu\nacme-us\n");
    assert_eq!(as_viewer("suspend acme-eu --reason x").code, 5);
    assert!(shell.bad("key revoke grafna", 3).contains("did you mean \"grafana\"?"));
    assert!(shell.good("describe key grafana").contains("viewer"));
    shell.good("key revoke grafana");
    assert_eq!(as_viewer("get tenants").code, 5);
    assert_eq!(shell.run("key revoke grafana").code, 3);
}

#[test]
fn must_cancel_the_job_that_is_open() {
    let shell = Shell::new();
    // This server runs no jobs, so the queued job stays open.
    shell.good("db migrate");
    let token = shell.good("db key admin");
    let config = shell.write("idle.toml", "[jobs]\nenabled = false\n");
    let idle = shell.serve(&["--config", config.to_str().expect("UTF-8")]);
    let url = idle.url();
    let environment = [("TENANCY_URL", url.as_str()), ("TENANCY_TOKEN", token.trim())];
    let run = |line: &str| shell.run_with(&line.split_whitespace().collect::<Vec<_>>(), &environment, None);
    assert_eq!(run(&format!("apply -f {EXAMPLE} --no-wait")).code, 0);
    let cancelled = run("job cancel acme-eu --reason unwanted");
    assert!(cancelled.code == 0 && cancelled.out.starts_with("acme-eu: create is cancelled (job_"), "{cancelled:?}");
    assert!(cancelled.err.contains("describe tenant acme-eu"), "{cancelled:?}");
    let none = run("job cancel acme-eu");
    assert!(none.code == 1 && none.err.contains("get jobs acme-eu"), "{none:?}");
    let id = run("get jobs acme-eu -o name").out;
    assert_eq!(run(&format!("job cancel acme-eu {} -o name", id.trim())).out, id, "it is cancelled already");
    assert_eq!(run("job cancel acme-eu job_none").code, 3);
}

#[test]
fn must_say_where_to_set_a_missing_key() {
    let shell = Shell::new();
    let dev = shell.dev(&[]);
    let url = dev.url();
    let ran = shell.run_with(&["get", "tenants"], &[("TENANCY_URL", url.as_str())], None);
    shell.good(&format!("context add bare {url}"));
    let next = format!("run the command with --url {url} and a token in TENANCY_TOKEN");
    for ran in [ran, shell.run("get tenants --context bare")] {
        assert!(ran.code == 5 && ran.err.contains(&next), "{ran:?}");
    }
    let said = shell.bad(&format!("get tenants --url {url} --token wrong"), 5);
    assert!(said.contains("refuses this key"), "{said}");
}
