//! Placements: database servers and disks on which places are made.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Corrupt, Field, Record, Table, Type, Value, WriteShape, described};
use jiff::Timestamp;
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::ids::PlacementName;
use tenancy_core::json::Object;
use tenancy_core::placement::{Address, MAX_PLACEMENTS, Placement, PlacementKind};
use tenancy_core::tenant::Profile;

/// Row of a placement.
struct PlacementRow {
    name: PlacementName,
    place_kind: PlacementKind,
    region: String,
    address: Object,
    profiles: Vec<String>,
    isolation_levels: Vec<String>,
    max_environments: Option<i64>,
    cordoned: bool,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

described!(
    /// Placements. An empty address is none.
    PlacementRow as TABLE "placements" [name] {
        name: PlacementName,
        place_kind: PlacementKind,
        region: String,
        address: Object,
        profiles: Vec<String>,
        isolation_levels: Vec<String>,
        max_environments: Option<i64>,
        cordoned: bool,
        version: i64,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

/// Inserts placements.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates everything but the name, the kind and the region.
pub const UPDATE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["address", "profiles", "isolation_levels", "max_environments", "cordoned", "version", "updated_at"],
    check: Check::OneLess("version"),
};
/// Deletes placements.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Reads the versions of placements that are changed.
pub const CURRENT: Read = Read {
    columns: "name, version",
    table: "placements",
    key: "name",
    and: "",
    lock: true,
    types: &[Type::Text, Type::Int],
    keys: |needs| &needs.placements,
    put,
};

/// Reads the placements that are created, or that get a place. A unique index and a foreign key settle what another process
/// commits meanwhile.
pub const CURRENT_UNLOCKED: Read = Read {
    columns: "name, version",
    table: "placements",
    key: "name",
    and: "",
    lock: false,
    types: &[Type::Text, Type::Int],
    keys: |needs| &needs.placement_names,
    put,
};

fn put(found: &mut tenancy_core::judge::CurrentRows, row: Vec<Value>) -> Result<(), Corrupt> {
    let [name, version] = columns(row)?;
    found.placements.insert(PlacementName::take(name)?, i64::take(version)?);
    Ok(())
}

impl Record for Placement {
    const TABLE: &'static Table = TABLE;

    fn values(&self) -> Vec<Value> {
        let address = self.address.as_ref().map(|Address { host, port }| json!({"host": host, "port": port}));
        let row = PlacementRow {
            name: self.name.clone(),
            place_kind: self.place_kind,
            region: self.region.clone(),
            address: address.and_then(|address| address.as_object().cloned()).unwrap_or_default(),
            profiles: self.profiles.iter().map(ToString::to_string).collect(),
            isolation_levels: self.isolation_levels.iter().map(ToString::to_string).collect(),
            max_environments: self.max_environments,
            cordoned: self.cordoned,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        row.values()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt> {
        let row = PlacementRow::from_values(values)?;
        let host = row.address.get("host").and_then(serde_json::Value::as_str);
        let port = row.address.get("port").and_then(serde_json::Value::as_i64);
        Ok(Self {
            name: row.name,
            place_kind: row.place_kind,
            region: row.region,
            address: host.zip(port).map(|(host, port)| Address { host: host.to_owned(), port }),
            profiles: known(&row.profiles, Profile::parse)?,
            isolation_levels: known(&row.isolation_levels, IsolationLevel::parse)?,
            max_environments: row.max_environments,
            cordoned: row.cordoned,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn known<T>(texts: &[String], parse: fn(&str) -> Option<T>) -> Result<Vec<T>, Corrupt> {
    texts.iter().map(|text| parse(text).ok_or_else(|| Corrupt(format!("unknown word {text:?}")))).collect()
}

impl Store {
    /// Returns the placement with this name, if it exists.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn placement(&self, name: &PlacementName) -> Result<Option<Placement>, Error> {
        let mut sql = self.select::<Placement>();
        sql.and("name = {}", Some(name.clone()));
        Ok(self.all(sql).await?.into_iter().next())
    }

    /// Lists placements, in order of their names.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn placements(&self, page: &Page) -> Result<Listed<Placement>, Error> {
        let mut sql = self.select::<Placement>();
        sql.and("name > {}", place("placements", page)?).order("name", limit(page) + 1);
        self.list("placements", sql, page, "name").await
    }

    /// Returns all placements, in order of their names. There is a limited number.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn all_placements(&self) -> Result<Vec<Placement>, Error> {
        let mut sql = self.select::<Placement>();
        sql.order("name", MAX_PLACEMENTS);
        self.all(sql).await
    }
}
