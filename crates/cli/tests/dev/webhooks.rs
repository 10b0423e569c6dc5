//! Webhooks, from the creation to the deletion, for each kind of owner.

use super::shell::{EXAMPLE, Shell};

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
