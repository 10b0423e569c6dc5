//! The same random batches on the reference, the model and both databases give the same answers, positions and rows.

use crate::harness::Bench;
use crate::reference::Reference;
use crate::world::World;
use std::collections::BTreeMap;
use tenancy_core::Error;
use tenancy_testkit::Chance;

type Tables = BTreeMap<&'static str, Vec<Vec<String>>>;

/// Maximum number of members; the queue is smaller than the maximum batch.
const MOST: u64 = 40;

/// Maximum number of members with SQLite. Its writer takes half of a longer queue, so its batches would differ.
const MOST_TOGETHER: u64 = 16;

/// SQLite keeps only the newest usage row of each organization, which replaces the previous one.
fn without_older_usages(tables: &Tables) -> Tables {
    let mut tables = tables.clone();
    let usages = tables.get_mut("organization_usage").unwrap();
    let serial = |row: &Vec<String>| row[1].trim_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap();
    usages.sort_by_key(|row| (row[0].clone(), std::cmp::Reverse(serial(row))));
    usages.dedup_by(|older, newer| older[0] == newer[0]);
    tables
}

async fn same_batches(seed: u64, batches: usize, most: u64, others: &[&Bench]) {
    let mut chance = Chance::new(seed);
    let mut reference = Reference::default();
    let model = Bench::model();
    let (mut good, mut bad) = (0, BTreeMap::<_, u32>::new());
    for number in 0..batches {
        let count = usize::try_from(1 + chance.below(most)).unwrap();
        let members = World::read(&model).await.members(&model, &mut chance, count);
        let batch: Vec<_> = members.into_iter().map(|member| member.changes).collect();
        let expected = reference.apply(&batch);
        for bench in [&model].iter().chain(others) {
            let answers = bench.store.commit_together(batch.clone()).await;
            for ((answer, expected), changes) in answers.iter().zip(&expected).zip(&batch) {
                assert_eq!(answer, expected, "batch {number} on {}: {changes:#?}", bench.name);
            }
        }
        good += expected.iter().filter(|answer| answer.is_ok()).count();
        for error in expected.iter().filter_map(|answer| answer.as_ref().err()) {
            *bad.entry(error.code()).or_default() += 1;
        }
        if number % 8 == 0 || number + 1 == batches {
            let expected = model.store.tables().await.unwrap();
            assert_eq!(i64::try_from(expected["log_batches"].len()).unwrap(), reference.batches);
            for bench in others {
                let mut tables = bench.store.tables().await.unwrap();
                // The migrations wrote these first rows; their times are irrelevant.
                tables.get_mut("log_batches").unwrap().remove(0);
                tables.get_mut("log_epochs").unwrap().remove(0);
                tables.get_mut("webhook_dispatch").unwrap().remove(0);
                let expected = if bench.name == "sqlite" { &without_older_usages(&expected) } else { &expected };
                for (name, rows) in expected {
                    assert_eq!(&tables[name], rows, "{name} after batch {number} on {}", bench.name);
                }
            }
        }
    }
    let purged = World::read(&model).await.purged();
    println!("{good} in, {purged} purged; out: {bad:?}");
    assert!(purged > 0 || others.is_empty());
    let every = ["idempotency_key_used", "organization_missing", "organization_cap_exceeded", "tenant_exists"];
    let every = every.into_iter().chain(["stale_version", "alias_taken", "key_exists", "organization_exists"]);
    assert!(every.into_iter().all(|code| bad.contains_key(code)), "{bad:?}");
    assert!(!bad.contains_key(Error::Busy.code()));
}

#[tokio::test]
async fn must_judge_a_batch_as_its_members_one_after_the_other() {
    for seed in 0..8 {
        same_batches(seed, 40, MOST, &[]).await;
    }
}

#[tokio::test]
async fn must_come_to_the_same_rows_answers_and_positions_on_every_database() {
    let (sqlite, postgres) = (Bench::sqlite().await, Bench::postgres().await);
    same_batches(1_000, 150, MOST_TOGETHER, &[&sqlite, &postgres]).await;
    let postgres = Bench::postgres().await;
    same_batches(1_000, 60, MOST, &[&postgres]).await;
}
