//! Records requests and answers, and compares them with the stored data.

use crate::world::Member;
use std::collections::BTreeMap;
use tenancy_core::Error;
use tenancy_core::changes::Changes;
use tenancy_core::ids::TenantId;
use tenancy_core::job::JobState;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_store::{Receipt, Store};
use tenancy_testkit::Database;

pub type Answer = Result<Receipt, Error>;

/// All requests to one database with their answers.
#[derive(Debug)]
pub struct History {
    database: Database,
    asked: Vec<(Member, Answer)>,
}

impl History {
    pub fn of(database: &Database) -> Self {
        Self { database: database.clone(), asked: Vec::new() }
    }

    /// Records the answer of a member.
    pub fn told(&mut self, member: Member, answer: Answer) {
        self.asked.push((member, answer));
    }

    pub fn told_all(&mut self, members: Vec<Member>, answers: Vec<Answer>) {
        assert_eq!(members.len(), answers.len());
        members.into_iter().zip(answers).for_each(|(member, answer)| self.told(member, answer));
    }

    /// The same requests and answers, compared with another database: the one that has taken over.
    pub fn in_database(self, database: &Database) -> Self {
        Self { database: database.clone(), ..self }
    }

    /// No two changes were answered with the same position.
    pub fn each_position_once(&self) {
        let answered = self.asked.iter().filter_map(|(_, answer)| answer.as_ref().ok()).map(|receipt| receipt.position);
        let mut positions: Vec<_> = answered.filter(|position| *position > 0).collect();
        let count = positions.len();
        positions.sort_unstable();
        positions.dedup();
        assert_eq!(positions.len(), count, "a position was given twice");
    }

    /// Visits every answer.
    pub fn each(&self, look: impl FnMut(&Answer)) {
        self.asked.iter().map(|(_, answer)| answer).for_each(look);
    }

    /// Number of answers that match.
    pub fn count(&self, so: impl Fn(&Answer) -> bool) -> usize {
        self.asked.iter().filter(|(_, answer)| so(answer)).count()
    }

    /// Checks that every confirmed change is stored exactly once, that refused changes wrote nothing, that changes with
    /// unknown outcome are stored completely or not at all, and that record and log agree.
    pub async fn check(&self, store: &Store) {
        let mut log = BTreeMap::<String, Vec<i64>>::new();
        let events =
            "SELECT audit_id, position FROM tenant_audit UNION ALL SELECT audit_id, position FROM platform_audit";
        for row in self.database.rows(events) {
            let [id, position] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
            log.entry(id).or_default().push(position.parse().unwrap());
        }
        let (mut expected, mut known) = (BTreeMap::<TenantId, (i64, &TenantSnapshot)>::new(), 0);
        for (member, answer) in &self.asked {
            let places = places(&member.changes, &log);
            match (answer, &places) {
                (Ok(receipt), Some(first)) => {
                    assert!([0, *first].contains(&receipt.position), "{receipt:?} at {first}")
                }
                (Err(Error::OutcomeUnknown), _) => {}
                (Err(_), None) => {}
                wrong => panic!("{wrong:?}: {:#?}", member.changes),
            }
            if let Some(first) = places {
                known += member.changes.events().len();
                if let Some(after) = &member.after {
                    let latest = expected.entry(after.tenant.tenant_id.clone()).or_insert((first, after));
                    if latest.0 < first {
                        *latest = (first, after);
                    }
                }
            }
        }
        assert!(log.len() >= known, "{} events, {known} known", log.len());
        for (id, (_, after)) in expected {
            let found = store.snapshot(&id).await.unwrap().unwrap();
            assert_eq!(sorted(found), sorted(after.clone()), "{id}");
        }
        whole(&self.database);
    }
}

/// Removes what upkeep has written since: the holder of the job's lease.
fn sorted(mut snapshot: TenantSnapshot) -> TenantSnapshot {
    if let Some(job) = &mut snapshot.open_job {
        (job.state, job.due_at, job.attempt) = (JobState::Queued, job.created_at, 0);
        (job.lease_holder, job.lease_epoch) = (None, 0);
    }
    snapshot.environments.sort_by(|a, b| a.name.cmp(&b.name));
    snapshot.webhooks.sort_by(|a, b| a.name.cmp(&b.name));
    snapshot.aliases.sort();
    // The holds of the organization change independently of the tenant.
    snapshot.organization_holds.clear();
    snapshot
}

/// Position of the first event if all events are stored once and in order; `None` if none is stored.
fn places(changes: &Changes, log: &BTreeMap<String, Vec<i64>>) -> Option<i64> {
    let found: Vec<_> = changes.events().iter().map(|event| log.get(event.audit_id.as_str())).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let places: Vec<i64> =
        found.iter().map(|at| at.unwrap_or_else(|| panic!("partly stored: {changes:#?}"))[0]).collect();
    assert!(found.iter().all(|at| at.unwrap().len() == 1), "twice: {changes:#?}");
    assert!(places.windows(2).all(|pair| pair[1] == pair[0] + 1), "{places:?}");
    Some(places[0])
}

/// Queries that find nothing in a consistent record.
const WHOLE: &[(&str, &str)] = &[
    (
        "batches follow each other without gap",
        "SELECT first_position, last_position FROM (SELECT *, lag(last_position) OVER (ORDER BY last_position) \
         AS before FROM log_batches) b WHERE last_position > 0 AND (first_position <> before + 1 OR last_position < first_position)",
    ),
    (
        "positions are 1, 2, 3, …",
        "SELECT position FROM (SELECT position, row_number() OVER (ORDER BY position) AS number FROM \
         (SELECT position FROM tenant_audit UNION ALL SELECT position FROM platform_audit) a) n \
         WHERE position <> number UNION ALL SELECT last_position FROM (SELECT max(last_position) AS last_position FROM \
         log_batches) b WHERE last_position <> (SELECT count(*) FROM tenant_audit) + (SELECT count(*) FROM platform_audit)",
    ),
    (
        "what is only ever inserted came with a batch of the log",
        "SELECT xmin FROM (SELECT xmin FROM tenant_versions UNION ALL SELECT xmin FROM environment_versions UNION ALL \
         SELECT xmin FROM organization_usage) w WHERE NOT EXISTS (SELECT FROM log_batches b WHERE b.xmin = w.xmin)",
    ),
    (
        "a tenant's version is what was accepted of it",
        "SELECT tenant_id FROM tenants t WHERE version <> (SELECT count(*) FROM tenant_versions v WHERE v.tenant_id = \
         t.tenant_id) OR version <> 1 + (SELECT count(*) FROM tenant_audit a WHERE a.tenant_id = t.tenant_id AND \
         event_type = 'TENANCY_UPDATED')",
    ),
    (
        "usage is what the tenants are in sum",
        "SELECT o.organization_id, u.*, s.* FROM organizations o LEFT JOIN LATERAL (SELECT tenants, \
         coalesce((quotas::jsonb->>'storageGiB')::bigint, 0) AS storage FROM organization_usage u WHERE u.organization_id = \
         o.organization_id ORDER BY serial DESC LIMIT 1) u ON true CROSS JOIN LATERAL (SELECT count(*) AS tenants, \
         coalesce(sum(coalesce((quotas->>'storageGiB')::bigint, 0)), 0) AS storage FROM tenants t WHERE \
         t.organization_id = o.organization_id AND purged_at IS NULL) s \
         WHERE (coalesce(u.tenants, 0), coalesce(u.storage, 0)) <> (s.tenants, s.storage)",
    ),
    (
        "what never had other caps uses no more than they allow",
        "SELECT o.organization_id, o.caps, u.tenants, u.quotas FROM organizations o JOIN organization_usage u USING \
         (organization_id) WHERE o.version = 1 AND (u.tenants > (o.caps::jsonb->>'tenants')::bigint OR \
         (u.quotas::jsonb->>'storageGiB')::bigint > (o.caps::jsonb->'quotas'->>'storageGiB')::bigint)",
    ),
    (
        "each usage follows the one before",
        "SELECT organization_id, serial FROM (SELECT *, row_number() OVER (PARTITION BY organization_id ORDER BY \
         serial) AS number FROM organization_usage) u WHERE serial <> number",
    ),
    (
        "an environment's version is what was accepted of it",
        "SELECT env_id FROM environments e WHERE version IS DISTINCT FROM (SELECT min(v.version) + count(*) - 1 \
         FROM environment_versions v WHERE v.env_id = e.env_id)",
    ),
    (
        "every job was asked for in the log",
        "SELECT job_id FROM tenant_jobs j WHERE NOT EXISTS (SELECT 1 FROM tenant_audit a WHERE a.tenant_id = \
         j.tenant_id AND a.payload->>'job_id' = j.job_id)",
    ),
    (
        "what stands beside the log belongs to an event",
        "SELECT audit_id FROM audit_private p WHERE NOT EXISTS (SELECT 1 FROM tenant_audit a WHERE a.audit_id = \
         p.audit_id) AND NOT EXISTS (SELECT 1 FROM platform_audit a WHERE a.audit_id = p.audit_id)",
    ),
    (
        "an organization's version is what was accepted of it",
        "SELECT organization_id FROM organizations o WHERE version <> (SELECT count(*) FROM platform_audit a WHERE \
         a.payload->>'organization_id' = o.organization_id AND event_type IN ('ORGANIZATION_CREATED', 'ORGANIZATION_UPDATED'))",
    ),
    (
        "a tenant that holds stand on has a log that says so",
        "SELECT t.tenant_id FROM tenants t WHERE (SELECT count(*) FROM holds h WHERE h.tenant_id = t.tenant_id) > \
         (SELECT count(*) FROM tenant_audit a WHERE a.tenant_id = t.tenant_id AND event_type = 'TENANCY_HOLD_PLACED')",
    ),
];

/// Checks that record and log agree.
pub fn whole(database: &Database) {
    for (promise, sql) in WHOLE {
        let found = database.rows(sql);
        assert!(found.is_empty(), "{promise}: {found:?}");
    }
}
