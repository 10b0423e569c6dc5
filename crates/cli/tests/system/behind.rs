//! A database that lacks migrations of this release, and the serving role.

use super::place::{On, Place, shared};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use tenancy_testkit::Database;

#[test]
fn must_say_what_to_run_when_migrations_are_missing() {
    let place = Place::bare(Some(shared().database("behind").url()));
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["db", "check"], &["db", "key", "ops"]] {
        let ran = place.run(arguments);
        assert_ne!(ran.code, 0, "{arguments:?}");
        assert!(ran.err.contains("db migrate"), "{arguments:?}: {}", ran.err);
    }
    let sql = place.good(&["db", "migrate", "--dry-run"]);
    assert!(sql.contains("CREATE TABLE tenants"), "{sql}");
    assert_eq!(place.run(&["db", "check"]).code, 1, "a dry run changes nothing");
    // The printed SQL has the same effect.
    let database = shared().database("by_hand");
    let by_hand = Place::bare(Some(database.url()));
    std::fs::write(by_hand.path("what.sql"), sql).expect("written");
    let mut psql = by_hand.like(std::process::Command::new(shared().program("psql")));
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-f", "what.sql", &database.url()]);
    assert!(psql.status().expect("psql").success());
    by_hand.good(&["db", "check"]);
    assert_eq!(by_hand.good(&["db", "migrate", "--dry-run"]), "-- no pending migrations\n");
    assert!(by_hand.good(&["db", "migrate"]).contains("no pending migrations"));
    // Two at once: one migrates, one waits.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| place.good(&["db", "migrate"]));
        }
    });
    assert!(place.good(&["db", "migrate"]).contains("no pending migrations"));
    place.good(&["db", "check"]);
    place.serve().stop();
}

#[test]
fn must_migrate_an_embedded_database_automatically() {
    let place = Place::bare(None);
    place.serve().stop();
    place.good(&["db", "check"]);
    let gone = place.good(&["db", "expire-log", "--before", "2020-01"]);
    assert_eq!(gone, "removed from the audit log before 2020-01: 0 events\n");
    // `serve` has used the database, so `dev` refuses it.
    assert_eq!(place.run(&["dev", "--listen", "127.0.0.1:0"]).code, 1);
    let again = Place::new(On::Sqlite);
    let running = again.serve();
    let said = again.run(&["db", "migrate"]);
    assert!(said.code != 0 && said.err.contains(&format!("process {}", running.pid())), "{}", said.err);
    // Commands that only read do not need the file lock.
    again.good(&["db", "check"]);
    assert_eq!(again.good(&["db", "migrate", "--dry-run"]), "-- no pending migrations\n");
    running.stop();
}

#[test]
fn must_serve_as_a_role_that_cannot_change_the_log() {
    let postgres = shared();
    let database = postgres.database("roles");
    // Roles belong to the whole cluster, so the name must be unique.
    let role = format!("serving_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN"));
    let owner = Place::on(&database);
    let said = owner.good(&["db", "migrate", "--serve-role", &role]);
    assert!(said.contains(&role), "{said}");
    let server = owner.through(database.url_as(&role)).serve();
    let mut client = server.client();
    client.get("/readyz").ok(200);
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    let tenant = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1",
        "desired_state": "Active", "environments": [{"name": "prod"}]});
    client.post("/v1/tenants", tenant).ok(201);
    until("its jobs end", PATIENCE, || {
        (client.get("/v1/tenants/acme-eu").ok(200).body["state"] == "Active").then_some(())
    });
    client.post("/v1/keys", json!({"name": "more", "role": "viewer"})).ok(201);
    let before = database.value("SELECT count(*) FROM tenant_audit");
    for sql in [
        "UPDATE tenant_audit SET actor = 'nobody'",
        "DELETE FROM tenant_audit",
        "TRUNCATE tenant_audit",
        "DELETE FROM platform_audit",
        "DELETE FROM log_batches",
        "DROP TABLE tenant_audit",
        "ALTER TABLE tenant_audit DISABLE TRIGGER ALL",
        "CREATE TABLE mine (a integer)",
    ] {
        // psql as the role shows the error of the database.
        let psql = std::process::Command::new(postgres.program("psql"))
            .args(["-X", "-c", sql, &database.url_as(&role)])
            .output()
            .expect("psql");
        assert!(!psql.status.success(), "{sql}: {psql:?}");
    }
    assert_eq!(database.value("SELECT count(*) FROM tenant_audit"), before);

    must_name_what_the_role_forges(&owner, &server, &database, &role);

    // Only the owner can remove expired events. It can do so while servers run, and the log records it.
    database.execute("SELECT log_add_partition('tenant_audit_2019_12')");
    let expire = ["db", "expire-log", "--before", "2020-01"];
    let refused = owner.through(database.url_as(&role)).run(&expire);
    assert!(refused.code != 0 && refused.err.contains("permission denied"), "{refused:?}");
    let recorded = || database.value("SELECT count(*) FROM platform_audit WHERE event_type = 'AUDIT_LOG_EXPIRED'");
    assert_eq!(recorded(), "0");
    assert_eq!(owner.good(&expire), "removed from the audit log before 2020-01: 1 monthly partition\n");
    assert_eq!(
        (recorded().as_str(), database.value("SELECT to_regclass('tenant_audit_2019_12') IS NULL").as_str()),
        ("1", "t")
    );
    assert_eq!(owner.good(&expire), "removed from the audit log before 2020-01: 0 monthly partitions\n");
    assert_eq!(recorded(), "2", "also when nothing was removed");
    assert_eq!(owner.run(&["db", "expire-log", "--before", "2999-01"]).code, 1);
    assert_eq!(owner.run(&["db", "expire-log", "--before", "soon"]).code, 2);
    server.assert_no_errors();
    server.stop();
}

/// The serving role can insert events; the verification names one that it inserted behind a seal.
fn must_name_what_the_role_forges(owner: &Place, server: &Server, database: &Database, role: &str) {
    let mut client = server.client();
    until("the log is sealed", PATIENCE, || {
        let found = client.get("/v1/audit/verification").ok(200).body;
        (found["sealed_position"] == found["position"]).then_some(())
    });
    let url = format!("http://{}", server.address());
    let verify = || {
        let mut command = owner.command(&["audit", "verify"]);
        command.env("TENANCY_URL", &url).env("TENANCY_TOKEN", owner.token());
        let ended = command.output().expect("ended");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    assert_eq!(verify(), (Some(0), String::new()));
    let forge = |sql: &str| database.execute(&format!("SET ROLE {role}; {sql}"));
    forge(
        "INSERT INTO tenant_audit SELECT substr(audit_id, 1, 35) || 'z', tenant_id, event_type, event_version, \
           'user:mallory', on_behalf_of, payload, correlation_id, occurred_at, position FROM tenant_audit LIMIT 1",
    );
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains("z at position") && said.contains("(inserted)"), "{code:?} {said}");
    database.execute("SET session_replication_role = replica; DELETE FROM tenant_audit WHERE audit_id LIKE '%z'");
    assert_eq!(verify().0, Some(0));
}
