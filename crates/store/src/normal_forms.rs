//! The program's part of migration `0005_normal_forms`: SQL cannot compute the normal forms of texts. It rewrites display
//! names, labels and aliases of earlier releases, and fills what lists are searched by. It reads a page of rows at a time,
//! within the transaction of the migrations.

use crate::rows::{Field, Value};
use std::collections::{BTreeMap, BTreeSet};
use tenancy_core::Error;
use tenancy_core::ids::Alias;
use tenancy_core::normal_form::{bare_host, nfc, search_form};
use tenancy_core::tenant::Labels;

/// Number of rows that are read at once.
pub const PAGE_ROWS: usize = 1000;

/// Maximum number of aliases that an error lists.
const MAX_LISTED: usize = 100;

/// A way through all rows of a table, in the order of the first column.
pub struct Pass {
    /// Statement that reads a page: the rows after a key. Its columns are texts.
    pub sqlite: &'static str,
    /// The same for PostgreSQL.
    pub postgres: &'static str,
    /// Number of columns.
    pub columns: usize,
    /// What to write for a page.
    pub page: fn(&mut Progress, Vec<Vec<Value>>) -> Rewrites,
    /// What to write after the last page.
    pub end: fn(&mut Progress) -> Rewrites,
}

/// What a page, or all of them, lead to.
type Rewrites = Result<Vec<Rewrite>, Error>;

/// Rows to write by one statement. All values are texts.
#[derive(Debug, PartialEq)]
pub struct Rewrite {
    /// Statement that writes one row.
    pub sqlite: &'static str,
    /// Statement that writes rows: an array for each column.
    pub postgres: &'static str,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// What has been found so far.
#[derive(Default)]
pub struct Progress {
    /// Aliases whose normal form differs: the form, then the aliases with their tenants.
    moved: BTreeMap<String, Vec<(String, String)>>,
    /// Aliases that already have one of those forms, with their tenants.
    taken: BTreeMap<String, String>,
    /// Aliases without a normal form.
    wrong: Vec<String>,
}

/// The passes, in order.
pub const PASSES: &[Pass] = &[
    Pass {
        sqlite: "SELECT alias, tenant_id FROM aliases WHERE alias > ?1 ORDER BY alias LIMIT ?2",
        postgres: "SELECT alias, tenant_id FROM aliases WHERE alias > $1::text ORDER BY alias LIMIT $2::bigint",
        columns: 2,
        page: aliases,
        end: |progress| {
            refuse(&progress.wrong, "have no normal form: remove these host aliases or change them to host names")
        },
    },
    Pass {
        sqlite: "SELECT alias, tenant_id FROM aliases WHERE alias > ?1 ORDER BY alias LIMIT ?2",
        postgres: "SELECT alias, tenant_id FROM aliases WHERE alias > $1::text ORDER BY alias LIMIT $2::bigint",
        columns: 2,
        page: |progress, rows| {
            for row in rows {
                let [alias, tenant] = texts(row)?;
                if progress.moved.contains_key(&alias) {
                    progress.taken.insert(alias, tenant);
                }
            }
            Ok(Vec::new())
        },
        end: moves,
    },
    Pass {
        sqlite: "SELECT tenant_id, coalesce(display_name, ''), labels FROM tenants WHERE tenant_id > ?1 ORDER BY tenant_id LIMIT ?2",
        postgres: "SELECT tenant_id, coalesce(display_name, ''), labels::text FROM tenants WHERE tenant_id > $1::text \
                   ORDER BY tenant_id LIMIT $2::bigint",
        columns: 3,
        page: tenants,
        end: |_| Ok(Vec::new()),
    },
    Pass {
        sqlite: "SELECT organization_id, coalesce(display_name, ''), labels FROM organizations WHERE organization_id > ?1 \
                 ORDER BY organization_id LIMIT ?2",
        postgres: "SELECT organization_id, coalesce(display_name, ''), labels::text FROM organizations \
                   WHERE organization_id > $1::text ORDER BY organization_id LIMIT $2::bigint",
        columns: 3,
        page: organizations,
        end: |_| Ok(Vec::new()),
    },
];

fn texts<const N: usize>(row: Vec<Value>) -> Result<[String; N], Error> {
    let texts = row.into_iter().map(|value| String::take(value).map_err(crate::list::corrupt));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    texts.try_into().map_err(|_| Error::Internal("a page has other columns than expected".to_owned()))
}

/// Returns the normal form of a stored alias. Earlier releases accepted more than a host name as a host: it is cut to that.
fn normal(alias: &str) -> Option<String> {
    let (kind, value) = alias.split_once(':')?;
    let value = if kind == Alias::HOST { bare_host(value) } else { value };
    Alias::new(kind, value).ok().map(|alias| alias.as_str().to_owned())
}

fn aliases(progress: &mut Progress, rows: Vec<Vec<Value>>) -> Result<Vec<Rewrite>, Error> {
    let mut same = Vec::new();
    for row in rows {
        let [alias, tenant] = texts(row)?;
        match normal(&alias) {
            Some(form) if form == alias => {
                let searched = search_form(Alias::known(form).value());
                same.push(vec![alias.put(), searched.put()]);
            }
            Some(form) => progress.moved.entry(form).or_default().push((alias, tenant)),
            None => progress.wrong.push(format!("{alias} of {tenant}")),
        }
    }
    Ok(vec![Rewrite {
        sqlite: "UPDATE aliases SET search_value = ?2 WHERE alias = ?1",
        postgres: "UPDATE aliases t SET search_value = u.b FROM unnest($1::text[], $2::text[]) u(a, b) WHERE t.alias = u.a",
        rows: same,
    }])
}

/// Gives aliases their forms. Two tenants must not get the same one; of several aliases of one tenant, one remains.
fn moves(progress: &mut Progress) -> Result<Vec<Rewrite>, Error> {
    let (mut clashes, mut renamed, mut removed, mut touched) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
    for (form, mut old) in std::mem::take(&mut progress.moved) {
        let holder = progress.taken.get(&form).map(|tenant| (form.clone(), tenant.clone()));
        let owners: BTreeSet<_> = old.iter().chain(&holder).map(|(_, tenant)| tenant.clone()).collect();
        if owners.len() > 1 {
            let all = holder.iter().chain(&old).map(|(alias, tenant)| format!("{alias} of {tenant}"));
            clashes.push(all.collect::<Vec<_>>().join(" and "));
            continue;
        }
        touched.extend(owners);
        if holder.is_none()
            && let Some((alias, _)) = old.pop()
        {
            let searched = search_form(Alias::known(form.as_str()).value());
            renamed.push(vec![alias.put(), form.put(), searched.put()]);
        }
        removed.extend(old.into_iter().map(|(alias, _)| vec![alias.put()]));
    }
    refuse(&clashes, "name the same, but belong to different tenants: remove all but one of each")?;
    Ok(vec![
        Rewrite {
            sqlite: "DELETE FROM aliases WHERE alias = ?1",
            postgres: "DELETE FROM aliases t USING unnest($1::text[]) u(a) WHERE t.alias = u.a",
            rows: removed,
        },
        Rewrite {
            sqlite: "UPDATE aliases SET alias = ?2, search_value = ?3 WHERE alias = ?1",
            postgres: "UPDATE aliases t SET alias = u.b, search_value = u.c \
                       FROM unnest($1::text[], $2::text[], $3::text[]) u(a, b, c) WHERE t.alias = u.a",
            rows: renamed,
        },
        counters(touched),
    ])
}

/// The counter of a tenant goes up with each change of what belongs to it: a process of an earlier release may have it in
/// its response cache.
fn counters(tenants: BTreeSet<String>) -> Rewrite {
    Rewrite {
        sqlite: "UPDATE tenants SET counter = counter + 1 WHERE tenant_id = ?1",
        postgres: "UPDATE tenants t SET counter = counter + 1 FROM unnest($1::text[]) u(a) WHERE t.tenant_id = u.a",
        rows: tenants.into_iter().map(|id| vec![id.put()]).collect(),
    }
}

/// A row with a name and labels: its id; the name, its searched form; the labels; whether it had other forms.
struct Named {
    id: String,
    name: Option<(String, String)>,
    labels: Labels,
    is_other: bool,
}

fn named(row: Vec<Value>) -> Result<Named, Error> {
    let [id, name, labels] = texts(row)?;
    // A row that cannot be read does not keep the others from being migrated: lists show it as unreadable.
    let labels = Labels::take(Value::Text(labels)).unwrap_or_default();
    let normal: Labels = labels.iter().map(|(key, value)| (key.clone(), nfc(value).into_owned())).collect();
    let form = nfc(&name).into_owned();
    let is_other = form != name || normal != labels;
    let name = (!form.is_empty()).then(|| (form.clone(), search_form(&form)));
    Ok(Named { id, name, labels: normal, is_other })
}

fn tenants(_: &mut Progress, rows: Vec<Vec<Value>>) -> Result<Vec<Rewrite>, Error> {
    let (mut names, mut labels, mut changed, mut touched) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
    for row in rows {
        let row = named(row)?;
        names.extend(row.name.map(|(name, searched)| vec![row.id.put(), name.put(), searched.put()]));
        labels.extend(row.labels.iter().map(|(key, value)| vec![row.id.put(), key.put(), value.put()]));
        if row.is_other {
            changed.push(vec![row.id.put(), row.labels.put()]);
            touched.insert(row.id);
        }
    }
    Ok(vec![
        Rewrite {
            sqlite: "UPDATE tenants SET display_name = ?2, search_name = ?3 WHERE tenant_id = ?1",
            postgres: "UPDATE tenants t SET display_name = u.b, search_name = u.c \
                       FROM unnest($1::text[], $2::text[], $3::text[]) u(a, b, c) WHERE t.tenant_id = u.a",
            rows: names,
        },
        Rewrite {
            sqlite: "INSERT INTO tenant_labels (tenant_id, label_key, label_value) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (tenant_id, label_key) DO UPDATE SET label_value = excluded.label_value",
            postgres: "INSERT INTO tenant_labels (tenant_id, label_key, label_value) \
                       SELECT u.a, u.b, u.c FROM unnest($1::text[], $2::text[], $3::text[]) u(a, b, c) \
                       ON CONFLICT (tenant_id, label_key) DO UPDATE SET label_value = excluded.label_value",
            rows: labels,
        },
        Rewrite {
            sqlite: "UPDATE tenants SET labels = ?2 WHERE tenant_id = ?1",
            postgres: "UPDATE tenants t SET labels = u.b::jsonb FROM unnest($1::text[], $2::text[]) u(a, b) \
                       WHERE t.tenant_id = u.a",
            rows: changed,
        },
        counters(touched),
    ])
}

fn organizations(_: &mut Progress, rows: Vec<Vec<Value>>) -> Result<Vec<Rewrite>, Error> {
    let (mut names, mut changed) = (Vec::new(), Vec::new());
    for row in rows {
        let row = named(row)?;
        names.extend(row.name.map(|(name, searched)| vec![row.id.put(), name.put(), searched.put()]));
        changed.extend(row.is_other.then(|| vec![row.id.put(), row.labels.put()]));
    }
    Ok(vec![
        Rewrite {
            sqlite: "UPDATE organizations SET display_name = ?2, search_name = ?3 WHERE organization_id = ?1",
            postgres: "UPDATE organizations t SET display_name = u.b, search_name = u.c \
                       FROM unnest($1::text[], $2::text[], $3::text[]) u(a, b, c) WHERE t.organization_id = u.a",
            rows: names,
        },
        Rewrite {
            sqlite: "UPDATE organizations SET labels = ?2 WHERE organization_id = ?1",
            postgres: "UPDATE organizations t SET labels = u.b::jsonb FROM unnest($1::text[], $2::text[]) u(a, b) \
                       WHERE t.organization_id = u.a",
            rows: changed,
        },
    ])
}

/// Fails if there are any of these aliases.
fn refuse(aliases: &[String], what: &str) -> Result<Vec<Rewrite>, Error> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let more = match aliases.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        more => format!("\nand {more} more"),
    };
    let listed = aliases[..aliases.len().min(MAX_LISTED)].join("\n");
    Err(Error::NotNow(format!(
        "aliases cannot be migrated; nothing was changed. These {what} with the release that runs now, then migrate again:\n\
         {listed}{more}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_cut_what_was_accepted_as_a_host_to_a_host_name() {
        for (alias, form) in [
            ("host:Shop.Example.com.", Some("host:shop.example.com")),
            ("host:https://Shop.Example.com:8443/x?y", Some("host:shop.example.com")),
            ("host:shop.example.com:443", Some("host:shop.example.com")),
            ("host:[::1]:80", None),
            ("stripe:Cus_9", Some("stripe:Cus_9")),
            ("name:e\u{301}", Some("name:é")),
        ] {
            assert_eq!(normal(alias).as_deref(), form, "{alias}");
        }
    }
}
