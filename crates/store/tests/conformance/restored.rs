//! Positions after the database was restored from a backup.

use crate::harness::{Bench, on_both, small};
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::scope::Scope;
use tenancy_store::page::{AuditFilter, Page};

on_both!(
    must_refuse_cursors_of_lost_events_in_a_new_epoch,
    must_follow_the_log_by_position,
    must_end_leases_and_count_what_is_open,
);

fn after(cursor: &str) -> Page {
    Page { after: Some(cursor.to_owned()), limit: 2 }
}

/// Reads the log in pages of two events. Returns the positions and the cursors.
async fn read(bench: &Bench, mut page: Page) -> Result<(Vec<i64>, Vec<String>), Error> {
    let (mut seen, mut cursors) = (Vec::new(), Vec::new());
    loop {
        let listed = bench.store.audit(&Scope::All, &AuditFilter::default(), &page).await?;
        seen.extend(listed.items.iter().map(|row| row.position));
        let Some(next) = listed.next else { return Ok((seen, cursors)) };
        page = after(&next);
        cursors.push(next);
    }
}

async fn must_refuse_cursors_of_lost_events_in_a_new_epoch(bench: Bench) {
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2", "t-3", "t-4"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    let (seen, cursors) = read(&bench, Page { after: None, limit: 2 }).await.unwrap();
    assert_eq!((seen, cursors.len()), (vec![1, 2, 3, 4, 5], 2));
    let of_lost = tenancy_core::json::hex(b"log:1:6");
    let refused = bench.store.audit(&Scope::All, &AuditFilter::default(), &after(&of_lost)).await;
    assert!(matches!(&refused, Err(Error::Malformed(why)) if why.contains("was restored")), "{refused:?}");

    let epoch = bench.store.begin_log_epoch().await.unwrap();
    assert_eq!(epoch.first_position, 6);
    for id in ["t-5", "t-6", "t-7"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    // The position exists again, with another event.
    let refused = bench.store.audit(&Scope::All, &AuditFilter::default(), &after(&of_lost)).await;
    assert!(matches!(&refused, Err(Error::Malformed(why)) if why.contains("was restored")), "{refused:?}");
    let (seen, newer) = read(&bench, after(&cursors[1])).await.unwrap();
    assert_eq!(seen, [5, 6, 7, 8], "what was not lost goes on");
    let again = bench.store.begin_log_epoch().await.unwrap();
    assert!(again.epoch > epoch.epoch);
    assert!(read(&bench, after(newer.last().unwrap())).await.is_ok());
}

async fn must_follow_the_log_by_position(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let follow = async |after: &str| {
        let filter = AuditFilter { follow: true, ..AuditFilter::default() };
        let page = Page { after: Some(after.to_owned()), limit: 2 };
        let listed = bench.store.audit(&Scope::All, &filter, &page).await.unwrap();
        (listed.items.iter().map(|row| row.position).collect::<Vec<_>>(), listed.next.unwrap())
    };
    let (seen, next) = follow("end").await;
    assert!(seen.is_empty());
    bench.store.clock_jump();
    bench.store.jump_clock(jiff::SignedDuration::from_hours(-1));
    for id in ["t-2", "t-3", "t-4"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    let (seen, next) = follow(&next).await;
    assert_eq!(seen, [3, 4]);
    let (seen, next) = follow(&next).await;
    assert_eq!(seen, [5]);
    assert_eq!(follow(&next).await, (vec![], next));
}

async fn must_end_leases_and_count_what_is_open(bench: Bench) {
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    let held = bench.store.claim("lost", 1, std::time::Duration::from_secs(600)).await.unwrap();
    let restored = bench.store.end_leases_after_restore().await.unwrap();
    assert_eq!((restored.ended_leases, restored.open_jobs, restored.newest_position), (1, 2, 3));
    assert_eq!((restored.waiting_jobs, restored.holds, restored.keys, restored.archived_tenants), (0, 0, 0, 0));
    assert!(restored.newest_at.is_some());
    let again = bench.claim().await;
    assert_eq!(again.len(), 2);
    let lease = [(held[0].job_id.clone(), held[0].lease_epoch)];
    let beat =
        bench.store.heartbeat(&lease, std::time::Duration::from_secs(9), std::time::Duration::from_secs(9)).await;
    assert_eq!(beat, Ok(Vec::new()), "the former lease is fenced off");
}
