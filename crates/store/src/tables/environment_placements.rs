//! Where the data of environments lives.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::ByKey;
use crate::list::corrupt;
use crate::rows::{Check, Field, Type, WriteShape, described};
use crate::sql::Sql;
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{EnvironmentId, PlacementName, TenantId};
use tenancy_core::placement::{EnvironmentPlacement, MAX_ENVIRONMENTS, PlacementKind};
use tenancy_core::rules::placements::Taken;

described!(
    /// Places of environments, also of removed ones.
    EnvironmentPlacement as TABLE "environment_placements" [env_id] {
        env_id: EnvironmentId,
        tenant_id: TenantId,
        name: String,
        placement: Option<PlacementName>,
        slot: Option<String>,
        kind: PlacementKind,
        location: String,
        fingerprint: String,
        settings: Option<String>,
        created_at: Timestamp,
        made_at: Option<Timestamp>,
        removed_at: Option<Timestamp>,
        closed_at: Option<Timestamp>,
        destroying_at: Option<Timestamp>,
    }
);

/// Maximum number of places on one placement that are read: the largest cap, and one more.
const MAX_PLACES: usize = MAX_ENVIRONMENTS.unsigned_abs() as usize + 1;

/// Inserts places that were chosen.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates the columns that say what became of a place.
pub const UPDATE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["settings", "made_at", "removed_at", "closed_at", "destroying_at"],
    check: Check::None,
};
/// Deletes places that were destroyed.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Reads the slots that are taken.
pub const CURRENT_SLOTS: Read = Read {
    columns: "slot",
    table: "environment_placements",
    key: "slot",
    and: "",
    lock: false,
    types: &[Type::Text],
    keys: |needs| &needs.slots,
    put: |found, row| {
        let [slot] = columns(row)?;
        found.slots.insert(String::take(slot)?);
        Ok(())
    },
};

/// Finds the places of a tenant's environments.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

impl Store {
    /// Returns the places of a tenant's environments, also of removed ones.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn places(&self, tenant: &TenantId) -> Result<Vec<EnvironmentPlacement>, Error> {
        let mut sql = self.select::<EnvironmentPlacement>();
        sql.and("tenant_id = {}", Some(tenant.clone()));
        self.all(sql).await
    }

    /// Returns how many environments have a place on a placement, counted up to `most`.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn count_places(&self, placement: &PlacementName, most: usize) -> Result<usize, Error> {
        let mut sql = Sql::new(self.dialect(), "SELECT env_id FROM environment_placements");
        sql.and("placement = {}", Some(placement.clone())).order("placement", most);
        sql.text = format!("SELECT count(*) FROM ({}) AS counted", sql.text);
        let rows = self.rows(sql, vec![Type::Int]).await?;
        let count = rows.into_iter().flatten().next().map(<i64 as Field>::take).transpose().map_err(corrupt)?;
        Ok(usize::try_from(count.unwrap_or_default()).unwrap_or_default())
    }

    /// Returns the slots of the places on a placement. Reads at most one more than a cap can permit.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn taken(&self, placement: &PlacementName) -> Result<Taken, Error> {
        let mut sql = Sql::new(self.dialect(), "SELECT slot FROM environment_placements");
        sql.and("placement = {}", Some(placement.clone())).order("placement", MAX_PLACES);
        let mut taken = Taken::default();
        for slot in self.rows(sql, vec![Type::Text]).await?.into_iter().flatten() {
            let slot = <Option<String> as Field>::take(slot).map_err(corrupt)?;
            match slot.as_ref().and_then(|slot| slot.rsplit('/').next()?.parse().ok()) {
                Some(number) => drop(taken.numbers.insert(number)),
                None => taken.others += 1,
            }
        }
        Ok(taken)
    }
}
