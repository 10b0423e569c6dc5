//! Connections that are cut at every point of a batch.

use crate::harness::{Bench, full, small};
use crate::rig::Rig;
use crate::world::{Member, World, answer};
use serde_json::json;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::apikey::Role;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::OrganizationId;
use tenancy_core::json::sha256_hex;
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::{Decision, keys};
use tenancy_testkit::{Armed, Chance, Fault, Message};

fn member(decision: Decision) -> Member {
    Member { after: Some(decision.snapshot), changes: decision.changes.unwrap() }
}

/// Batch with every verdict: seven members that are accepted and three that are refused.
async fn batch(bench: &Bench, beside: &Bench, number: u64) -> Vec<Member> {
    let base = beside.snapshot("base").await;
    let change = |name: &str| {
        let mut document = small("base", "acme");
        document["display_name"] = json!(format!("{name} {number}"));
        member(bench.change(&base, &document, &[]).unwrap())
    };
    let organization = json!({"organization_id": format!("org-{number}")});
    let organization = OrganizationManifest::parse(&bench.declared, &organization).unwrap().0;
    let organization = organizations::create(&organization, &mut bench.context()).unwrap().changes.unwrap();
    let key = keys::create(
        &format!("key {number}"),
        keys::Rights::unlimited(Role::Viewer),
        None,
        sha256_hex(&[&number.to_le_bytes()]),
        &mut bench.context(),
    );
    let stored = |id: &str| {
        let mut stored = member(bench.registration(&small(&format!("{id}-{number}"), "acme")));
        stored.changes.store_answer(answer(&format!("{number}"), bench.context().now, number));
        stored
    };
    vec![
        member(bench.registration(&full(&format!("full-{number}"), "acme"))),
        change("first"),
        Member { changes: organization, after: None },
        Member { changes: key.unwrap().changes.unwrap(), after: None },
        stored("once"),
        member(bench.registration(&small(&format!("of-{number}"), &format!("org-{number}")))),
        member(bench.registration(&small(&format!("small-{number}"), "acme"))),
        change("second"),
        stored("again"),
        member(bench.registration(&small(&format!("lost-{number}"), "nobody"))),
    ]
}

/// A batch of maximum size with one member. Waiting members form the next batch, whose first flush is sent directly
/// after the COMMIT of this one.
fn large(bench: &Bench, number: u64) -> Member {
    large_of(bench, "acme", number)
}

pub fn large_of(bench: &Bench, organization: &str, number: u64) -> Member {
    let mut large = member(bench.registration(&small(&format!("large-{number}"), organization)));
    let answer = answer(&format!("large {number}"), bench.context().now, number);
    large.changes.store_answer(IdempotencyRecord { body: "n".repeat(1024 * 1024), ..answer });
    large
}

/// Compares the answers of [`batch`] with a normal run. They must be the same after a cut connection, which callers do
/// not notice.
fn as_without_cut(answers: &[crate::history::Answer], what: &str) {
    let codes: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_or_else(Error::code, |_| "in")).collect();
    let expected =
        ["in", "in", "in", "in", "in", "in", "in", "stale_version", "idempotency_key_used", "organization_missing"];
    assert_eq!(codes, expected, "{what}");
}

/// Cuts before the first message of a batch, before the second, and so on until the end: BEGIN, each bind, execute and
/// sync of both flushes, COMMIT. (For the server a cut before a message equals a cut after the previous one.) `part` is
/// one of two, so that both run in parallel. With `ahead`, another batch is in flight before it.
async fn cut_before_every_message(part: u64, ahead: bool) {
    let mut rig = Rig::new("before").await;
    rig.beside.organization("acme", json!({})).await;
    rig.beside.register(&small("base", "acme")).await.unwrap();
    let mut nth = 1 + part;
    loop {
        rig.proxy.cut();
        let mut members = batch(&rig.bench, &rig.beside, nth).await;
        if ahead {
            members.insert(0, large(&rig.bench, nth));
        }
        let armed = rig.arm(Fault::cut_before(), nth);
        let mut answers = rig.commit(members).await;
        if ahead {
            assert!(answers.remove(0).is_ok(), "message {nth}");
        }
        as_without_cut(&answers, &format!("message {nth}"));
        if armed.fired() == 0 {
            break;
        }
        nth += 2;
    }
    println!("{nth} messages");
    assert!(nth > if ahead { 90 } else { 60 }, "expected more messages than {nth} for reads, writes, log and commit");
    rig.check().await;
}

/// As [`cut_before_every_message`], of two batches that are presumed to find what they need: all of the second is sent
/// behind the COMMIT of the first.
async fn cut_before_every_message_of_two_that_are_presumed(part: u64) {
    let mut rig = Rig::new("presumed").await;
    let mut nth = 1 + part;
    loop {
        rig.proxy.cut();
        rig.disarm();
        let organization = format!("org-{nth}");
        warm(&mut rig, &organization).await;
        let base = rig.beside.snapshot(&format!("{organization}-0")).await;
        let mut renamed = small(&format!("{organization}-0"), &organization);
        renamed["display_name"] = json!("renamed");
        let renamed = member(rig.bench.change(&base, &renamed, &[]).unwrap());
        let small = |id: &str| member(rig.bench.registration(&small(&format!("{id}-{nth}"), &organization)));
        let members = vec![large_of(&rig.bench, &organization, nth), small("t-1"), renamed, small("t-2")];
        let armed = rig.arm(Fault::cut_before(), nth);
        let answers = rig.commit(members).await;
        assert!(answers.iter().all(Result::is_ok), "message {nth}: {answers:?}");
        if armed.fired() == 0 {
            break;
        }
        nth += 2;
    }
    println!("{nth} messages");
    assert!(nth > 40, "expected more messages than {nth} for assertions, writes, log and commit");
    rig.check().await;
}

/// Messages that are sent directly after a BEGIN or a COMMIT are already in flight when it fails.
#[tokio::test]
async fn must_keep_two_presumed_batches_whole_when_only_a_begin_or_a_commit_fails() {
    for nth in 1..=4 {
        let mut rig = Rig::new("garbled").await;
        warm(&mut rig, "acme").await;
        let members = vec![large(&rig.bench, nth), member(rig.bench.registration(&small("t-1", "acme")))];
        let bounds = |message: &Message| message.is_commit() || message.sql_contains("BEGIN ISOLATION");
        let garbled = rig.proxy.arm(Fault::garble().when(bounds).nth(nth));
        let answers = rig.commit(members).await;
        assert!(answers.iter().all(Result::is_ok), "{nth}: {answers:?}");
        assert_eq!(garbled.fired(), 1, "{nth}");
        rig.check().await;
    }
}

#[tokio::test]
async fn must_keep_two_presumed_batches_whole_when_they_are_cut_before_any_odd_message() {
    cut_before_every_message_of_two_that_are_presumed(0).await;
}

#[tokio::test]
async fn must_keep_two_presumed_batches_whole_when_they_are_cut_before_any_even_message() {
    cut_before_every_message_of_two_that_are_presumed(1).await;
}

#[tokio::test]
async fn must_keep_a_batch_whole_when_it_is_cut_before_any_odd_message() {
    cut_before_every_message(0, false).await;
}

#[tokio::test]
async fn must_keep_a_batch_whole_when_it_is_cut_before_any_even_message() {
    cut_before_every_message(1, false).await;
}

#[tokio::test]
async fn must_keep_two_batches_whole_when_they_are_cut_before_any_odd_message() {
    cut_before_every_message(0, true).await;
}

#[tokio::test]
async fn must_keep_two_batches_whole_when_they_are_cut_before_any_even_message() {
    cut_before_every_message(1, true).await;
}

/// Duration of a COMMIT in these tests: longer than any scheduling delay.
const SLOW: Duration = Duration::from_millis(1500);

/// Returns the time from the COMMIT to the BEGIN of the next batch, and from there to its COMMIT.
async fn behind(rig: &mut Rig, members: Vec<Member>) -> (Duration, Duration) {
    rig.slow_commits(SLOW);
    let seen = rig.commit_begin_commit();
    let answers = rig.commit(members).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    rig.disarm();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "a COMMIT, and a batch behind it");
    (seen[1].duration_since(seen[0]), seen[2].duration_since(seen[0]))
}

async fn begins_behind(rig: &mut Rig, members: Vec<Member>) -> Duration {
    behind(rig, members).await.0
}

/// Registers two tenants one after the other, so that all statements are prepared and the organization is cached.
async fn warm(rig: &mut Rig, organization: &str) {
    rig.beside.organization(organization, json!({})).await;
    for number in 0..2 {
        let warm = rig.bench.registration(&small(&format!("{organization}-{number}"), organization));
        assert!(rig.commit(vec![member(warm)]).await[0].is_ok());
    }
}

#[tokio::test]
async fn must_send_the_next_batch_behind_the_commit_and_not_behind_its_answer() {
    let mut rig = Rig::new("ahead").await;
    warm(&mut rig, "acme").await;
    let members = vec![large(&rig.bench, 1), member(rig.bench.registration(&small("t-1", "acme")))];
    let (begins, commits) = behind(&mut rig, members).await;
    assert!(begins < SLOW && commits < SLOW, "{begins:?} {commits:?}");
    rig.check().await;
}

#[tokio::test]
async fn must_read_for_the_next_batch_behind_the_commit_and_not_behind_its_answer() {
    let mut rig = Rig::new("read-ahead").await;
    warm(&mut rig, "acme").await;
    rig.beside.organization("other", json!({})).await;
    // Of this organization nothing is known, so it is read.
    let members = vec![large(&rig.bench, 1), member(rig.bench.registration(&small("t-1", "other")))];
    let (begins, commits) = behind(&mut rig, members).await;
    assert!(begins < SLOW && commits >= SLOW, "{begins:?} {commits:?}");
    rig.check().await;
}

#[tokio::test]
async fn must_not_begin_a_batch_ahead_of_who_was_put_off() {
    let mut rig = Rig::new("put-off").await;
    rig.beside.organization("acme", json!({})).await;
    let one = rig.bench.registration(&small("one", "acme"));
    // The same organization's row, which the first batch writes.
    let document = json!({"organization_id": "acme", "display_name": "Acme"});
    let (desired, _) = OrganizationManifest::parse(&rig.bench.declared, &document).unwrap();
    let record = rig.beside.store.organization(&OrganizationId::known("acme")).await.unwrap().unwrap();
    let renamed =
        organizations::change(&record.organization, &[], &record.usage, &desired, &mut rig.bench.context()).unwrap();
    let renamed = Member { changes: renamed.changes.unwrap(), after: None };
    let members = vec![renamed, member(one), large(&rig.bench, 1)];
    let behind = begins_behind(&mut rig, members).await;
    assert!(behind >= SLOW, "{behind:?}");
    rig.check().await;
}

#[tokio::test]
async fn must_not_begin_a_batch_of_fewer_than_are_being_committed() {
    let mut rig = Rig::new("fewer").await;
    rig.beside.organization("acme", json!({})).await;
    let small = |id: &str| member(rig.bench.registration(&small(id, "acme")));
    let members = vec![small("t-1"), small("t-2"), large(&rig.bench, 1)];
    let behind = begins_behind(&mut rig, members).await;
    assert!(behind >= SLOW, "{behind:?}");
    rig.check().await;
}

#[tokio::test]
async fn must_not_send_behind_a_commit_through_a_pooler() {
    let (_pooler, mut rig) = Rig::pooled("pooled-ahead").await;
    rig.beside.organization("acme", json!({})).await;
    let members = vec![large(&rig.bench, 1), member(rig.bench.registration(&small("t-1", "acme")))];
    let behind = begins_behind(&mut rig, members).await;
    assert!(behind >= SLOW, "{behind:?}");
    rig.check().await;
}

#[tokio::test]
async fn must_find_a_commit_whose_answer_was_lost() {
    let mut rig = Rig::new("answer").await;
    rig.beside.organization("acme", json!({})).await;
    rig.beside.register(&small("base", "acme")).await.unwrap();
    for (number, fault) in [(1, Fault::cut_after()), (2, Fault::delay_answer(Duration::from_millis(50)))] {
        let members = batch(&rig.bench, &rig.beside, number).await;
        let armed = rig.arm_commit(fault);
        as_without_cut(&rig.commit(members).await, &format!("{number}"));
        assert_eq!(armed.fired(), 1);
    }
    rig.check().await;
}

/// The pooler's error about a lost server is not the outcome of the batch.
#[tokio::test]
async fn must_keep_a_batch_whole_when_it_is_cut_behind_a_pooler() {
    let (_pooler, mut rig) = Rig::pooled("pooled").await;
    rig.beside.organization("acme", json!({})).await;
    rig.beside.register(&small("base", "acme")).await.unwrap();
    for number in 1.. {
        let members = batch(&rig.bench, &rig.beside, number).await;
        let armed = match number {
            1 => rig.proxy.arm(Fault::cut_after().when(Message::is_commit)),
            2 => rig.proxy.arm(Fault::cut_before().when(Message::is_commit)),
            3 => rig.proxy.arm(Fault::cut_and_deliver(Duration::from_millis(700)).when(Message::is_commit)),
            _ => rig.proxy.cut_before(4 * (number - 3)),
        };
        let answers = rig.commit(members).await;
        as_without_cut(&answers, &format!("cut {number}"));
        if armed.fired() == 0 {
            assert!(number > 15, "expected more messages than {number} in a batch");
            break;
        }
    }
    rig.check().await;
}

/// The COMMIT reaches the server after the client has reconnected: before the lock timeout, after it, and after the
/// server's idle-in-transaction timeout.
#[tokio::test]
async fn must_find_a_commit_that_appears_later() {
    let run = async |later: u64, members: usize| {
        let mut rig = Rig::new("later").await;
        rig.beside.organization("acme", json!({})).await;
        rig.beside.register(&small("base", "acme")).await.unwrap();
        let mut members = batch(&rig.bench, &rig.beside, 1).await.into_iter().take(members).collect::<Vec<_>>();
        // The result must be the same for the first and the last member of the batch.
        members.reverse();
        if later == 1500 {
            members.insert(0, large(&rig.bench, 1));
        }
        let armed = rig.arm_commit(Fault::cut_and_deliver(Duration::from_millis(later)));
        let answers = rig.commit(members).await;
        assert_eq!(armed.fired(), 1);
        assert!(answers.iter().all(Result::is_ok), "{later} ms: {answers:?}");
        rig.check().await;
    };
    let runs = [(50, 5), (1000, 1), (1000, 5), (2500, 1), (2500, 5), (1500, 5), (4200, 5), (6000, 2)];
    futures_util::future::join_all(runs.map(|(later, members)| run(later, members))).await;
}

/// Random fault for the next batch. The message it occurs at depends on the number of messages.
fn misfortune(rig: &Rig, chance: &mut Chance) -> Vec<Armed> {
    match chance.below(8) {
        0 => vec![rig.arm(Fault::cut_before(), 1 + chance.below(80))],
        1 => vec![rig.arm(Fault::cut_after(), 1 + chance.below(80))],
        2 => vec![rig.arm_commit(Fault::cut_and_deliver(Duration::from_millis(chance.below(200))))],
        3 => vec![rig.proxy.arm(Fault::cut_after_bytes(1 + chance.below(20_000)))],
        4 => {
            rig.proxy.cut();
            Vec::new()
        }
        // Twice: the second run of the batch is cut as well.
        5 => vec![rig.arm_commit(Fault::cut_after()), rig.arm(Fault::cut_before(), 60 + chance.below(60))],
        _ => Vec::new(),
    }
}

/// At the same time another process without faults changes the same tenants.
#[tokio::test]
async fn must_stay_whole_under_random_schedules() {
    let mut chance = Chance::new(20_261_123);
    let mut rig = Rig::new("random").await;
    let mut fired = 0;
    for round in 0..60 {
        let count = 1 + chance.index(12);
        let world = World::read(&rig.beside).await;
        let mut members = world.members(&rig.bench, &mut chance, count);
        let others = world.members(&rig.beside, &mut chance, 3);
        if chance.below(3) == 0 {
            members.insert(0, large(&rig.bench, round));
        }
        let armed = misfortune(&rig, &mut chance);
        let (answers, to_others) = rig.commit_beside(members, others).await;
        for answers in [answers, to_others] {
            let lost = answers.iter().find(|answer| !matches!(answer, Ok(_) | Err(Error::Conflict(_))));
            assert!(lost.is_none(), "round {round}: a cut must not be heard of: {lost:?}");
        }
        rig.disarm();
        fired += armed.iter().map(Armed::fired).sum::<u64>();
    }
    let (good, bad) = (rig.history.count(Result::is_ok), rig.history.count(Result::is_err));
    println!("{good} in, {bad} out, {fired} cuts");
    assert!(good > 80 && bad > 40 && fired > 15, "{good} in, {bad} out, {fired} cuts");
    rig.check().await;
}
