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
    shell.good("set acme-eu labels.count=\"5\"");
    assert!(
        shell.good("get tenant acme-eu -o yaml").contains("count: \"5\"\n"),
        "a text as JSON writes it is that text"
    );
    shell.good("set acme-eu labels.count=null");
    assert!(shell.good("audit --tenant acme-eu").contains("labels.count cleared"));

    let unchanged = shell.good("rollback acme-eu 6 --yes -o json");
    assert!(unchanged.contains("\"tenant_id\": \"acme-eu\""), "{unchanged}");
    assert!(shell.bad("rollback acme-eu 99", 3).contains("get versions acme-eu\n"));
    let ran = shell.run("rollback acme-eu 1 --yes");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("~ quotas.apiRateLimit: 300 -> 200"), "{ran:?}");
    assert_eq!(shell.run(&format!("plan -f {EXAMPLE} --exit-code")).code, 0);
}

#[test]
fn must_export_manifests_that_change_nothing_when_applied() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    for format in ["yaml", "json"] {
        let all = shell.good(&format!("export -o {format}"));
        let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&all));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.out, "3 unchanged\n", "{ran:?}");
        let verbose = shell.run_with(&["apply", "-v", "-f", "-"], &[], Some(&all));
        assert_eq!(verbose.out.matches("unchanged\n").count(), 4, "{verbose:?}");
    }
    let one = shell.good("export acme-eu");
    assert!(one.starts_with("kind: Tenant\ntenant_id: acme-eu\n") && !one.contains("version"), "{one}");
}

#[test]
fn must_apply_a_directory_completely_or_not_at_all() {
    let shell = Shell::new();
    let _dev = shell.dev(&[]);
    std::fs::create_dir(shell.path("tenants")).expect("made");
    shell.write("tenants/1.yaml", "kind: Organization\norganization_id: globex\n");
    shell.write(
        "tenants/2.yaml",
        "kind: Tenant\ntenant_id: globex-eu\norganization_id: globex\nregion: eu-west-1\nregoin: x\n",
    );
    let said = shell.bad("apply -f tenants", 1);
    assert!(said.contains("tenants/2.yaml:5: Tenant globex-eu /regoin: ") && said.contains("region"), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(shell.good("get organizations -o name"), "", "nothing is written");
    shell.write("tenants/2.yaml", "kind: Tenant\ntenant_id: globex-eu\norganization_id: globex\nregion: eu-west-1\n");
    let out = shell.good("apply -f tenants");
    assert!(out.contains("globex-eu  created") && out.contains("globex-eu is Draft"), "{out}");
}

#[test]
fn must_require_confirmation_to_destroy_data() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let less = "kind: Tenant\ntenant_id: acme-eu\norganization_id: acme\nenvironments: [{name: prod}]\n";
    let less = shell.write("less.yaml", less).display().to_string();
    let said = shell.bad(&format!("apply -f {less}"), 1);
    assert!(said.contains("--allow remove-environment"), "{said}");
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/dev\nacme-eu/prod\n");
    let said = shell.bad(&format!("apply -f {less} --allow remove-enviroment"), 2);
    assert!(said.contains("'remove-environment'"), "{said}");
    shell.good(&format!("apply -f {less} --allow remove-environment"));
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/prod\n");
}

#[test]
fn must_judge_a_large_file_as_a_whole() {
    let shell = Shell::new();
    let _dev = shell.dev(&[]);
    // Tenants before their organization, and more than one MiB of them.
    let note = "x".repeat(15_000);
    let tenant = |index: usize| {
        format!(
            "kind: Tenant\ntenant_id: t-{index:02}\norganization_id: acme\nregion: eu-west-1\nbilling: {{note: {note}}}\n---\n"
        )
    };
    let tenants: String = (0..75).map(tenant).collect();
    let all = format!("{tenants}kind: Organization\norganization_id: acme\n");
    assert!(all.len() > 1024 * 1024);
    let bad = all.replace("t-74\n", "t-74\nregoin: x\n");
    let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&bad));
    assert!(ran.code == 1 && ran.err.contains("Tenant t-74 /regoin"), "{ran:?}");
    assert_eq!(shell.good("get organizations -o name"), "", "all is checked before anything is written");
    let ran = shell.run_with(&["plan", "-f", "-", "-o", "name"], &[], Some(&all));
    assert_eq!((ran.code, ran.out.lines().count(), ran.out.lines().last()), (0, 76, Some("acme")), "{ran:?}");
    let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&all));
    assert_eq!((ran.code, ran.out.matches("created").count()), (0, 77), "{ran:?}");
    assert!(ran.out.contains("\n76 created\n"), "{ran:?}");
    let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&shell.good("export")));
    assert_eq!((ran.code, ran.out.as_str()), (0, "76 unchanged\n"), "{ran:?}");
}

#[test]
fn must_write_nothing_of_a_refused_file_and_the_rest_of_it_with_partial() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let file = "kind: Tenant\ntenant_id: acme-eu\nlabels: {}\nquotas: {storageGiB: 500}\n---\n\
                kind: Organization\norganization_id: globex\n";
    shell.write("file.yaml", file);
    for verb in ["plan", "apply"] {
        let ran = shell.run(&format!("{verb} -f file.yaml"));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("would be refused  --allow remove-quota\n"), "{ran:?}");
        assert!(ran.out.contains("- labels.tier: ") && ran.out.contains("globex   to be created\n"), "{ran:?}");
        assert!(ran.out.ends_with("1 to create, 1 refused\n"), "{ran:?}");
        assert!(ran.err.contains("file.yaml:4: Tenant acme-eu /quotas/apiRateLimit: removes quota"), "{ran:?}");
        assert!(ran.err.contains("next: to confirm, run the command again with --allow remove-quota\n"), "{ran:?}");
        assert_eq!(shell.good("get organizations -o name"), "acme\n");
    }
    let ran = shell.run("apply -f file.yaml --partial");
    assert!(ran.code == 1 && ran.out.contains("1 created, 1 refused"), "{ran:?}");
    assert_eq!(shell.good("get organizations -o name"), "acme\nglobex\n");
    let out = shell.good("apply -f file.yaml --allow remove-quota");
    assert!(out.contains("- quotas.apiRateLimit: 200\n") && out.contains("1 changed, "), "{out}");
}

#[test]
fn must_name_what_an_export_leaves_out_and_keep_held_tenants_out_of_service() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    shell.good("suspend acme-eu --hold billing --reason unpaid");
    let ran = shell.run("export");
    assert!(ran.err.contains("left out: holds on (1) acme-eu (billing)"), "{ran:?}");
    assert!(!ran.out.contains("desired_state: Suspended"), "{ran:?}");
    assert!(shell.good("export acme-eu --portable").contains("desired_state: Suspended\n"));
    shell.good("delete acme-eu --yes");
    let ran = shell.run("export");
    assert!(ran.err.contains("left out: archived tenants (1) acme-eu"), "{ran:?}");
    // An apply says so even if it would change nothing.
    shell.write("archived.yaml", "kind: Tenant\ntenant_id: acme-eu\norganization_id: acme\n");
    let ran = shell.run("apply -f archived.yaml");
    assert!(ran.code == 1 && ran.err.contains("tenant acme-eu is Archived: undelete it"), "{ran:?}");
    let token = shell.good("key create reader --role viewer -o name");
    let environment = [("TENANCY_URL", dev.url()), ("TENANCY_TOKEN", token.trim().to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ran = shell.run_with(&["export"], &environment, None);
    assert!(ran.code == 5 && ran.err.contains("does not read every field in full"), "{ran:?}");
}

#[test]
fn must_name_the_place_of_a_syntax_error() {
    let shell = Shell::new();
    let _dev = shell.dev(&[]);
    shell.write("bad.yaml", "kind: Tenant\ntenant_id: a\n---\nkind: Tenant\nkind: Tenant\n");
    for verb in ["plan", "apply"] {
        let said = shell.bad(&format!("{verb} -f bad.yaml"), 1);
        assert_eq!(said, "error: bad.yaml:5:1: the key \"kind\" occurs twice; remove one\n");
    }
    let said = shell.bad("plan -f bda.yaml", 1);
    assert!(said.contains("next: did you mean bad.yaml?"), "{said}");
}

#[test]
fn must_refuse_an_outdated_version_in_a_manifest() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let old = shell.good("export acme-eu") + "version: 7\n";
    let ran = shell.run_with(&["apply", "-f", "-"], &[], Some(&old));
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("acme-eu: the document is based on version 7, but the current version is 1"), "{ran:?}");
}
