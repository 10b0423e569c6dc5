//! Keys and `status`, from the creation of a key to its revocation.

use super::shell::{EXAMPLE, Ran, Shell};
use std::time::{Duration, Instant};

const OTHER: &str = "kind: Organization\norganization_id: globex\n---\n\
                     kind: Tenant\ntenant_id: globex-eu\norganization_id: globex\nregion: eu-west-1\n";

/// Maximum time until a use of a key is recorded; the server records uses every 10 seconds.
const RECORDED: Duration = Duration::from_secs(60);

/// The cells of a key in `key list`: KEY, NAME, ROLE, SCOPE, LAST USED, AGE, EXPIRES, REVOKED.
fn row(table: &str, name: &str) -> Vec<String> {
    let mut rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.find(|cells| cells.get(1).is_some_and(|cell| cell == name)).unwrap_or_else(|| panic!("no {name} in {table}"))
}

#[test]
fn must_create_list_rotate_and_revoke_keys_and_show_the_server() {
    let shell = Shell::new();
    let other = shell.write("other.yaml", OTHER).display().to_string();
    let dev = shell.dev(&["--apply", EXAMPLE, "--apply", &other]);
    let url = dev.url();
    let with = |token: &str, line: &str| -> Ran {
        let environment = [("TENANCY_URL", url.as_str()), ("TENANCY_TOKEN", token.trim())];
        shell.run_with(&line.split_whitespace().collect::<Vec<_>>(), &environment, None)
    };

    // A customer key reads and writes only what its scope and its role allow.
    let first = shell.good("key create acme-portal --role customer --organization acme -o name");
    assert_eq!(with(&first, "get tenants -o name").out, "acme-eu\nacme-us\n");
    assert_eq!(with(&first, "describe tenant globex-eu").code, 3);
    assert_eq!(with(&first, "set acme-eu display_name=Europe").code, 0);
    for refused in ["set acme-eu quotas.apiRateLimit=1", "suspend acme-eu --reason x", "key list"] {
        let ran = with(&first, refused);
        assert_eq!(ran.code, 5, "{refused}: {ran:?}");
    }
    assert_eq!(shell.run("key create nameless --role customer").code, 2, "a customer key needs a scope");

    let table = shell.good("key list");
    assert!(table.starts_with("KEY ") && table.contains("SCOPE") && table.contains("LAST USED"), "{table}");
    assert_eq!(row(&table, "acme-portal")[2..4], ["customer", "organization:acme"]);

    // After a rotation, both tokens work during the overlap.
    let second = shell.good("key rotate acme-portal --overlap 1h -o name");
    assert_ne!(first, second);
    for token in [&first, &second] {
        assert_eq!(with(token, "get tenants -o name").code, 0);
    }
    assert!(shell.good("key list -o wide").contains("PREVIOUS TOKEN"));
    assert!(shell.good("describe key acme-portal").contains("previous token  in 60m"));
    let third = shell.good("key rotate acme-portal --overlap 0s -o name");
    for (token, code) in [(&first, 5), (&second, 5), (&third, 0)] {
        assert_eq!(with(token, "get tenants -o name").code, code);
    }

    // A revocation with children covers the keys that the key created, and no others.
    let parent = shell.good("key create parent --role admin -o name");
    let child = with(&parent, "key create child --role viewer -o name").out;
    assert_eq!(with(&child, "get tenants -o name").code, 0);
    assert!(shell.good("key revoke parent --with-children").contains("is revoked"));
    for (token, code) in [(&parent, 5), (&child, 5), (&third, 0)] {
        assert_eq!(with(token, "get tenants -o name").code, code);
    }
    let table = shell.good("key list");
    assert!(row(&table, "parent")[7] != "-" && row(&table, "child")[7] != "-", "{table}");
    assert_eq!(row(&table, "acme-portal")[7], "-");

    // The last admin key is revoked only if that is confirmed, and the message names the way back.
    let mut names = table.lines().filter_map(|line| line.split_whitespace().nth(1));
    let own = names.find(|name| name.starts_with("dev-")).expect("the key of dev");
    let refused = shell.bad(&format!("key revoke {own}"), 1);
    assert!(refused.contains("last admin key") && refused.contains("--yes") && refused.contains("db key"), "{refused}");
    shell.good("key list");

    let status = shell.good("status");
    let background = status.lines().find(|line| line.starts_with("background")).unwrap_or_default();
    assert!(background.ends_with(" loops, no errors"), "{status}");
    let status = with(&third, "status").out;
    assert!(status.contains("customer, scope organization:acme") && !status.contains("background"), "{status}");

    let begun = Instant::now();
    while row(&shell.good("key list"), "acme-portal")[4] == "-" {
        assert!(begun.elapsed() < RECORDED, "the use of the key is not recorded");
        std::thread::sleep(Duration::from_millis(100));
    }
}
