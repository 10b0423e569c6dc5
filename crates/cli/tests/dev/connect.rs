//! `connect`: opens the file of an environment with sqlite3.

use super::shell::{EXAMPLE, Shell};

#[test]
fn must_open_an_environment_read_only_unless_full_access_is_asked_for() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let connect = |access: &str, sql: &str| {
        let command = ["connect", "acme-eu/dev", "--reason", "a test", "--access", access, "--", sql];
        shell.run_with(&command, &[], None)
    };
    let made = connect("full", "CREATE TABLE notes (text); INSERT INTO notes VALUES ('kept')");
    assert_eq!(made.code, 0, "{made:?}");
    let refused = connect("read-only", "INSERT INTO notes VALUES ('more')");
    assert!(refused.code != 0 && refused.err.contains("readonly"), "{refused:?}");
    assert_eq!(connect("read-only", "SELECT text FROM notes").out, "kept\n");
    // What another environment of the tenant has is another file.
    let other = shell.good("connect acme-eu/prod --reason test -- .tables");
    assert!(!other.contains("notes"), "{other}");

    shell.good("suspend acme-eu --reason r");
    let refused = shell.bad("connect acme-eu/dev --reason r", 1);
    assert!(refused.contains("must be Active"), "{refused}");
    shell.good("activate acme-eu");
    assert_eq!(connect("read-only", "SELECT text FROM notes").out, "kept\n", "the data is as it was");
    let log = shell.good("audit --tenant acme-eu --type ENVIRONMENT_CONNECTED -o name");
    assert_eq!(log.lines().count(), 5, "refused requests are not recorded: {log}");
}

#[test]
fn must_say_what_is_missing() {
    let shell = Shell::new();
    let _dev = shell.dev(&["--apply", EXAMPLE]);
    let error = shell.bad("connect acme-eu --reason r", 2);
    assert!(error.contains("TENANT/ENVIRONMENT"), "{error}");
    assert!(shell.bad("connect acme-eu/dev", 2).contains("--reason"));
    let nearest = shell.bad("connect acme-eu/prd --reason r", 3);
    assert!(nearest.contains("prod"), "{nearest}");
    let without = shell.run_with(&["connect", "acme-eu/dev", "--reason", "r"], &[("PATH", "")], None);
    assert!(without.code == 1 && without.err.contains("install sqlite3"), "{without:?}");
    let printed = shell.good("connect acme-eu/dev --reason r --print -o name");
    assert!(std::path::Path::new(printed.trim()).exists(), "{printed}");
    let page = shell.good("describe environment acme-eu/dev");
    assert!(page.contains("place        sqlite: env_"), "{page}");
    assert!(shell.good("status").contains("provisioner    sqlite"));
}
