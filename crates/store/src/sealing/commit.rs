//! Seals the rows of a commit, and keeps the data keys of tenants in step with it.

use super::{columns, is_sealed, no_key, sealed_json, unusable};
use crate::batch::Member;
use crate::rows::{Record as _, Value};
use crate::tables::data_keys::DataKeyRow;
use crate::write_kind::WriteKind;
use crate::{Receipt, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Write};
use tenancy_core::ids::TenantId;
use tenancy_vault::{DataKey, WrappedKey};

/// Data keys that a commit creates or erases.
#[derive(Debug, Default)]
pub struct KeysOfCommit {
    created: Option<(WrappedKey, Arc<DataKey>)>,
    erased: Option<TenantId>,
    /// Whether the rows were sealed with a data key.
    were_used: bool,
}

impl Store {
    /// Makes the rows of changes, and seals them. A tenant that is registered gets its data key here.
    pub(crate) async fn sealed(&self, changes: Changes) -> Result<(Member, KeysOfCommit), Error> {
        let sealed = self.sealed_with_key(changes).await;
        match &sealed {
            Ok((_, keys)) if keys.were_used => self.lacks_key.store(false, Ordering::Relaxed),
            Err(Error::KeysUnavailable) => self.lacks_key.store(true, Ordering::Relaxed),
            _ => {}
        }
        sealed
    }

    async fn sealed_with_key(&self, changes: Changes) -> Result<(Member, KeysOfCommit), Error> {
        let mut member = Member::new(changes);
        let owner = member.changes.tenant_id.as_ref().map(TenantId::to_string).unwrap_or_default();
        let mut keys = KeysOfCommit::default();
        let mut own_key = None;
        for write in &member.changes.writes {
            match write {
                Write::InsertTenant(tenant) => own_key = Some((tenant.terms.has_own_key(), tenant.created_at)),
                Write::EraseTenant(id, ..) => keys.erased = Some(id.clone()),
                _ => {}
            }
        }
        if let Some((of_its_own, created_at)) = own_key {
            let (wrapped, key) = self.vault.create(&owner, of_its_own).await.map_err(|error| unusable(&error))?;
            let row = DataKeyRow::of(&wrapped, created_at).values();
            member.rows.push((WriteKind::InsertDataKey, row));
            seal(&mut member, &key);
            keys.created = Some((wrapped, key));
            keys.were_used = true;
        } else if keys.erased.is_some() {
            // The purge deletes it in the same commit.
            drop_private(&mut member);
        } else if member.rows.iter().any(|(kind, row)| is_to_seal(*kind, row)) {
            match self.data_key(&owner).await? {
                Some(key) => {
                    seal(&mut member, &key);
                    keys.were_used = true;
                }
                None => {
                    drop_private(&mut member);
                    nothing_left_to_seal(&member, &owner)?;
                }
            }
        }
        member.measure();
        Ok((member, keys))
    }

    /// Follows the outcome of a commit.
    pub(crate) async fn settle(&self, keys: KeysOfCommit, committed: &Result<Receipt, Error>) {
        match (keys.created, committed) {
            (Some((wrapped, key)), Ok(_)) => self.vault.keep(&wrapped, key),
            // The key may be in the database.
            (_, Err(Error::OutcomeUnknown)) | (None, _) => {}
            (Some((wrapped, _)), Err(_)) => self.discard(&wrapped).await,
        }
        if let (Some(tenant), Ok(_)) = (keys.erased, committed) {
            self.vault.forget(tenant.as_str());
            if let Err(error) = self.settle_data_keys_of(&tenant).await {
                tracing::warn!(tenant_id = tenant.as_str(), %error, "the key of a purged tenant is destroyed later");
            }
        }
    }
}

/// Whether a row has a value to seal.
fn is_to_seal(kind: WriteKind, row: &[Value]) -> bool {
    columns::of_kind(kind.index())
        .is_some_and(|place| place.value(row).is_some_and(|value| place.is_json || !is_sealed(value)))
}

fn seal(member: &mut Member, key: &DataKey) {
    for (kind, row) in &mut member.rows {
        if !is_to_seal(*kind, row) {
            continue;
        }
        let Some(place) = columns::of_kind(kind.index()) else { continue };
        let name = place.row_name(row);
        let Some(plain) = place.value(row) else { continue };
        let sealed = if place.is_json { sealed_json(key, &name, plain) } else { key.seal(&name, plain.as_bytes()) };
        row[place.column] = Value::Text(sealed);
    }
}

fn drop_private(member: &mut Member) {
    member.rows.retain(|(kind, _)| *kind != WriteKind::InsertPrivate);
}

/// Fails if a row would be stored that cannot be sealed.
fn nothing_left_to_seal(member: &Member, owner: &str) -> Result<(), Error> {
    if member.rows.iter().any(|(kind, row)| is_to_seal(*kind, row)) { Err(no_key(owner)) } else { Ok(()) }
}
