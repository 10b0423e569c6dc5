//! Creates, changes and deletes placements, and finds the ones that take an environment.

use super::change_builder::changes;
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::environment::Environment;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::json::{Pointer, differences, sha256_hex};
use crate::placement::{MAX_PLACEMENTS, Placement, PlacementKind};
use crate::rules::placement_manifest::PlacementManifest;
use crate::tenant::Profile;
use crate::violation::Violation;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Maximum number of placements that the reason for a missing placement names.
const MAX_NAMED: usize = 3;

/// Decision on a placement.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementDecision {
    /// The placement after the change.
    pub placement: Placement,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
}

/// Creates a placement. `others` is the number of placements that exist.
///
/// # Errors
/// [`Error::NotNow`] if there are [`MAX_PLACEMENTS`].
pub fn create(
    manifest: &PlacementManifest,
    others: usize,
    context: &mut DecisionContext,
) -> Result<PlacementDecision, Error> {
    if others >= MAX_PLACEMENTS {
        return Err(Error::NotNow(format!("there are {MAX_PLACEMENTS} placements, which is the maximum")));
    }
    let placement = built(manifest, 1, context.now, context);
    let payload = json!({"version": 1, "manifest": manifest.document()});
    let event = event(EventType::PlacementCreated, &placement, payload, context);
    let guards = vec![Guard::PlacementUnused(placement.name.clone())];
    let changes = changes(vec![event], guards, vec![Write::InsertPlacement(placement.clone())])?;
    Ok(PlacementDecision { placement, changes })
}

/// Returns a violation for each field of a document that can never change. Callers use it to report them together with all
/// other violations.
pub fn immutable(before: &Placement, document: &Value) -> Vec<Violation> {
    let current = PlacementManifest::of(before).document();
    let is_other = |name: &&str| document.get(*name).is_some_and(|said| !said.is_null() && *said != current[*name]);
    let fixed = ["name", "place_kind", "region"].into_iter().filter(is_other);
    fixed
        .map(|name| {
            let message = format!("{name} of a placement cannot be changed: create another placement");
            Violation::at(&Pointer::root().key(name), "immutable", message)
        })
        .collect()
}

/// Changes a placement to `manifest`. A cap can be lower than the number of environments: then no new ones are placed until
/// there is room.
///
/// # Errors
/// [`Error::Invalid`] for a field that cannot change.
pub fn change(
    before: &Placement,
    manifest: &PlacementManifest,
    context: &mut DecisionContext,
) -> Result<PlacementDecision, Error> {
    let fixed = immutable(before, &manifest.document());
    if !fixed.is_empty() {
        return Err(Error::Invalid(fixed));
    }
    let differences = differences(&PlacementManifest::of(before).document(), &manifest.document());
    if differences.is_empty() {
        return Ok(PlacementDecision { placement: before.clone(), changes: None });
    }
    let placement = built(manifest, before.version + 1, before.created_at, context);
    let payload = json!({"version": placement.version, "changes": differences});
    let event = event(EventType::PlacementUpdated, &placement, payload, context);
    let changes = changes(vec![event], vec![at(before)], vec![Write::UpdatePlacement(placement.clone())])?;
    Ok(PlacementDecision { placement, changes })
}

/// Deletes a placement on which there is nothing. `environments` is the number of environments that have a place on it.
///
/// # Errors
/// [`Error::NotNow`] if there are environments on it.
pub fn delete(
    before: &Placement,
    environments: usize,
    context: &mut DecisionContext,
) -> Result<PlacementDecision, Error> {
    if environments > 0 {
        let name = &before.name;
        let places = if environments == 1 { "a place".to_owned() } else { format!("{environments} places") };
        return Err(Error::NotNow(format!(
            "placement {name} has {places} of environments: cordon it, and delete it when their tenants are purged"
        )));
    }
    let event = event(EventType::PlacementDeleted, before, json!({"version": before.version}), context);
    let changes = changes(vec![event], vec![at(before)], vec![Write::DeletePlacement(before.name.clone())])?;
    Ok(PlacementDecision { placement: before.clone(), changes })
}

fn built(
    manifest: &PlacementManifest,
    version: i64,
    created_at: jiff::Timestamp,
    context: &DecisionContext,
) -> Placement {
    let manifest = manifest.clone();
    Placement {
        name: manifest.name,
        place_kind: manifest.place_kind,
        region: manifest.region,
        address: manifest.address,
        profiles: manifest.profiles,
        isolation_levels: manifest.isolation_levels,
        max_environments: manifest.max_environments,
        cordoned: manifest.cordoned,
        version,
        created_at,
        updated_at: context.now,
    }
}

fn at(before: &Placement) -> Guard {
    Guard::PlacementAt(before.name.clone(), before.version)
}

fn event(event_type: EventType, placement: &Placement, mut payload: Value, context: &mut DecisionContext) -> Event {
    payload["placement"] = json!(placement.name);
    Event::new(context, None, event_type, payload)
}

/// Returns the placements that take an environment of a tenant with this profile, in the order in which they are tried. The
/// order differs from environment to environment, so that they are spread, and is the same at every call. Whether a placement
/// has room is not known here.
pub fn fitting<'a>(placements: &'a [Placement], environment: &Environment, profile: Profile) -> Vec<&'a Placement> {
    let fits = |placement: &&Placement| unfit(placement, environment, profile).is_none();
    let mut fitting: Vec<_> = placements.iter().filter(fits).collect();
    let env_id = environment.env_id.as_str().as_bytes();
    fitting.sort_by_cached_key(|placement| sha256_hex(&[env_id, placement.name.as_str().as_bytes()]));
    fitting
}

/// Returns what an environment waits for that no placement takes. `full` are the reasons of placements that would fit; those of
/// the other placements in its region follow.
pub fn missing(placements: &[Placement], environment: &Environment, profile: Profile, full: Vec<String>) -> String {
    let Environment { region, isolation_level, .. } = environment;
    let in_region = placements.iter().filter(|placement| placement.region == *region);
    let unfit = in_region.filter_map(|placement| unfit(placement, environment, profile));
    let mut reasons: Vec<_> = full.into_iter().chain(unfit).take(MAX_NAMED + 1).collect();
    if reasons.len() > MAX_NAMED {
        reasons.truncate(MAX_NAMED);
        reasons.push("and others".to_owned());
    }
    let why = if reasons.is_empty() { "there is none in this region".to_owned() } else { reasons.join(", ") };
    format!("a placement in {region} that takes environments with {profile} and {isolation_level} ({why})")
}

/// Returns the reason why a placement does not take an environment; `None` if it does.
fn unfit(placement: &Placement, environment: &Environment, profile: Profile) -> Option<String> {
    let Placement { name, profiles, isolation_levels, .. } = placement;
    let level = environment.isolation_level;
    if placement.region != environment.region {
        return Some(format!("{name} is in {}", placement.region));
    }
    if !profiles.is_empty() && !profiles.contains(&profile) {
        return Some(format!("{name} does not take {profile}"));
    }
    if !isolation_levels.is_empty() && !isolation_levels.contains(&level) {
        return Some(format!("{name} does not take {level}"));
    }
    if placement.place_kind == PlacementKind::PostgresSchema && profile == Profile::Dedicated {
        return Some(format!("{name} has schemas, and {profile} needs a database of its own"));
    }
    placement.cordoned.then(|| format!("{name} is cordoned"))
}

/// Numbers of the places on a placement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Numbers that are taken.
    pub numbers: BTreeSet<i64>,
    /// Places without a number: they were made while the placement had no cap.
    pub others: usize,
}

/// Returns a free number below the cap of a placement; `None` if it has no room. Of as many free numbers as there is room,
/// `pick` selects one: two environments that are placed at the same time rarely get the same number, and together never more
/// numbers than there is room, even after the cap was lowered.
pub fn free_number(taken: &Taken, max_environments: i64, pick: u64) -> Option<i64> {
    let Taken { numbers, others } = taken;
    let room = max_environments - i64::try_from(numbers.len() + others).unwrap_or(i64::MAX);
    let room = u64::try_from(room).ok().filter(|room| *room > 0)?;
    let free = (1..=max_environments).filter(|number| !numbers.contains(number));
    free.take(usize::try_from(room).unwrap_or(usize::MAX)).nth(usize::try_from(pick % room).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn must_never_give_out_more_numbers_than_there_is_room(
            before in prop::collection::btree_set(1..40i64, 0..30),
            others in 0..4usize,
            cap in 0..40i64,
            picks in prop::collection::vec(any::<u64>(), 1..40),
        ) {
            let mut taken = Taken { numbers: before.clone(), others };
            // Each round, two choose at the same time, and both commit if their numbers differ.
            for pair in picks.chunks(2) {
                let chosen: Vec<_> = pair.iter().filter_map(|pick| free_number(&taken, cap, *pick)).collect();
                for number in chosen {
                    prop_assert!((1..=cap).contains(&number) && !before.contains(&number));
                    taken.numbers.insert(number);
                }
                let (most, used) = (usize::try_from(cap).unwrap_or(0).max(before.len() + others), taken.numbers.len() + others);
                prop_assert!(used <= most, "{used} of {most}");
            }
            if i64::try_from(taken.numbers.len() + others).unwrap() < cap {
                prop_assert!(free_number(&taken, cap, 7).is_some());
            }
        }
    }
}
