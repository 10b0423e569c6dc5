//! Names in use that the configuration declares: read in bounded steps, so that a large database is not read at once.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Field, Type, Value};
use crate::sql::Sql;
use std::collections::{BTreeMap, BTreeSet};
use tenancy_core::Error;

/// Maximum number of rows that one step reads.
const STEP_ROWS: usize = 10_000;

/// Maximum number of organizations that one step reads: each has the sums of up to 256 quotas.
const STEP_ORGANIZATIONS: usize = 1_000;

/// Maximum number of steps per table. Of a larger table, the rest is not read.
const MAX_STEPS: usize = 100;

/// Names in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesInUse {
    /// Regions of tenants and environments.
    pub regions: BTreeSet<String>,
    /// Names of environments.
    pub environments: BTreeSet<String>,
    /// Kinds of holds.
    pub holds: BTreeSet<String>,
    /// Quotas that count in the usage of an organization.
    pub quotas: BTreeSet<String>,
    /// Tables that are too large to be read completely.
    pub incomplete: BTreeSet<&'static str>,
}

/// One table to read: its key, and the names in its rows.
struct Source {
    table: &'static str,
    key: &'static str,
    names: [&'static str; 2],
}

const ENVIRONMENTS: Source = Source { table: "environments", key: "env_id", names: ["name", "region"] };
const HOLDS: Source = Source { table: "holds", key: "hold_id", names: ["kind", "kind"] };

impl Store {
    /// Returns the names in use. `pause` is awaited between the steps.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn names_in_use<F: Future<Output = ()>>(&self, pause: impl Fn() -> F) -> Result<NamesInUse, Error> {
        let mut found = NamesInUse { regions: self.regions_of_tenants().await?, ..NamesInUse::default() };
        for [name, region] in self.names_of(&ENVIRONMENTS, &mut found.incomplete, &pause).await? {
            found.environments.insert(name);
            found.regions.insert(region);
        }
        for [kind, _] in self.names_of(&HOLDS, &mut found.incomplete, &pause).await? {
            found.holds.insert(kind);
        }
        self.counted_quotas(&mut found, &pause).await?;
        Ok(found)
    }

    /// Jumps from one region to the next by the index, however many tenants there are.
    async fn regions_of_tenants(&self) -> Result<BTreeSet<String>, Error> {
        let mut regions = BTreeSet::<String>::new();
        for _ in 0..MAX_STEPS {
            let mut sql = Sql::new(self.dialect(), "SELECT region FROM tenants");
            sql.and("region > {}", regions.last().cloned()).order("region", 1);
            let rows = self.rows(sql, vec![Type::Text]).await?;
            let Some([region]) = rows.into_iter().next().and_then(|row| <[Value; 1]>::try_from(row).ok()) else {
                break;
            };
            regions.insert(String::take(region).map_err(corrupt)?);
        }
        Ok(regions)
    }

    /// Returns the different names in a table, which is read in the order of its key.
    async fn names_of<F: Future<Output = ()>>(
        &self,
        Source { table, key, names: [first, second] }: &Source,
        incomplete: &mut BTreeSet<&'static str>,
        pause: &impl Fn() -> F,
    ) -> Result<BTreeSet<[String; 2]>, Error> {
        let (mut names, mut after) = (BTreeSet::new(), None::<String>);
        for _ in 0..MAX_STEPS {
            let columns = format!("SELECT {key} AS place, {first} AS first_name, {second} AS second_name FROM {table}");
            let mut page = Sql::new(self.dialect(), columns);
            page.and(&format!("{key} > {{}}"), after.clone()).order(key, STEP_ROWS);
            page.text = format!(
                "SELECT first_name, second_name, max(place) FROM ({}) page GROUP BY first_name, second_name",
                page.text
            );
            let mut last = None;
            for row in self.rows(page, vec![Type::Text, Type::Text, Type::Text]).await? {
                let Ok([first, second, place]) = <[Value; 3]>::try_from(row) else { continue };
                let [first, second, place] = [first, second, place].map(String::take);
                names.insert([first.map_err(corrupt)?, second.map_err(corrupt)?]);
                last = last.max(Some(place.map_err(corrupt)?));
            }
            if last.is_none() {
                return Ok(names);
            }
            after = last;
            pause().await;
        }
        incomplete.insert(table);
        Ok(names)
    }

    /// Adds the quotas in the newest usage of every organization.
    async fn counted_quotas<F: Future<Output = ()>>(
        &self,
        found: &mut NamesInUse,
        pause: &impl Fn() -> F,
    ) -> Result<(), Error> {
        let newest = "SELECT u.quotas FROM organization_usage u WHERE u.organization_id = o.organization_id \
                      ORDER BY u.serial DESC LIMIT 1";
        let mut after = None::<String>;
        for _ in 0..MAX_STEPS {
            let mut sql =
                Sql::new(self.dialect(), format!("SELECT o.organization_id, ({newest}) FROM organizations o"));
            sql.and("o.organization_id > {}", after.clone()).order("o.organization_id", STEP_ORGANIZATIONS);
            let rows = self.rows(sql, vec![Type::Text, Type::Json]).await?;
            let is_last = rows.len() < STEP_ORGANIZATIONS;
            for row in rows {
                let Ok([id, quotas]) = <[Value; 2]>::try_from(row) else { continue };
                after = Some(String::take(id).map_err(corrupt)?);
                let quotas = <Option<BTreeMap<String, i64>> as Field>::take(quotas).map_err(corrupt)?;
                found.quotas.extend(quotas.unwrap_or_default().into_keys());
            }
            if is_last {
                return Ok(());
            }
            pause().await;
        }
        found.incomplete.insert("organizations");
        Ok(())
    }
}
