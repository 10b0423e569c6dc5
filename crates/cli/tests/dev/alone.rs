//! Commands that need no server.

use super::shell::{EXAMPLE, Shell, mode};

#[test]
fn must_say_how_to_start_a_server_when_none_is_known() {
    let shell = Shell::new();
    let said = shell.bad("get tenants", 8);
    assert!(said.contains("no server is configured") && said.contains("tenancy dev\n"), "{said}");
    // The suggested command can be pasted. It has a path because this binary is not on PATH.
    let next = said.lines().find_map(|line| line.strip_prefix("next: ")).expect("a next command");
    assert!(next.ends_with("/tenancy dev") && next.starts_with('/'), "{next}");
}

#[test]
fn must_say_that_no_server_answers() {
    let said = Shell::new().bad("get tenants --url http://127.0.0.1:1 --token x", 8);
    assert!(said.contains("no server answers at http://127.0.0.1:1"), "{said}");
}

#[test]
fn must_say_why_a_database_cannot_be_reached() {
    let shell = Shell::new();
    for line in ["serve", "dev", "db migrate", "db check", "db key x", "db expire-log --before 2025-01"] {
        let said = shell.bad(&format!("{line} --database postgres://u:zz-secret@127.0.0.1:5/t"), 8);
        assert!(said.contains("127.0.0.1:5: connection refused") && !said.contains("zz-secret"), "{line}: {said}");
    }
}

#[test]
fn must_warn_that_no_key_exists() {
    let shell = Shell::new();
    let (server, begun) = (shell.serve(&[]), std::time::Instant::now());
    let mut said = server.said();
    while !said.contains("db key NAME") {
        assert!(begun.elapsed().as_secs() < 60, "{said}");
        said += &server.said();
    }
    assert!(said.contains("no key exists") && said.contains("stop this server"), "{said}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn must_end_with_2_for_an_invalid_command_line() {
    let shell = Shell::new();
    for line in ["context add a/b http://h", "context add ok nonsense", "get tenants --context a --url http://h"] {
        assert_eq!(shell.run(line).code, 2, "{line}");
    }
    let ran = shell.run_with(&["get", "tenants", "--url", "http://127.0.0.1:1", "--token", "a\nb"], &[], None);
    assert!(ran.code == 2 && ran.err.contains("the token contains"), "{ran:?}");
    for line in ["", "get", "get nonsense", "suspend acme-eu", "apply", "--nonsense", "get tenants --url nonsense"] {
        assert_eq!(shell.run(line).code, 2, "{line}");
    }
}

#[test]
fn must_help_without_a_server() {
    let shell = Shell::new();
    assert_eq!(shell.good("--version"), format!("tenancy {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(shell.good("example"), std::fs::read_to_string(EXAMPLE).expect("the example"));
    assert!(shell.good("explain tenant.quotas").contains("apiRateLimit"));
    assert!(shell.bad("explain tenant.quota", 3).contains("did you mean tenant.quotas?"));
    for name in ["bash", "zsh", "fish"] {
        assert!(shell.good(&format!("completions {name}")).contains("tenancy"));
    }
    assert!(shell.good("suspend --help").contains("Examples:"));
    assert!(shell.good("help suspend").contains("Examples:"));
    assert!(shell.good("apply --help").contains("remove-environment"), "the kinds that can be allowed");
    assert!(shell.good("explain tenant.policies -o name").contains("tenant.policies.retentionDays\n"));
}

#[test]
fn must_restrict_contexts_to_their_owner() {
    let shell = Shell::new();
    let add = ["context", "add", "prod", "https://tenancy.example.com", "--no-check"];
    assert_eq!(shell.run_with(&add, &[("TENANCY_TOKEN", "tnc_secret")], None).code, 0);
    assert_eq!(mode(&shell.path(".config/tenancy/config.toml")), 0o600);
    let list = shell.good("context list");
    assert!(list.contains("* prod") && !list.contains("tnc_secret"), "{list}");
    assert!(shell.bad("context use prdo", 3).contains("did you mean \"prod\"?"));
    let elsewhere = shell.path("elsewhere/config.toml");
    let place = [("TENANCY_CONFIG", elsewhere.to_str().expect("a path"))];
    assert_eq!(shell.run_with(&add, &place, None).code, 0);
    assert_eq!(mode(&elsewhere), 0o600);
}

#[test]
fn must_not_fail_when_the_reader_closes_the_pipe() {
    let shell = Shell::new();
    let program = env!("CARGO_BIN_EXE_tenancy");
    let line = format!("set -o pipefail; '{program}' completions bash | head -c 1");
    let status = std::process::Command::new("bash").args(["-c", &line]).output().expect("bash");
    assert!(status.status.success() && status.stderr.is_empty(), "{status:?} {}", shell.path("").display());
}

#[test]
fn must_say_when_something_else_answers() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    let shell = Shell::new();
    for line in ["status", "get tenants", "describe tenant acme-eu"] {
        let said = shell.bad(&format!("{line} --url {url} --token x"), 8);
        assert!(said.contains(&format!("not a Tenancy server: {url}")), "{said}");
    }
}
