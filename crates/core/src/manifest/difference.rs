//! Differences between two manifests: of what is written, and of what follows from it.

use super::document::{EnvironmentManifest, Manifest};
use crate::json::{Difference, Pointer, differences};
use serde_json::json;

impl Manifest {
    /// Returns all differences from `self` to `to`. An environment that moves with its tenant differs too, although its
    /// entry stays the same.
    pub fn differences(&self, to: &Self) -> Vec<Difference> {
        let mut found = differences(&self.document(), &to.document());
        let list = Pointer::root().key("environments");
        for entry in &self.environments {
            if let Some(other) = to.environments.iter().find(|other| other.name == entry.name) {
                entry.moves(other, &list.key(&entry.name), &mut found);
            }
        }
        found
    }
}

impl EnvironmentManifest {
    /// Returns all differences from `self` to `to`, with the regions in effect if these differ.
    pub fn differences(&self, to: &Self) -> Vec<Difference> {
        let mut found = differences(&self.document(), &to.document());
        self.moves(to, &Pointer::root(), &mut found);
        found
    }

    fn moves(&self, to: &Self, at: &Pointer, found: &mut Vec<Difference>) {
        if self.region == to.region {
            return;
        }
        let pointer = at.key("region").to_string();
        found.retain(|difference| difference.pointer != pointer);
        let moved = Difference { pointer, from: json!(self.region), to: json!(to.region) };
        let place = found.iter().position(|difference| difference.pointer > moved.pointer).unwrap_or(found.len());
        found.insert(place, moved);
    }
}
