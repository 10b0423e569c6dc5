use super::*;
use crate::wire::samples::problem;
use std::path::PathBuf;

/// Documents of a file of three tenants.
fn documents() -> (tempfile::TempDir, Documents, PathBuf) {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("a.yaml");
    let text = "kind: Tenant\nregion: a\n---\nkind: Tenant\n---\nkind: Tenant\nregion: b\n";
    std::fs::write(&path, text).expect("written");
    (temp, Documents::read(std::slice::from_ref(&path)).expect("read"), path)
}

/// Adds the fields that do not matter to a test.
fn whole(lines: Value) -> Vec<Value> {
    let whole = |(index, line): (usize, &Value)| {
        let mut whole = json!({"index": index, "kind": "Tenant", "changes": [], "warnings": []});
        let said = line.as_object().expect("an object").clone();
        whole.as_object_mut().expect("an object").extend(said);
        whole
    };
    lines.as_array().expect("lines").iter().enumerate().map(whole).collect()
}

fn applied(dry_run: bool, lines: Value) -> Applied {
    let answer = Received::of(json!({"results": whole(lines), "dry_run": dry_run})).expect("an answer");
    Applied::of(answer, documents().1).expect("lines")
}

fn answer(dry_run: bool) -> Applied {
    let lines = json!([
        {"kind": "Organization", "id": "acme", "result": "unchanged"},
        {"index": 1, "id": "acme-eu", "result": "changed", "version": 3,
         "changes": [{"pointer": "/quotas/apiRateLimit", "from": 200, "to": 400},
                     {"pointer": "/labels/team", "from": "a", "to": null},
                     {"pointer": "/policies", "from": {"encryption": "platform", "x": 1}, "to": null}],
         "job": {"job_id": "job_1", "action": "update"},
         "warnings": [{"code": "undeclared_key", "pointer": "/quotas/seats", "message": "\"seats\" is not declared"}]},
        {"index": 2, "id": "acme-us", "result": "created", "version": 1,
         "changes": [{"pointer": "/region", "from": null, "to": "us-east-1"}]},
    ]);
    applied(dry_run, lines)
}

#[test]
fn must_print_what_changes_and_a_summary_and_unchanged_documents_only_on_request() {
    assert_eq!(
        answer(false).render(false, true),
        "organization  acme     unchanged\n\
         tenant        acme-eu  changed    version 3\n\
         \x20 ~ quotas.apiRateLimit: 200 -> 400\n\
         \x20 - labels.team: a\n\
         \x20 - policies.encryption: platform\n\
         \x20 - policies.x: 1\n\
         \x20 warning: quotas.seats: \"seats\" is not declared\n\
         tenant        acme-us  created\n\
         1 created, 1 changed, 2 removed, 1 unchanged\n"
    );
    let plan = answer(true).render(false, false);
    assert!(!plan.contains("acme  ") && plan.contains("tenant  acme-eu  to be changed  queues update\n"), "{plan}");
    assert!(plan.ends_with("1 to create, 1 to change, 2 to remove, 1 unchanged\n"), "{plan}");
    assert!(answer(true).changes_something());
    assert_eq!(answer(true).tenants(), ["acme-eu", "acme-us"]);
}

#[test]
fn must_name_every_refusal_with_file_and_line_and_every_confirmation_that_is_needed() {
    let gate = json!({"allow": "move-region", "pointer": "/region", "message": "moves from a to b"});
    let other = json!({"allow": "remove-quota", "pointer": "/quotas/x", "message": "removes quota x"});
    let detail = "this change must be confirmed: send allow=move-region (moves from a to b)";
    let gated = |gate: Value| problem(409, json!({"code": "not_allowed_by_name", "detail": detail, "errors": [gate]}));
    let taken = problem(409, json!({"code": "alias_taken", "detail": "taken"}));
    let lines = json!([
        {"id": "a", "result": "refused", "error": gated(gate.clone())},
        {"id": "b", "result": "refused", "error": taken},
        {"id": "c", "result": "refused", "error": gated(other.clone())},
    ]);
    let (_temp, read, path) = documents();
    let errors = [("/0/region", &gate), ("/2/quotas/x", &other)].map(|(at, gate)| {
        let mut error = gate.clone();
        error["pointer"] = json!(at);
        error
    });
    let whole_file = problem(
        409,
        json!({"code": "not_allowed_by_name", "detail": "3 of 3", "results": whole(lines.clone()),
        "errors": [errors[0], {"code": "alias_taken", "pointer": "/1", "message": "taken"}, errors[1]]}),
    );
    let applied = Applied::refused(Box::new(whole_file), read).expect("lines");
    let failure = applied.refusal().expect_err("refused");
    assert_eq!(failure.message, "3 of 3 documents are refused; nothing was written");
    let file = path.display();
    assert_eq!(
        failure.details,
        [
            format!("{file}:2: Tenant a /region: moves from a to b (--allow move-region)"),
            format!("{file}:4: Tenant b: taken"),
            format!("{file}:6: Tenant c /quotas/x: removes quota x (--allow remove-quota)"),
        ]
    );
    let next = failure.next.expect("a next step");
    assert!(next.ends_with("--allow move-region --allow remove-quota"), "{next}");
    assert_eq!((failure.exit, applied.changes_something()), (Exit::Refused, false));
    assert!(applied.render(false, false).contains("would be refused  --allow move-region"));
    assert!(answer(false).refusal().is_ok());
}

#[test]
fn must_say_what_to_do_about_a_document_that_is_refused_alone() {
    let detail = "the version has changed from 7 to 3: read the resource again, then send If-Match: \"3\"";
    let stale = problem(412, json!({"code": "stale_version", "detail": detail, "current_version": 3}));
    let refused =
        applied(false, json!([{"id": "a", "result": "refused", "error": stale}, {"id": "b", "result": "changed"}]));
    let failure = refused.refusal().expect_err("refused");
    let sentence = "the document is based on version 7, but the current version is 3; the other documents were applied";
    assert_eq!(failure.message, format!("Tenant a: {sentence}"));
    assert!(failure.next.is_some_and(|next| next.starts_with("remove the version") && next.ends_with("export a")));
    // Somebody else changed it after the decision.
    let moved = "tenant a has changed, its version is 4: read it again";
    let moved = problem(412, json!({"code": "stale_version", "detail": moved, "current_version": 4}));
    let refused = applied(false, json!([{"id": "a", "result": "refused", "error": moved}]));
    let failure = refused.refusal().expect_err("refused");
    assert_eq!((failure.exit, refused.tenants()), (Exit::Conflict, Vec::<String>::new()));
    assert!(failure.next.is_some_and(|next| next.contains("run the same command again")));
}

#[test]
fn must_name_the_command_for_the_secret_of_each_webhook_that_is_new() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("a.yaml");
    let text = "kind: Organization\norganization_id: acme\n---\nkind: Tenant\n---\n\
                kind: Tenant\nwebhooks: [{name: main}, {name: aux}]\n";
    std::fs::write(&path, text).expect("written");
    let lines = json!([
        {"kind": "Organization", "id": "acme", "result": "changed",
         "changes": [{"pointer": "/webhooks", "from": null, "to": [{"name": "audit"}]}]},
        {"id": "acme-eu", "result": "changed",
         "changes": [{"pointer": "/webhooks/new", "from": null, "to": {"name": "new"}},
                     {"pointer": "/webhooks/old/max_per_second", "from": null, "to": 5},
                     {"pointer": "/webhooks/gone", "from": {"name": "gone"}, "to": null}]},
        {"id": "acme-us", "result": "created"},
    ]);
    let commands = |dry_run: bool| {
        let answer = Received::of(json!({"results": whole(lines.clone()), "dry_run": dry_run})).expect("an answer");
        let documents = Documents::read(std::slice::from_ref(&path)).expect("read");
        Applied::of(answer, documents).expect("lines").secrets()
    };
    let ends = ["audit --organization acme", "acme-eu/new", "acme-us/main", "acme-us/aux"];
    let found = commands(false);
    assert!(
        found.iter().zip(ends).all(|(command, end)| command.ends_with(&format!("webhook rotate {end}"))),
        "{found:?}"
    );
    assert_eq!((found.len(), commands(true)), (4, Vec::new()), "a plan makes no secret");
}
