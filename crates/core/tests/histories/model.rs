//! What must come out, written down without looking at how the rules do it.

use crate::spec::Spec;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Refused,
    Unchanged,
    Changed,
}
use Expected::{Changed, Refused, Unchanged};

/// Caps of the only organization.
pub const MOST_TENANTS: usize = 2;
pub const MOST_STORAGE: i64 = 130;
pub const MOST_SEATS: i64 = 50;

#[derive(Debug, Clone, Default)]
pub struct World {
    pub now_hours: i64,
    pub tenants: BTreeMap<String, Tenant>,
    pub seats_are_declared: bool,
    /// Holds on the only organization, with their reasons.
    pub holds: BTreeMap<&'static str, Option<u8>>,
}

#[derive(Debug, Clone)]
pub struct Tenant {
    pub spec: Spec,
    pub state: &'static str,
    pub version: i64,
    pub provisioned: bool,
    pub places: BTreeMap<&'static str, bool>,
    pub holds: BTreeMap<&'static str, Hold>,
    /// Its organization's.
    pub holds_above: BTreeSet<&'static str>,
    pub job: Option<Open>,
    pub failed: Option<&'static str>,
    pub purge_at: Option<i64>,
    pub purged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    pub reason: Option<u8>,
    pub until: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Open {
    pub action: &'static str,
    pub covers: BTreeSet<&'static str>,
    pub running: bool,
    pub begun: bool,
    pub waits: bool,
}

impl World {
    fn room(&self, tenants: usize, storage: i64, seats: i64) -> bool {
        let living: Vec<_> = self.tenants.values().filter(|tenant| !tenant.purged).collect();
        let used: i64 = living.iter().map(|tenant| tenant.spec.storage_in_sum()).sum();
        let seated: i64 = living.iter().map(|tenant| tenant.spec.seats_in_sum()).sum();
        (tenants == 0 || living.len() + tenants <= MOST_TENANTS)
            && (storage <= 0 || used + storage <= MOST_STORAGE)
            && (seats <= 0 || seated + seats <= MOST_SEATS)
    }

    fn alias_is_taken(&self, by_another_than: &str, spec: &Spec) -> bool {
        let others = self.tenants.iter().filter(|(id, _)| *id != by_another_than);
        spec.alias.is_some() && others.into_iter().any(|(_, tenant)| tenant.spec.alias == spec.alias)
    }

    pub fn register(&mut self, id: &str, spec: &Spec) -> Expected {
        let good = spec.is_consistent(self.seats_are_declared)
            && !self.tenants.contains_key(id)
            && !self.alias_is_taken(id, spec)
            && self.room(1, spec.storage_in_sum(), spec.seats_in_sum());
        if !good {
            return Refused;
        }
        let mut tenant = Tenant {
            spec: spec.clone(),
            state: "Draft",
            version: 1,
            provisioned: false,
            places: spec.environments.keys().map(|name| (*name, false)).collect(),
            holds: BTreeMap::new(),
            holds_above: self.holds.keys().copied().collect(),
            job: None,
            failed: None,
            purge_at: None,
            purged: false,
        };
        tenant.queue("create");
        self.tenants.insert(id.to_owned(), tenant);
        Changed
    }

    /// Places or releases a hold on all. No tenant does anything of itself.
    pub fn hold_all(&mut self, kind: &'static str, place: Option<Option<u8>>) -> Expected {
        let what = match place {
            Some(reason) if self.holds.insert(kind, reason) == Some(reason) => Unchanged,
            None if self.holds.remove(kind).is_none() => Refused,
            _ => Changed,
        };
        for tenant in self.tenants.values_mut() {
            tenant.holds_above = self.holds.keys().copied().collect();
        }
        what
    }

    pub fn change(&mut self, id: &str, spec: &Spec, allow: bool) -> Expected {
        let good = spec.is_consistent(self.seats_are_declared);
        let Some(before) = self.tenants.get(id).filter(|_| good) else { return Refused };
        if &before.spec == spec {
            return Unchanged;
        }
        let more = spec.storage_in_sum() - before.spec.storage_in_sum();
        let seats = spec.seats_in_sum() - before.spec.seats_in_sum();
        let gated = before.spec.is_gated(spec) && !allow;
        if before.state == "Archived" || gated || self.alias_is_taken(id, spec) || !self.room(0, more, seats) {
            return Refused;
        }
        let Some(tenant) = self.tenants.get_mut(id) else { return Refused };
        tenant.version += 1;
        tenant.spec = spec.clone();
        tenant.places.retain(|name, _| spec.environments.contains_key(name));
        for name in spec.environments.keys() {
            tenant.places.entry(name).or_insert(false);
        }
        let places = &tenant.places;
        if let Some(job) = &mut tenant.job {
            job.covers.retain(|name| places.contains_key(name));
        }
        tenant.follow();
        Changed
    }
}

impl Tenant {
    pub fn is_held(&self) -> bool {
        self.holds.keys().chain(&self.holds_above).any(|kind| *kind != "legal")
    }

    /// What is missing to what is wished.
    pub fn wanted(&self) -> Option<&'static str> {
        let out = self.is_held() || self.spec.desired == Some(false);
        let unready = !self.provisioned || self.places.values().any(|provisioned| !provisioned);
        match self.state {
            "Draft" if !self.provisioned => Some("create"),
            "Active" if out => Some("suspend"),
            "Archived" => None,
            _ if unready => Some("update"),
            "Draft" if !out && self.spec.desired == Some(true) => Some("activate"),
            "Suspended" if !out => Some("activate"),
            _ => None,
        }
    }

    fn queue(&mut self, action: &'static str) {
        let provisions = ["create", "update"].contains(&action);
        let places = self.places.iter().filter(|(_, provisioned)| !provisions || !**provisioned);
        let covers = places.map(|(name, _)| *name).collect();
        self.job = Some(Open { action, covers, running: false, begun: false, waits: false });
        self.failed = None;
    }

    fn follow(&mut self) -> bool {
        let next = self.wanted().filter(|_| self.job.is_none());
        next.inspect(|action| self.queue(action)).is_some()
    }

    pub fn suspend(&mut self, kind: &'static str, hold: Hold) -> Expected {
        let purging = self.job.as_ref().is_some_and(|job| job.action == "purge");
        if self.purged || purging && kind == "legal" {
            return Refused;
        }
        let same = self.holds.insert(kind, hold) == Some(hold);
        let moved = self.make_way() | self.follow();
        if same && !moved { Unchanged } else { Changed }
    }

    /// What only waits, and serves or would, is given up for a hold.
    fn make_way(&mut self) -> bool {
        let serves = self.state == "Active";
        let gone = self.is_held()
            && self
                .job
                .as_ref()
                .is_some_and(|job| job.waits && (job.action == "activate" || serves && job.action == "update"));
        if gone {
            self.failed = self.job.take().map(|job| job.action);
        }
        gone
    }

    pub fn cancel(&mut self) -> Expected {
        match &self.job {
            None => Refused,
            Some(job) if job.action == "purge" && job.begun => Refused,
            Some(_) => {
                self.fail();
                Changed
            }
        }
    }

    pub fn activate(&mut self, kind: Option<&'static str>) -> Expected {
        if self.purged {
            return Refused;
        }
        if self.holds.remove(kind.unwrap_or("operator")).is_some() {
            self.follow();
            return Changed;
        }
        if kind.is_some() || self.is_held() || self.spec.desired == Some(false) {
            return Refused;
        }
        if self.follow() {
            return Changed;
        }
        let comes = self.spec.desired == Some(true) || self.state == "Suspended";
        match (self.state, self.job.as_ref().map(|job| job.action)) {
            ("Active", _) | (_, Some("activate")) => Unchanged,
            (_, Some("create" | "update" | "suspend")) if comes => Unchanged,
            (_, Some(_)) | ("Archived", _) => Refused,
            _ => {
                self.queue("activate");
                Changed
            }
        }
    }

    pub fn request(&mut self, action: &'static str, now: i64) -> Expected {
        let kept = self.holds.contains_key("legal") || self.holds_above.contains("legal");
        let may = match action {
            "delete" => ["Draft", "Suspended"].contains(&self.state) && !self.spec.protection && !kept,
            "undelete" => self.state == "Archived",
            _ => self.state == "Archived" && !kept && self.purge_at.is_some_and(|at| now >= at),
        };
        if !may || self.purged || self.job.is_some() {
            return Refused;
        }
        self.queue(action);
        if action == "undelete" && !self.is_held() {
            // It says so: a reason that nobody else gives.
            self.holds.insert("operator", Hold { reason: Some(u8::MAX), until: None });
        }
        Changed
    }

    /// It follows its organization's holds.
    pub fn settle(&mut self) -> Expected {
        if self.make_way() | self.follow() { Changed } else { Unchanged }
    }

    /// A step of the open job is done in that environment.
    pub fn step(&mut self, name: &str) -> Expected {
        let job = self.job.as_ref().filter(|job| ["create", "update"].contains(&job.action));
        let provisions = job.is_some_and(|job| job.covers.contains(name));
        match self.places.get_mut(name) {
            Some(provisioned) if provisions && !*provisioned => {
                *provisioned = true;
                Changed
            }
            _ => Unchanged,
        }
    }

    /// The open job ends well, unless it is a purge of what is kept by now.
    pub fn complete(&mut self, now: i64) {
        let kept = self.holds.contains_key("legal") || self.holds_above.contains("legal");
        if kept && self.job.as_ref().is_some_and(|job| job.action == "purge") {
            return self.fail();
        }
        let Some(job) = self.job.take() else { return };
        match job.action {
            "create" | "update" => {
                self.provisioned = true;
                self.places.extend(job.covers.into_iter().map(|name| (name, true)));
            }
            "activate" => self.state = "Active",
            "suspend" => self.state = "Suspended",
            "delete" => {
                self.state = "Archived";
                self.purge_at = Some(now + 24 * self.spec.purge_after_days.unwrap_or(30));
            }
            "undelete" => {
                self.state = "Suspended";
                self.purge_at = None;
            }
            _ => {
                self.purged = true;
                self.places.clear();
                self.holds.clear();
                self.spec.environments.clear();
                self.spec.webhooks.clear();
                (self.spec.alias, self.spec.name, self.spec.seats) = (None, None, None);
                (self.spec.storage, self.spec.retention, self.spec.purge_after_days) = (None, None, None);
            }
        }
        self.follow();
    }

    /// The open job ends badly: it is not tried again of itself, but anything else that is wanted is.
    pub fn fail(&mut self) {
        let Some(job) = self.job.take() else { return };
        self.failed = Some(job.action);
        if self.wanted() != Some(job.action) {
            self.follow();
        }
    }
}
