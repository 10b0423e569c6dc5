//! plan, apply, export, set, diff, rollback.

use super::shell::{EXAMPLE, Shell};

#[test]
fn must_plan_and_apply_what_changed() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let changed = std::fs::read_to_string(EXAMPLE).expect("read").replace("apiRateLimit: 200", "apiRateLimit: 400");
    let changed = shell.write("changed.yaml", &changed).display().to_string();
    assert_eq!(shell.run(&format!("plan -f {EXAMPLE} --exit-code")).code, 0);
    let ran = shell.run(&format!("plan -f {changed} --exit-code"));
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(ran.out.contains("to be changed") && ran.out.contains("~ quotas.apiRateLimit: 200 -> 400"), "{ran:?}");
    assert_eq!(shell.run(&format!("plan -f {EXAMPLE} --exit-code")).code, 0, "a plan writes nothing");

    let out = shell.good(&format!("apply -f {changed}"));
    assert!(out.contains("changed") && out.contains("version 2") && out.contains("acme-eu is Active"), "{out}");
    let diff = shell.good("diff acme-eu 1");
    assert_eq!(diff, "~ quotas.apiRateLimit: 200 -> 400\n");
    assert!(shell.good("set acme-eu quotas.apiRateLimit=300 labels.tier=silver").contains("acme-eu is Active"));
    assert_eq!(shell.good("diff acme-eu 2 3 -o name"), "labels.tier\nquotas.apiRateLimit\n");
    assert!(shell.good("set acme-eu quotas.apiRateLimit=300").contains("unchanged"));
    shell.good("set acme-eu/prod quotas.storageGiB=410");

    let ran = shell.run("rollback acme-eu 1 --yes");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("~ quotas.apiRateLimit: 300 -> 200"), "{ran:?}");
    assert_eq!(shell.run(&format!("plan -f {EXAMPLE} --exit-code")).code, 0);
}

#[test]
fn must_export_what_changes_nothing_when_it_is_applied() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    for format in ["yaml", "json"] {
        let all = shell.good(&format!("export -o {format}"));
        let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&all));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.out.matches("unchanged").count(), 3, "{ran:?}");
    }
    let one = shell.good("export acme-eu");
    assert!(one.starts_with("kind: Tenant\ntenant_id: acme-eu\n") && !one.contains("version"), "{one}");
}

#[test]
fn must_take_a_directory_and_refuse_all_or_write_all() {
    let shell = Shell::new();
    let _dev = shell.dev(&[]);
    std::fs::create_dir(shell.path("tenants")).expect("made");
    shell.write("tenants/1.yaml", "kind: Organization\norganization_id: globex\n");
    shell.write(
        "tenants/2.yaml",
        "kind: Tenant\ntenant_id: globex-eu\norganization_id: globex\nregion: eu-west-1\nregoin: x\n",
    );
    let said = shell.bad("apply -f tenants", 1);
    assert!(said.contains("Tenant globex-eu /regoin: ") && said.contains("region"), "{said}");
    assert_eq!(shell.good("get organizations -o name"), "", "nothing is written");
    shell.write("tenants/2.yaml", "kind: Tenant\ntenant_id: globex-eu\norganization_id: globex\nregion: eu-west-1\n");
    let out = shell.good("apply -f tenants");
    assert!(out.contains("globex-eu  created") && out.contains("globex-eu is Draft"), "{out}");
}

#[test]
fn must_gate_what_destroys_data() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let less = "kind: Tenant\ntenant_id: acme-eu\norganization_id: acme\nenvironments: [{name: prod}]\n";
    let less = shell.write("less.yaml", less).display().to_string();
    let said = shell.bad(&format!("apply -f {less}"), 1);
    assert!(said.contains("--allow remove-environment"), "{said}");
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/dev\nacme-eu/prod\n");
    shell.good(&format!("apply -f {less} --allow remove-environment"));
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/prod\n");
}
