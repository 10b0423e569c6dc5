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
