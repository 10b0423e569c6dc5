//! Connections to the database: verified or none. Of several hosts, the one that accepts writes.

use crate::harness::{Bench, small};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use std::path::{Path, PathBuf};
use tenancy_store::database::Database;
use tenancy_testkit::{Database as Created, Postgres};

/// Certificate authority that is known only to the test.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn written(directory: &Path, name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

/// Installs a certificate for `localhost` only on the server. The server writes its files itself, because it must own
/// them.
fn certify(database: &Created, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let lines = text.trim().replace('\r', "").replace('\n', "', '");
        database.execute(&format!("COPY (SELECT unnest(ARRAY['{lines}'])) TO PROGRAM 'umask 077; cat > {name}'"));
    }
    database.execute("ALTER SYSTEM SET ssl = on");
    database.execute("SELECT pg_reload_conf()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_connect_only_to_a_server_with_a_verified_certificate() {
    let cluster = Postgres::start();
    let database = cluster.database("tls");
    let directory = tempfile::tempdir().unwrap();
    let (ours, strange) = (authority(), authority());
    let (root, other) =
        (written(directory.path(), "ours.pem", &ours), written(directory.path(), "other.pem", &strange));
    let url = |host: &str, root: &Path| {
        let url = database.url().replace("127.0.0.1", host);
        Database::Postgres(format!("{url}?sslmode=verify-full&sslrootcert={}", root.display()))
    };
    // Without TLS on the server, the client must not fall back to clear text.
    url("localhost", &root).migrate(false).await.expect_err("no TLS");
    certify(&database, &ours);
    let mut tries = 0;
    while let Err(error) = url("localhost", &root).migrate(false).await {
        tries += 1;
        assert!(tries < 100, "the server does not use its certificate: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    url("localhost", &other).migrate(false).await.expect_err("unknown issuer");
    url("127.0.0.1", &root).migrate(false).await.expect_err("another name");

    let bench = Bench::on(&url("localhost", &root)).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("acme-eu", "acme")).await.unwrap();
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND ssl = ";
    assert_eq!(database.value(&format!("{plain} false")), "0");
    assert_ne!(database.value(&format!("{plain} true")), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_find_the_host_that_takes_writes() {
    let (replica, primary) = (Postgres::start(), Postgres::start());
    let database = primary.database("hosts");
    let name = database.name();
    // It answers but accepts no writes, like a replica.
    let admin = replica.database("admin");
    admin.execute(&format!("CREATE DATABASE {name}"));
    admin.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hosts = format!("{nobody},{},{}", replica.address(), primary.address());
    let url = Database::Postgres(format!("postgres://postgres@{hosts}/{name}?target_session_attrs=read-write"));
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("acme-eu", "acme")).await.unwrap();
    assert_eq!(database.value("SELECT count(*) FROM tenants"), "1");
}
