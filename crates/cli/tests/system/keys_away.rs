//! Keys that are away, replaced, or newer than the database: what is answered over HTTP meanwhile, and what
//! `db rotate-keys` and `db after-restore` do.

use super::http::{Answer, Client, Request};
use super::place::{On, Place, on_both, shared};
use super::server::{PATIENCE, Server, until};
use serde_json::{Value, json};
use std::process::Command;
use tenancy_testkit::Database;

on_both!(
    must_answer_keys_unavailable_and_change_nothing_while_the_keys_are_away,
    must_wrap_data_keys_under_a_new_shared_key_and_name_those_that_cannot_be,
    must_name_missing_keys_after_a_restore_and_erase_those_of_purged_tenants,
);

/// A place with a directory of keys of its own, and its database, if that is PostgreSQL.
fn place(on: On) -> (Place, Option<Database>) {
    let database = (on == On::Postgres).then(|| shared().database("keys_away"));
    (Place::with_keys(database.as_ref(), "TENANCY_KEYS_DIRECTORY", "my-keys"), database)
}

/// Waits until no job of a tenant is open.
#[track_caller]
pub fn settled(client: &mut Client, id: &str) {
    until("its jobs end", PATIENCE, || {
        client.get(&format!("/v1/tenants/{id}")).ok(200).body.get("open_job").is_none().then_some(())
    });
}

pub fn manifest(id: &str, encryption: &str) -> Value {
    json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "display_name": format!("Zoe {id}"),
        "policies": {"encryption": encryption, "purgeAfterDays": 0}})
}

/// Registers tenants, and waits until they are active.
#[track_caller]
pub fn register(client: &mut Client, tenants: &[(&str, &str)]) {
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    for (id, encryption) in tenants {
        client.post("/v1/tenants", manifest(id, encryption)).ok(201);
    }
    for (id, _) in tenants {
        settled(client, id);
    }
}

#[track_caller]
pub fn purge(client: &mut Client, id: &str) {
    let path = format!("/v1/tenants/{id}");
    client.send(&Request::new("DELETE", &path).header("if-match", "*")).ok(202);
    settled(client, id);
    client.send(&Request::post(format!("{path}/purge"), json!({})).header("if-match", "*")).ok(202);
    settled(client, id);
}

fn versions(client: &mut Client, id: &str) -> Answer {
    client.get(&format!("/v1/tenants/{id}/versions"))
}

/// The change of a tenant's name, which private data contain.
fn renamed(id: &str) -> Request {
    Request::patch(format!("/v1/tenants/{id}"), 1, json!({"display_name": "Another"})).key(format!("rename-{id}"))
}

#[track_caller]
fn must_be_unavailable(answer: Answer) {
    let answer = answer.problem(503, "keys_unavailable");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{:?}", answer.headers);
    assert!(answer.text.contains("nothing was written"), "{}", answer.text);
}

fn must_answer_keys_unavailable_and_change_nothing_while_the_keys_are_away(on: On) {
    let (place, _database) = place(on);
    let server = place.serve();
    let mut client = server.client();
    register(&mut client, &[("own", "kms-per-tenant")]);
    let events = client.all("/v1/tenants/own/audit").len();
    server.stop();
    let server = place.serve();
    let mut client = server.client();
    // The shared key is in memory once it was used.
    client.post("/v1/tenants", manifest("earlier", "platform")).ok(201);
    std::fs::rename(place.path("my-keys"), place.path("away")).expect("renamed");

    let hook = json!({"name": "main", "url": "https://hooks.example", "events": ["*"]});
    let hold = json!({"reason": "for a person"});
    for request in [
        renamed("own"),
        Request::post("/v1/tenants/own/webhooks", hook.clone()),
        Request::post("/v1/tenants/own/suspend", hold).header("if-match", "*"),
        Request::post("/v1/tenants", manifest("new", "kms-per-tenant")),
        Request::get("/v1/tenants/own/versions"),
    ] {
        must_be_unavailable(client.send(&request));
    }
    let own = client.get("/v1/tenants/own").ok(200);
    assert_eq!((&own.body["version"], &own.body["display_name"]), (&json!(1), &json!("Zoe own")));
    client.get("/v1/tenants/new").problem(404, "not_found");
    assert_eq!(client.get("/v1/tenants/own/webhooks").ok(200).items(), [Value::Null; 0]);
    client.get("/healthz").ok(200);
    let ready = client.get("/readyz").ok(200);
    assert!(ready.body["warnings"].to_string().contains("could not be used"), "{}", ready.text);
    // Data keys that were used are in memory, too.
    client.post("/v1/tenants", manifest("shared", "platform")).ok(201);
    client.send(&renamed("earlier")).ok(200);

    std::fs::rename(place.path("away"), place.path("my-keys")).expect("renamed");
    assert_eq!(client.all("/v1/tenants/own/audit").len(), events, "nothing is half done");
    assert_eq!(client.send(&renamed("own")).ok(200).body["version"], json!(2));
    client.post("/v1/tenants/own/webhooks", hook).ok(201);
    client.post("/v1/tenants", manifest("new", "kms-per-tenant")).ok(201);
    assert_eq!(versions(&mut client, "own").ok(200).items().len(), 3);
    let ready = client.get("/readyz").ok(200);
    assert!(!ready.text.contains("could not be used"), "{}", ready.text);
    let updates = client.get("/v1/tenants/own/audit?event_type=TENANCY_UPDATED").ok(200).items();
    assert!(updates[0]["private"].is_object(), "{updates:?}");
    server.stop();
}

/// A copy of the database as a backup from now, which `options` name.
struct Restored {
    options: Vec<String>,
    _database: Option<Database>,
}

impl Restored {
    /// No server may run.
    fn of(place: &Place, database: Option<&Database>) -> Self {
        match database {
            Some(original) => {
                let copy = shared().copy_of(original, "keys_restored");
                Self { options: vec!["--database".to_owned(), copy.url()], _database: Some(copy) }
            }
            None => {
                std::fs::create_dir(place.path("restored")).expect("made");
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                std::fs::set_permissions(place.path("restored"), mode).expect("set");
                place.good(&["db", "backup", "restored/tenancy.db"]);
                Self { options: vec!["--data-dir".to_owned(), "restored".to_owned()], _database: None }
            }
        }
    }

    fn arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        command.iter().copied().chain(self.options.iter().map(String::as_str)).collect()
    }

    fn serve(&self, place: &Place) -> Server {
        let command: Command = place.command(&self.arguments(&["serve", "--listen", "127.0.0.1:0"]));
        place.start(command)
    }
}

fn must_wrap_data_keys_under_a_new_shared_key_and_name_those_that_cannot_be(on: On) {
    let (place, database) = place(on);
    let server = place.serve();
    register(&mut server.client(), &[("one", "platform"), ("two", "platform"), ("own", "kms-per-tenant")]);
    server.stop();
    let restored = Restored::of(&place, database.as_ref());

    // Servers on PostgreSQL go on meanwhile.
    let server = (on == On::Postgres).then(|| place.serve());
    let said = place.good(&["db", "rotate-keys"]);
    assert!(said.starts_with("wrapped ") && said.contains("data keys under the new shared key shared-2"), "{said}");
    let server = server.unwrap_or_else(|| place.serve());
    let mut client = server.client();
    for id in ["one", "two", "own"] {
        assert_eq!(versions(&mut client, id).ok(200).items().len(), 1, "{id}");
    }
    client.post("/v1/tenants", manifest("three", "platform")).ok(201);
    settled(&mut client, "three");
    server.stop();

    // Somebody has removed the former shared key, which backups need.
    let path = place.path("my-keys/platform.keys");
    let text = std::fs::read_to_string(&path).expect("keys");
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("key shared-1 ")).collect();
    assert_eq!((kept.len(), text.lines().count()), (1, 2), "{}", text.len());
    std::fs::write(&path, kept.join("\n") + "\n").expect("written");
    let server = place.serve();
    let mut client = server.client();
    for id in ["one", "two", "three"] {
        assert_eq!(versions(&mut client, id).ok(200).items().len(), 1, "{id}");
    }
    server.stop();
    let ran = place.run(&restored.arguments(&["db", "rotate-keys"]));
    assert_eq!(ran.code, 1, "{ran:?}");
    for words in ["were not wrapped again", "one, two", "restore the backup of the keys"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
}

fn must_name_missing_keys_after_a_restore_and_erase_those_of_purged_tenants(on: On) {
    let (place, database) = place(on);
    let server = place.serve();
    register(&mut server.client(), &[("own", "kms-per-tenant"), ("shared", "platform"), ("kept", "platform")]);
    server.stop();
    let restored = Restored::of(&place, database.as_ref());
    let server = place.serve();
    for id in ["own", "shared"] {
        purge(&mut server.client(), id);
        assert_eq!(server.client().get(&format!("/v1/tenants/{id}")).ok(200).body.get("display_name"), None);
    }
    server.stop();

    let after_restore = restored.arguments(&["db", "after-restore"]);
    let said = place.good(&after_restore);
    assert!(said.contains("wrapping keys of 1 tenant") && said.contains("(own)"), "{said}");
    let server = restored.serve(&place);
    let mut client = server.client();
    // Its key may also be lost by mistake: nothing of it is dropped.
    must_be_unavailable(client.send(&renamed("own")));
    let listed = versions(&mut client, "own").ok(200);
    assert_eq!(listed.items(), [Value::Null; 0]);
    assert!(listed.text.contains("tenant_versions.manifest, whose key is missing"), "{}", listed.text);
    client.send(&renamed("shared")).ok(200);
    server.stop();

    std::fs::write(place.path("purged.txt"), "own\n\nshared\n").expect("written");
    let said = place.good(&[&after_restore[..], &["--purged", "purged.txt"]].concat());
    assert!(said.contains("erased 2 data keys") && !said.contains("missing, and their private"), "{said}");
    let server = restored.serve(&place);
    let mut client = server.client();
    for id in ["own", "shared"] {
        let listed = versions(&mut client, id).ok(200);
        assert!(listed.items().is_empty() && listed.text.contains("whose key was destroyed"), "{}", listed.text);
        purge(&mut client, id);
    }
    assert_eq!(versions(&mut client, "kept").ok(200).items()[0]["manifest"]["display_name"], "Zoe kept");
    client.send(&renamed("kept")).ok(200);
    server.stop();
}
