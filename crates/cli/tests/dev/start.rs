//! `dev`: first and later starts.

use super::shell::{EXAMPLE, Shell, mode};
use tenancy_testkit::Postgres;

fn key(shell: &Shell) -> String {
    let text = std::fs::read_to_string(shell.path(".tenancy/client.toml")).expect("client.toml");
    text.lines().find(|line| line.starts_with("key")).expect("a key").to_owned()
}

#[test]
fn must_show_the_example_and_keep_its_data() {
    show_and_keep(&["--apply", EXAMPLE]);
}

#[test]
fn must_show_the_example_and_keep_its_data_on_postgres() {
    let url = Postgres::shared().database("dev").url();
    show_and_keep(&["--apply", EXAMPLE, "--database", &url]);
}

fn show_and_keep(arguments: &[&str]) {
    let shell = Shell::new();
    let dev = shell.dev(arguments);
    for row in ["organization  acme     created", "tenant        acme-eu  created", "tenant        acme-us  created"] {
        assert!(dev.shown.contains(row), "{row}\n{}", dev.shown);
    }
    for row in [
        "TENANT   STATE   DESIRED  ENVIRONMENTS  REGION     PROFILE",
        "acme-eu  Active  Active   dev, prod     eu-west-1  mt-standard",
        "acme-us  Active  Active   prod          us-east-1  st-dedicated",
    ] {
        assert!(dev.shown.contains(row), "{row}\n{}", dev.shown);
    }
    shell.good("suspend acme-eu --hold billing --reason late");
    let made = key(&shell);
    assert_eq!(mode(&shell.path(".tenancy")), 0o700);
    assert_eq!(mode(&shell.path(".tenancy/client.toml")), 0o600);
    assert_eq!(mode(&shell.path(".config/tenancy/config.toml")), 0o600);
    assert_eq!(std::fs::read_to_string(shell.path(".tenancy/.gitignore")).expect("ignored"), "*\n");
    assert_eq!(dev.stop(), 0);

    let dev = shell.dev(arguments);
    for row in [
        "organization  acme     unchanged",
        "tenant        acme-eu  unchanged",
        "tenant        acme-us  unchanged",
        "held by billing",
    ] {
        assert!(dev.shown.contains(row), "{row}\n{}", dev.shown);
    }
    assert_eq!(key(&shell), made, "the key is created once");
    assert_eq!(shell.good("key list -o name").lines().count(), 1);
    assert_eq!(dev.stop(), 0);
    assert!(shell.bad("get tenants", 8).contains("no server answers at"), "after the stop");
}

#[test]
fn must_print_commands_that_can_be_pasted() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    let commands: Vec<_> =
        dev.shown.lines().skip_while(|line| !line.starts_with("Next steps")).skip(1).take(3).collect();
    assert_eq!(commands.len(), 3, "{}", dev.shown);
    for line in commands {
        let mut shell_command = std::process::Command::new("bash");
        shell_command.args(["-c", line.trim()]).current_dir(shell.path("")).env("HOME", shell.path(""));
        let output = shell_command.env_remove("TENANCY_CONFIG").env_remove("XDG_CONFIG_HOME").output().expect("bash");
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

#[test]
fn must_stop_and_say_why_when_a_manifest_is_refused() {
    let shell = Shell::new();
    let file = shell.write("bad.yaml", "kind: Tenant\ntenant_id: acme-eu\norganization_id: acme\nregion: eu-wset-1\n");
    let said = shell.bad(&format!("dev --listen 127.0.0.1:0 --apply {}", file.display()), 1);
    assert!(said.contains("Tenant acme-eu /region:") && said.contains("eu-west-1"), "{said}");
    let said = shell.bad("dev --listen 127.0.0.1:0 --apply none.yaml", 1);
    assert!(said.contains("cannot read none.yaml"), "{said}");
    assert_eq!(shell.run("dev --listen nonsense").code, 2);
}

#[test]
fn must_name_the_process_that_has_the_database_or_the_port() {
    let shell = Shell::new();
    let dev = shell.dev(&[]);
    let ran = shell.run("dev --listen 127.0.0.1:0");
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("process") && ran.err.contains("status --data-dir .tenancy"), "{}", ran.err);
    let address = dev.url().replace("http://", "");
    let said = shell.bad(&format!("dev --data-dir other --listen {address}"), 1);
    assert!(said.contains(&format!("{address} is in use by another process")), "{said}");
    assert!(said.contains("dev --data-dir other --listen 127.0.0.1:0"), "{said}");
}

#[test]
fn must_not_replace_the_current_context() {
    let shell = Shell::new();
    shell.good("context add prod http://127.0.0.1:1 --no-check");
    let dev = shell.dev(&["--apply", EXAMPLE]);
    assert!(dev.shown.contains("describe tenant acme-eu --context dev"), "{}", dev.shown);
    assert_eq!(shell.run("get tenants").code, 8, "that is prod");
    assert_eq!(shell.good("get tenants -o name --context dev"), "acme-eu\nacme-us\n");
    // TENANCY_URL overrides the current context; an option overrides TENANCY_URL.
    let url = dev.url();
    let environment = [("TENANCY_URL", url.as_str())];
    assert_eq!(shell.run_with(&["get", "tenants"], &environment, None).code, 5, "there is no key for it");
    assert_eq!(shell.run_with(&["get", "tenants", "--context", "prod"], &environment, None).code, 8);
    shell.good("context use dev");
    shell.good("get tenants");
}

#[test]
fn must_refuse_a_database_that_serve_has_used() {
    let shell = Shell::new();
    assert_eq!(shell.serve(&[]).stop(), 0);
    assert!(
        shell.bad("dev --listen 127.0.0.1:0", 1).contains("dev --data-dir .tenancy-dev starts with another database")
    );
}

#[test]
fn must_be_found_by_its_data_directory() {
    let shell = Shell::new();
    let _first = shell.dev(&["--data-dir", "a", "--apply", EXAMPLE]);
    let second = shell.dev(&["--data-dir", "b"]);
    assert_eq!(shell.good("get tenants -o name --data-dir a"), "acme-eu\nacme-us\n");
    assert_eq!(shell.good("--data-dir a get tenants -o name"), "acme-eu\nacme-us\n");
    // The context stays with the first server. The second one prints the option that selects it.
    assert_eq!(shell.good("get tenants -o name"), "acme-eu\nacme-us\n");
    assert!(second.shown.contains("apply -f acme.yaml --data-dir b\n"), "{}", second.shown);
}

#[test]
fn must_keep_the_context_of_a_running_server_and_replace_that_of_a_stopped_one() {
    let shell = Shell::new();
    let first = shell.dev(&["--data-dir", "a", "--apply", EXAMPLE]);
    let bad = shell.write("bad.yaml", "kind: Tenant\ntenant_id: acme-eu\norganization_id: none\nregion: eu-wset-1\n");
    shell.bad(&format!("dev --data-dir b --listen 127.0.0.1:0 --apply {}", bad.display()), 1);
    assert_eq!(shell.good("get tenants -o name"), "acme-eu\nacme-us\n");
    assert_eq!(first.stop(), 0);
    shell.bad(&format!("dev --data-dir b --listen 127.0.0.1:0 --apply {}", bad.display()), 1);
    assert!(shell.bad("get tenants", 8).contains("context dev"), "a refused start does not change the context");
    let second = shell.dev(&["--data-dir", "b"]);
    assert!(second.shown.contains("get tenants\n"), "{}", second.shown);
    assert_eq!(shell.good("get tenants -o name"), "");
}
