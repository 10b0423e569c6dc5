//! Manifests of a small world, as plain values: what the model compares, and the document that is sent.

use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A string that stands for something personal: no payload of an event may contain it.
pub const PERSONAL: &str = "zz-personal";

/// The largest value that counts.
const MOST_OF_A_QUOTA: i64 = 1 << 40;

#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub desired: Option<bool>,
    pub region: bool,
    pub protection: bool,
    pub name: Option<u8>,
    pub alias: Option<u8>,
    pub storage: Option<i64>,
    /// A quota that is declared at times: while it is not, it may be anything.
    pub seats: Option<Value>,
    pub retention: Option<i64>,
    pub purge_after_days: Option<i64>,
    pub environments: BTreeMap<&'static str, Place>,
    pub webhooks: BTreeMap<&'static str, u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub strict: bool,
    pub storage: Option<i64>,
    pub odd: Option<u8>,
    pub retention: Option<i64>,
}

fn place() -> impl Strategy<Value = Place> {
    let retention = option::weighted(0.3, prop::sample::select(vec![30i64, 60]));
    (any::<bool>(), option::of(0..30i64), option::weighted(0.2, 0..3u8), retention)
        .prop_map(|(strict, storage, odd, retention)| Place { strict, storage, odd, retention })
}

fn seats() -> impl Strategy<Value = Option<Value>> {
    let odd = vec![json!(i64::MAX), json!(i64::MIN), json!(MOST_OF_A_QUOTA + 1), json!(format!("{PERSONAL} seat"))];
    option::weighted(0.6, prop_oneof![2 => (0..40i64).prop_map(Value::from), 1 => prop::sample::select(odd)])
}

pub fn spec() -> impl Strategy<Value = Spec> {
    let desired = prop::sample::select(vec![None, Some(true), Some(true), Some(true), Some(false)]);
    let policies = (option::weighted(0.2, prop::sample::select(vec![45i64, 90])), option::weighted(0.3, Just(0)));
    let environments = prop::collection::btree_map(prop::sample::select(vec!["dev", "stage", "prod"]), place(), 0..3);
    let webhooks = prop::collection::btree_map(prop::sample::select(vec!["main", "aux"]), 0..3u8, 0..2);
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.2));
    let personal = (option::weighted(0.3, 0..3u8), option::weighted(0.3, 0..3u8));
    let quotas = (option::weighted(0.7, 30..80i64), seats());
    (desired, flags, personal, quotas, policies, environments, webhooks).prop_map(
        |(
            desired,
            (region, protection),
            (name, alias),
            (storage, seats),
            (retention, purge_after_days),
            environments,
            webhooks,
        )| {
            Spec {
                desired,
                region,
                protection,
                name,
                alias,
                storage,
                seats,
                retention,
                purge_after_days,
                environments,
                webhooks,
            }
        },
    )
}

impl Spec {
    /// The document, its lists in the other order if `turned`.
    pub fn document(&self, tenant: &str, turned: bool) -> Value {
        let region = region(self.region);
        let mut environments: Vec<_> = self
            .environments
            .iter()
            .map(|(name, place)| {
                let level = if place.strict { "strict" } else { "shared" };
                let mut entry = json!({"name": name, "region": region, "isolation_level": level});
                entry["quotas"] = json!({"storageGiB": place.storage, format!("{PERSONAL}-odd"): place.odd});
                entry["retention_days"] = json!(place.retention);
                entry
            })
            .collect();
        let mut webhooks: Vec<_> = self
            .webhooks
            .iter()
            .map(|(name, n)| json!({"name": name, "url": format!("https://{PERSONAL}-{n}.example/"), "events": ["*"]}))
            .collect();
        if turned {
            environments.reverse();
            webhooks.reverse();
        }
        json!({
            "tenant_id": tenant,
            "organization_id": "acme",
            "display_name": self.name.map(|n| format!("{PERSONAL} name {n}")),
            "profile": "mt-standard",
            "desired_state": self.desired.map(|active| if active { "Active" } else { "Suspended" }),
            "region": region,
            "labels": {format!("{PERSONAL}.team"): self.name.map(|n| format!("{PERSONAL} team {n}"))},
            "billing": {"plan": self.name.map(|n| format!("{PERSONAL} plan {n}")), format!("{PERSONAL}-to"): self.alias.map(|n| format!("{PERSONAL}-{n}@example.com"))},
            "aliases": {"crm": self.alias.map(|n| format!("{PERSONAL}-{n}"))},
            "quotas": {"storageGiB": self.storage, "seats": self.seats, format!("{PERSONAL}-odd"): self.name},
            "policies": {"retentionDays": self.retention, "purgeAfterDays": self.purge_after_days, format!("{PERSONAL}-odd"): self.name},
            "deletion_protection": self.protection,
            "environments": environments,
            "webhooks": webhooks,
        })
    }

    /// What the storage counts for: without a quota of the tenant, the sum of its environments.
    pub fn storage_in_sum(&self) -> i64 {
        self.storage.unwrap_or_else(|| self.environments.values().filter_map(|place| place.storage).sum())
    }

    /// What the seats count for. That does not depend on whether they are declared.
    pub fn seats_in_sum(&self) -> i64 {
        let number = self.seats.as_ref().and_then(Value::as_i64).unwrap_or(0);
        if (0..=MOST_OF_A_QUOTA).contains(&number) { number } else { 0 }
    }

    /// Whether its fields agree with each other and with what is declared.
    pub fn is_consistent(&self, seats_are_declared: bool) -> bool {
        if seats_are_declared && self.seats.as_ref().is_some_and(|seats| seats != &json!(self.seats_in_sum())) {
            return false;
        }
        let shares: i64 = self.environments.values().filter_map(|place| place.storage).sum();
        let longest = self.environments.values().filter_map(|place| place.retention).max();
        self.storage.is_none_or(|most| shares <= most)
            && self.retention.is_none_or(|most| longest.is_none_or(|days| days <= most))
    }

    /// Whether going to `to` has to be confirmed.
    pub fn is_gated(&self, to: &Spec) -> bool {
        let shorter = |from: Option<i64>, to: Option<i64>| to.is_some_and(|to| from.is_none_or(|from| to < from));
        let environments = self.environments.iter().any(|(name, place)| match to.environments.get(name) {
            None => true,
            Some(after) => {
                // What leaves it out keeps as long as the tenant does; so it is shorter only if the tenant's is.
                let (was, is) = (place.retention.or(self.retention), after.retention.or(to.retention));
                let fewer =
                    place.storage.is_some() && after.storage.is_none() || place.odd.is_some() && after.odd.is_none();
                place.strict != after.strict || shorter(was, is) || fewer
            }
        });
        environments
            || self.region != to.region
            || self.protection && !to.protection
            || shorter(self.retention, to.retention)
            || self.loses(to)
    }

    /// Whether `to` lacks an alias, a quota or a policy.
    fn loses(&self, to: &Spec) -> bool {
        let seats = |spec: &Spec| spec.seats.as_ref().is_some_and(|seats| !seats.is_null());
        self.alias.is_some() && self.alias != to.alias
            || self.storage.is_some() && to.storage.is_none()
            || seats(self) && !seats(to)
            || self.retention.is_some() && to.retention.is_none()
            || self.purge_after_days.is_some() && to.purge_after_days.is_none()
    }
}

fn region(first: bool) -> &'static str {
    if first { "eu-west-1" } else { "eu-north-1" }
}
