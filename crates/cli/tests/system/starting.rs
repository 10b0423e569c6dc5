//! What the program says when it cannot start: the cause, the next step, and nothing secret.

use super::place::{On, Place, Ran, shared};
use tenancy_testkit::{Database, PgBouncer};

/// Exit codes.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;

/// Runs a command that must fail, with these variables.
#[track_caller]
fn refused(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = place.command(arguments);
    command.envs(variables.iter().copied());
    let output = command.output().expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
    assert_ne!(ran.code, 0, "{arguments:?}\n{}{}", ran.out, ran.err);
    assert!(!ran.err.contains("zz-secret") && !ran.out.contains("zz-secret"), "{}", ran.err);
    ran
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
}

#[test]
fn must_name_the_variable_the_line_and_the_scheme_that_are_wrong() {
    let place = Place::bare(None);
    let serve = |variables: &[(&str, &str)]| refused(&place, &["serve", "--listen", "127.0.0.1:0"], variables);
    says(&serve(&[("TENANCY_LOG", "debgu")]), USAGE, &["TENANCY_LOG", "\"debgu\"", "did you mean debug?"]);
    says(&serve(&[("TENANCY_LISTN", "x")]), USAGE, &["TENANCY_LISTN", "did you mean TENANCY_LISTEN?"]);
    says(&serve(&[("TENANCY_LIMITS_MAX_HEADERS", "many")]), USAGE, &["TENANCY_LIMITS_MAX_HEADERS", "\"many\""]);
    says(&serve(&[("TENANCY_DATABASE", "mysql://u:zz-secret@h/d")]), USAGE, &["\"mysql\"", "postgres://"]);
    let wrong = place.path("wrong.toml");
    std::fs::write(&wrong, "\n[jobs]\nleas_seconds = 3\n").expect("written");
    let config = wrong.to_str().expect("a path");
    says(&refused(&place, &["serve", "--config", config], &[]), USAGE, &["wrong.toml", "line 3", "leas_seconds"]);
    let database = |url: &str| refused(&place, &["db", "check", "--database", url], &[]);
    says(&database("sqlite::memory:"), USAGE, &["in memory"]);
    says(&database("sqlite:t.db?mode=rwc"), USAGE, &["options"]);
    says(&database("sqlite:/"), USAGE, &["/ is a directory"]);
}

fn migrated(hint: &str) -> Database {
    let database = shared().database(hint);
    Place::bare(Some(database.url())).good(&["db", "migrate"]);
    database
}

#[test]
fn must_say_which_right_a_role_lacks_and_who_grants_it() {
    let database = shared().database("rights");
    database.execute("CREATE ROLE stranger LOGIN");
    let stranger = Place::bare(Some(database.url_as("stranger")));
    says(&refused(&stranger, &["db", "migrate"], &[]), REFUSED, &["stranger cannot create tables", "GRANT CREATE"]);
    let owner = Place::bare(Some(database.url()));
    owner.good(&["db", "migrate"]);
    let serve = || refused(&stranger, &["serve", "--listen", "127.0.0.1:0"], &[]);
    let grant = "db migrate --serve-role stranger";
    says(&serve(), REFUSED, &["the role stranger lacks a right", "SELECT on schema_migrations", grant]);
    owner.good(&["db", "migrate", "--serve-role", "stranger"]);
    database.execute("REVOKE DELETE ON holds FROM stranger");
    says(&serve(), REFUSED, &["DELETE on holds", grant]);
    owner.good(&["db", "migrate", "--serve-role", "stranger"]);
    let server = stranger.serve();
    assert!(!server.errors().contains("could change the audit log"), "{}", server.errors());
    server.stop();
    let server = owner.serve();
    assert!(server.errors().contains("could change the audit log: it is a superuser"), "{}", server.errors());
    server.stop();
}

#[test]
fn must_say_that_a_database_is_read_only_and_how_to_write_to_it_again() {
    let database = migrated("readonly");
    let place = Place::bare(Some(database.url()));
    database.execute(&format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", database.name()));
    let words = ["the database is read-only", "RESET default_transaction_read_only"];
    says(&refused(&place, &["serve", "--listen", "127.0.0.1:0"], &[]), REFUSED, &words);
    says(&refused(&place, &["db", "migrate"], &[]), REFUSED, &words);
}

#[test]
fn must_name_the_parameter_that_a_pooler_needs() {
    let database = migrated("pooler");
    let pooler = PgBouncer::start(shared());
    let url = pooler.url(&database);
    let place = Place::bare(Some(url.clone()));
    says(&refused(&place, &["db", "check"], &[]), REFUSED, &["startup parameter", "pooler=transaction"]);
    let place = Place::bare(Some(format!("{url}?pgbouncer=true")));
    says(&refused(&place, &["db", "check"], &[]), REFUSED, &["pgbouncer", "pooler=transaction"]);
}

#[test]
fn must_warn_of_tables_that_citus_has_distributed() {
    let database = migrated("citus");
    database.execute(
        "SET allow_system_table_mods = on; CREATE TABLE pg_catalog.pg_dist_partition (logicalrel regclass); \
         INSERT INTO pg_catalog.pg_dist_partition VALUES ('tenants')",
    );
    let place = Place::bare(Some(database.url()));
    let server = place.serve();
    assert!(server.errors().contains("undistribute_table('tenants')"), "{}", server.errors());
    server.stop();
}

#[test]
fn must_read_the_url_and_the_password_from_elsewhere() {
    let database = migrated("elsewhere");
    let place = Place::bare(None);
    let file = place.path("url");
    std::fs::write(&file, format!("{}\n", database.url())).expect("written");
    let mut command = place.command(&["db", "check"]);
    command.env("TENANCY_DATABASE_FILE", &file).env("PGPASSWORD", "any");
    let output = command.output().expect("ended");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn must_say_what_to_do_when_a_key_is_made_beside_a_running_server() {
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    let ran = refused(&place, &["db", "key", "second"], &[]);
    says(&ran, REFUSED, &[&format!("process {}", server.pid()), "stop the server"]);
    assert!(!ran.err.contains("--data-dir"), "{}", ran.err);
    server.stop();
}
