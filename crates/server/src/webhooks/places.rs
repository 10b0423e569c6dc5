//! Places: how many requests this process sends at once, and how they are shared.
//!
//! A party is a tenant or an organization with all its webhooks, or one webhook of the platform. A party gets a further place
//! while it has less than a third of the places that are free. One party alone therefore gets at most a quarter of all
//! places, and the next one a quarter of what is left: of 256 places, 16 parties whose receivers all hang leave some for a
//! seventeenth. When their requests end, the shares become equal. A tenant and its organization are two parties, and the
//! parties are counted by each process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenancy_core::ids::WebhookId;
use tenancy_core::webhook::{Webhook, WebhookOwner};
use tokio::sync::oneshot;

/// A party gets a further place while the places that it has, times this number, are less than those that are free.
const OTHERS: usize = 3;
/// One webhook gets at most this part of all places.
const WEBHOOKS: usize = 16;

/// Who shares the places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// A tenant or an organization.
    Owner(WebhookOwner),
    /// A webhook of the platform.
    Platform(WebhookId),
}

impl Party {
    /// Returns the party that a webhook belongs to.
    pub fn of(webhook: &Webhook) -> Self {
        match &webhook.owner {
            WebhookOwner::Platform => Self::Platform(webhook.webhook_id.clone()),
            owner => Self::Owner(owner.clone()),
        }
    }
}

/// The places of one process.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_party: HashMap<Party, usize>,
    waiting: VecDeque<(Party, oneshot::Sender<Place>)>,
}

/// The right to send one request. It is given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    party: Party,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(&self.party);
    }
}

impl Places {
    /// Creates places for this many requests at once.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Returns the number of requests to one webhook at once: what it allows, and not more than a part of all.
    pub fn of_webhook(&self, webhook: &Webhook) -> usize {
        let own = usize::try_from(webhook.in_flight()).unwrap_or(1);
        own.min(self.most / WEBHOOKS).max(1)
    }

    /// Takes a place, if the party may have one now.
    pub fn take(self: &Arc<Self>, party: &Party) -> Option<Place> {
        let mut taken = self.taken();
        taken.allows(party, self.most).then(|| {
            taken.count(party);
            self.place(party)
        })
    }

    /// Asks for a place. Those who ask get it in the order in which they asked, as far as their parties may have one.
    pub fn ask(self: &Arc<Self>, party: &Party) -> oneshot::Receiver<Place> {
        let (grant, granted) = oneshot::channel();
        let mut taken = self.taken();
        if taken.allows(party, self.most) {
            taken.count(party);
            drop(taken);
            // If this fails, nobody waits any more, and the place is given back.
            let _ = grant.send(self.place(party));
        } else {
            taken.waiting.push_back((party.clone(), grant));
        }
        granted
    }

    fn place(self: &Arc<Self>, party: &Party) -> Place {
        Place { places: Arc::clone(self), party: party.clone() }
    }

    fn give_back(self: &Arc<Self>, party: &Party) {
        let grants = {
            let mut taken = self.taken();
            taken.uncount(party);
            taken.grants(self.most)
        };
        // Without the lock: a place that nobody waits for any more is given back here.
        for (party, grant) in grants {
            let _ = grant.send(self.place(&party));
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // After a panic the counts are still valid: each operation changes them as a whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn allows(&self, party: &Party, most: usize) -> bool {
        let own = self.by_party.get(party).copied().unwrap_or_default();
        own.saturating_mul(OTHERS) < most.saturating_sub(self.total)
    }

    fn count(&mut self, party: &Party) {
        self.total += 1;
        *self.by_party.entry(party.clone()).or_default() += 1;
    }

    fn uncount(&mut self, party: &Party) {
        self.total = self.total.saturating_sub(1);
        if let Some(own) = self.by_party.get_mut(party) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_party.remove(party);
            }
        }
    }

    /// Takes those out of the list who get a place now, and counts their places.
    fn grants(&mut self, most: usize) -> Vec<(Party, oneshot::Sender<Place>)> {
        let mut grants = Vec::new();
        for (party, grant) in std::mem::take(&mut self.waiting) {
            if grant.is_closed() {
                continue;
            }
            if self.allows(&party, most) {
                self.count(&party);
                grants.push((party, grant));
            } else {
                self.waiting.push_back((party, grant));
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::ids::TenantId;

    const MOST: usize = 256;

    fn tenant(number: usize) -> Party {
        Party::Owner(WebhookOwner::Tenant(TenantId::known(format!("tenant-{number}"))))
    }

    fn all(places: &Arc<Places>, party: &Party) -> Vec<Place> {
        std::iter::from_fn(|| places.take(party)).collect()
    }

    #[test]
    fn must_give_one_party_a_quarter_and_leave_places_for_others_when_many_take_all_they_get() {
        let places = Places::new(MOST);
        let first = all(&places, &tenant(0));
        assert_eq!(first.len(), MOST / 4);
        let mut hanging = vec![first];
        for number in 1..15 {
            let taken = all(&places, &tenant(number));
            assert!(!taken.is_empty(), "party {number} gets a place");
            hanging.push(taken);
        }
        let webhook = Party::Platform(WebhookId::known("whk_1"));
        assert!(places.take(&webhook).is_some() && places.take(&tenant(15)).is_some());
        drop(hanging);
        assert_eq!(all(&places, &webhook).len(), MOST / 4, "all are given back");
    }

    #[test]
    fn must_give_a_place_to_each_party_while_there_is_one_however_few_there_are() {
        for most in 1..5 {
            let places = Places::new(most);
            let taken: Vec<_> = (0..most).map(|number| places.take(&tenant(number))).collect();
            assert!(taken.iter().all(Option::is_some), "{most}");
            assert!(places.take(&tenant(most)).is_none(), "{most}");
        }
    }

    #[test]
    fn must_grant_places_in_the_order_in_which_they_were_asked_for_and_skip_who_may_not_have_one_or_is_gone() {
        let places = Places::new(4);
        let (first, second) = (places.take(&tenant(1)).expect("free"), places.take(&tenant(2)).expect("free"));
        let mut again = places.ask(&tenant(1));
        assert!(again.try_recv().is_err(), "it has more than a third of what is free");
        let (mut third, mut fourth) = (places.ask(&tenant(3)), places.ask(&tenant(4)));
        let (third, fourth) = (third.try_recv().expect("free"), fourth.try_recv().expect("free"));
        let (gone, mut fifth) = (places.ask(&tenant(6)), places.ask(&tenant(5)));
        drop(gone);
        drop(second);
        let fifth = fifth.try_recv().expect("the place that was given back");
        drop(first);
        let again = again.try_recv().expect("it has none, so it may have one");
        let unheard = places.ask(&tenant(7));
        drop([third, fourth, fifth, again]);
        drop(unheard);
        assert_eq!(places.taken().total, 0, "a place that was granted and not taken is given back, too");
    }
}
