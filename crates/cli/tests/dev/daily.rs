//! Commands of daily work: create, edit, delete, filters, and what a server without workers says.

use super::shell::{EXAMPLE, Shell};

#[test]
fn must_find_a_tenant_by_an_alias_with_slashes_in_every_command() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    shell.good("set acme-eu aliases.github=acme/web");
    let name = "github:acme/web";
    for line in ["describe tenant", "get environments", "get jobs", "get versions", "get webhooks", "logs", "wait"] {
        shell.good(&format!("{line} {name}"));
    }
    assert_eq!(shell.good(&format!("get environments {name}/dev -o name")), "acme-eu/dev\n");
    assert!(shell.good(&format!("describe environment {name}/dev")).contains("acme-eu/dev"));
    assert!(shell.good(&format!("describe webhook {name}/main")).contains("https://"));
    shell.good(&format!("set {name} labels.a=b"));
    shell.good(&format!("set {name}/dev retention_days=40"));
    assert!(shell.good(&format!("suspend {name} --reason r")).contains("acme-eu is Suspended"));
    shell.good(&format!("activate {name}"));
    assert!(shell.bad("describe tenant github:acme/wbe", 3).contains("\"github:acme/wbe\""));
}

#[test]
fn must_filter_by_several_labels_and_states() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    shell.good("set acme-eu labels.tier=gold labels.env=prod");
    shell.good("suspend acme-us --reason r");
    for line in ["-l tier=gold,env=prod", "-l tier==gold -l env=prod", "--state Active"] {
        assert_eq!(shell.good(&format!("get tenants {line} -o name")), "acme-eu\n", "{line}");
    }
    for states in ["--state Active,Suspended", "--state Active --state Suspended"] {
        assert_eq!(shell.good(&format!("get tenants {states} -o name")), "acme-eu\nacme-us\n", "{states}");
    }
    shell.bad("get tenants --state Active,Suspnded", 2);
    shell.bad("get tenants -l tier", 2);
    let all = shell.good("get environments -o name");
    assert!(all.contains("acme-eu/prod\n") && all.contains("acme-us/"), "{all}");
    assert!(!shell.good("get environments -l tier=gold -o name").contains("acme-us/"));
    let keys = shell.good("key list");
    let name = keys.split_whitespace().find(|word| word.starts_with("dev-")).expect("the key of the dev server");
    let log = shell.good(&format!("audit --organization acme --actor {name} --type TENANCY_HOLD_PLACED"));
    assert!(log.contains("acme-us"), "{log}");
    assert_eq!(shell.good("audit --actor system:nobody"), "");
    assert_eq!(shell.good("audit --organization other -o name"), "");
}

#[test]
fn must_create_change_and_delete_without_a_manifest() {
    let shell = Shell::new();
    let _dev = shell.dev(&[]);
    shell.good("create organization acme --cap tenants=2 -l tier=gold");
    let ran = shell.run("create tenant acme-eu --organization acme --region eu-west-1 --environment dev,prod");
    assert!(ran.code == 0 && ran.out == "acme-eu is Draft\n", "{ran:?}");
    assert!(ran.err.contains("no desired_state") && ran.err.contains("set acme-eu desired_state=Active"), "{ran:?}");
    shell.bad("create tenant acme-eu --organization acme --region eu-west-1", 4);
    let said = shell.bad("create tenant acme-us --organization acme --region us-nowhere-1", 2);
    assert!(said.starts_with("error: --region"), "{said}");
    let made =
        "create tenant acme-us --organization acme --region eu-west-1 --desired-state Active --quota storageGiB=5";
    assert_eq!(shell.good(made), "acme-us is Active\n");
    assert!(shell.good("set organization acme caps.tenants=5").contains("version 2"));
    assert!(shell.good("get organizations -o wide").contains("tenants=5"));

    assert!(shell.bad("delete environment acme-eu/dev", 2).contains("cannot be restored"));
    let said = shell.bad("delete environment acme-eu/dev --yes", 1);
    assert!(said.contains("--allow remove-environment"), "{said}");
    let said = shell.good("delete environment acme-eu/dev --yes --allow remove-environment");
    assert!(said.starts_with("acme-eu/dev is removed\n"), "{said}");
    assert_eq!(shell.good("get environments acme-eu -o name"), "acme-eu/prod\n");
    assert!(shell.bad("delete organization acme", 2).contains("needs --yes"));
    assert_eq!(shell.good("delete organization acme --yes"), "organization acme is closed\n");
}

#[test]
fn must_write_what_the_editor_changed_unless_the_tenant_was_changed_meanwhile() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let edit = |editor: &str| shell.run_with(&["edit", "acme-eu"], &[("EDITOR", editor)], None);
    let ran = edit("sed -i s/display_name:.*/display_name:\\ Edited/");
    assert!(ran.code == 0 && ran.err.contains("display_name"), "{ran:?}");
    assert!(shell.good("describe tenant acme-eu").contains("Edited"));
    let ran = edit("true");
    assert!(ran.code == 0 && ran.out == "unchanged\n", "{ran:?}");
    assert_eq!(edit("false").code, 1);

    let refused = edit("sed -i s/^region:.*/region:\\ nowhere/");
    let kept = refused.err.lines().find_map(|line| line.trim().strip_prefix("the edited file is kept: "));
    let kept = kept.unwrap_or_else(|| panic!("{refused:?}"));
    assert!(std::fs::read_to_string(kept).expect("kept").contains("nowhere"));
    std::fs::remove_dir_all(std::path::Path::new(kept).parent().expect("a directory")).expect("removed");

    let program = env!("CARGO_BIN_EXE_tenancy");
    let slow = shell.write(
        "slow.sh",
        &format!("{program} set acme-eu labels.other=1 >&2\necho 'x: ' > /dev/null\nsed -i s/Edited/Late/ \"$1\"\n"),
    );
    let ran = edit(&format!("sh {}", slow.display()));
    assert!(ran.code == 4 && ran.err.contains("kept"), "{ran:?}");
    assert!(shell.good("describe tenant acme-eu").contains("Edited"));
}

#[test]
fn must_complete_names_of_tenants_contexts_and_holds() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    assert_eq!(shell.good("__complete -- acme-e describe tenant"), "acme-eu\n");
    assert_eq!(shell.good("__complete -- b suspend acme-eu --hold"), "billing\n");
    assert_eq!(shell.good("__complete -- d get tenants --context"), "dev\n");
    assert_eq!(shell.good("__complete -- a set organization"), "acme\n");
    assert_eq!(shell.run("__complete -- x apply -f").out, "");
    let program = env!("CARGO_BIN_EXE_tenancy");
    let script = shell.write("completions.bash", &shell.good("completions bash"));
    let completed = format!(
        "source {}; COMP_WORDS=({program} suspend acme-); COMP_CWORD=2; \
         _tenancy_names {program} acme- suspend; printf '%s,' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", &completed]).current_dir(shell.path("")).env("HOME", shell.path(""));
    let said = bash.env_remove("TENANCY_URL").output().expect("bash");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("acme-eu,acme-us,"), "{said}");
}

#[test]
fn must_say_that_no_process_works_jobs() {
    let shell = Shell::new();
    shell.good("db migrate");
    let token = shell.good("db key admin");
    let config = shell.write("idle.toml", "[jobs]\nenabled = false\n");
    let idle = shell.serve(&["--config", config.to_str().expect("UTF-8")]);
    let url = idle.url();
    let environment = [("TENANCY_URL", url.as_str()), ("TENANCY_TOKEN", token.trim())];
    let run = |line: &str| shell.run_with(&line.split_whitespace().collect::<Vec<_>>(), &environment, None);
    assert_eq!(run(&format!("apply -f {EXAMPLE} --no-wait")).code, 0);
    let why = "no process works jobs (jobs.enabled)";
    let waited = run("wait acme-eu --timeout 10");
    assert!(
        waited.code == 7 && waited.err.lines().any(|line| line.contains("error") && line.contains(why)),
        "{waited:?}"
    );
    for line in ["describe tenant acme-eu", "get jobs", "status"] {
        let ran = run(line);
        assert!(ran.out.contains(why), "{line}: {ran:?}");
    }
}
