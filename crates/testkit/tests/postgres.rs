//! The temporary cluster starts immediately, survives crashes, and is always removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tenancy_testkit::{Postgres, Settings};

#[test]
fn databases_of_one_cluster_must_not_see_each_other() {
    let postgres = Postgres::shared();
    let (one, two) = (postgres.database("same"), postgres.database("same"));
    assert_ne!(one.name(), two.name());
    one.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (NULL)");
    assert_eq!(one.rows("SELECT a FROM t ORDER BY a"), [[Some("1".to_owned())], [None]]);
    assert_eq!(two.value("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
    assert!(std::ptr::eq(postgres, Postgres::shared()));
}

#[tokio::test]
async fn a_cluster_must_be_usable_from_inside_a_runtime() {
    let database = Postgres::shared().database("inside a runtime");
    let client = database.connect().await;
    let row = client.query_one("SELECT current_database()", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), database.name());
}

#[test]
fn a_copy_must_have_the_rows_of_its_original() {
    let postgres = Postgres::shared();
    let original = postgres.database("original");
    original.execute("CREATE TABLE t AS SELECT generate_series(1, 3) AS a");
    let copy = postgres.copy_of(&original, "copy");
    original.execute("DROP TABLE t");
    assert_eq!(copy.value("SELECT count(*) FROM t"), "3");
}

#[test]
fn a_cluster_must_be_durable_and_local_and_order_unlike_bytes_unless_told_otherwise() {
    let database = Postgres::shared().database("settings");
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(database.value(&format!("SHOW {name}")), "on", "{name}");
    }
    assert_eq!(database.value("SHOW listen_addresses"), "127.0.0.1");
    assert_eq!(database.value("SHOW max_connections"), "200");
    assert_eq!(database.value("SELECT 'a' < 'B'"), "t");
    assert_eq!(database.value("SELECT 'a' < 'B' COLLATE \"C\""), "f");
}

#[test]
fn settings_must_reach_the_server() {
    let settings = Settings::default().fsync_off().max_connections(17).parameter("work_mem", "5MB");
    let postgres = Postgres::start_with(settings);
    let database = postgres.database("settings");
    assert_eq!(database.value("SHOW fsync"), "off");
    assert_eq!(database.value("SHOW max_connections"), "17");
    assert_eq!(database.value("SHOW work_mem"), "5MB");
    database.execute("CREATE ROLE app LOGIN");
    let url = database.url_as("app");
    assert!(Command::new(postgres.program("psql")).args(["-c", "SELECT 1", &url]).output().unwrap().status.success());
}

#[test]
fn a_stopped_or_killed_server_must_come_back_on_its_port_with_its_rows() {
    let mut postgres = Postgres::start();
    let (port, database) = (postgres.port(), postgres.database("back"));
    database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");

    postgres.stop();
    assert!(!postgres.is_running());
    assert!(TcpStream::connect(postgres.address()).is_err());
    postgres.restart();
    assert_eq!((postgres.port(), database.value("SELECT a FROM t").as_str()), (port, "1"));

    database.execute("INSERT INTO t VALUES (2)");
    postgres.kill();
    assert!(TcpStream::connect(postgres.address()).is_err());
    postgres.restart();
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
    assert!(postgres.log().contains("not properly shut down"), "{}", postgres.log());
}

#[test]
fn a_dropped_cluster_must_leave_nothing() {
    let postgres = Postgres::start();
    let (address, data) = (postgres.address(), postgres.data_directory());
    drop(postgres);
    assert!(TcpStream::connect(address).is_err());
    assert!(!data.parent().unwrap().exists());
}

/// The next test starts this as a process and kills it.
#[test]
#[ignore = "not a test: the process that the_server_of_a_killed_test_must_go kills"]
fn process_to_kill() {
    let postgres = Postgres::shared();
    println!("\nserver {} {}", postgres.address(), postgres.data_directory().display());
    if std::env::var_os("TENANCY_TESTKIT_STAY").is_some() {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn the_server_of_a_killed_test_must_go() {
    assert_server_goes_with(true);
}

#[test]
fn the_shared_server_must_go_when_the_tests_are_done() {
    assert_server_goes_with(false);
}

fn assert_server_goes_with(kill: bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process_to_kill", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    if kill {
        command.env("TENANCY_TESTKIT_STAY", "1");
    }
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("server ")).expect("the process prints where its server is");
    let mut words = line.split(' ').skip(1);
    let (address, data) = (words.next().unwrap(), Path::new(words.next().unwrap()));
    if kill {
        process.kill().unwrap();
    }
    process.wait().unwrap();

    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() || data.parent().unwrap().exists() {
        assert!(Instant::now() < until, "the server at {address} in {} still exists", data.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
