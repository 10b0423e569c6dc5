//! Manifests of placements.

use crate::declared::Declared;
use crate::document::{Fields, Findings, one_of};
use crate::environment::IsolationLevel;
use crate::error::Error;
use crate::ids::PlacementName;
use crate::json::Pointer;
use crate::placement::{Address, MAX_ENVIRONMENTS, MAX_SCHEMAS, Placement, PlacementKind};
use crate::tenant::Profile;
use serde_json::{Value, json};

/// Maximum length of the host of an address, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// Manifest of a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementManifest {
    /// Name.
    pub name: PlacementName,
    /// Kind of its places.
    pub place_kind: PlacementKind,
    /// Region.
    pub region: String,
    /// See [`Address`].
    pub address: Option<Address>,
    /// Profiles that it takes; all if there are none.
    pub profiles: Vec<Profile>,
    /// Isolation levels that it takes; all if there are none.
    pub isolation_levels: Vec<IsolationLevel>,
    /// Maximum number of environments.
    pub max_environments: Option<i64>,
    /// Whether it takes no new environments.
    pub cordoned: bool,
}

impl PlacementManifest {
    /// Reads a manifest. `before` is the placement that it changes: a region that is not declared any more stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse(declared: &Declared, document: &Value, before: Option<&Placement>) -> Result<Self, Error> {
        let mut findings = Findings::default();
        let manifest = read(declared, document, before, &mut findings);
        findings.finish(manifest).map(|(manifest, _)| manifest)
    }

    /// Returns the current manifest of a placement.
    pub fn of(placement: &Placement) -> Self {
        Self {
            name: placement.name.clone(),
            place_kind: placement.place_kind,
            region: placement.region.clone(),
            address: placement.address.clone(),
            profiles: placement.profiles.clone(),
            isolation_levels: placement.isolation_levels.clone(),
            max_environments: placement.max_environments,
            cordoned: placement.cordoned,
        }
    }

    /// Returns the manifest as a document, without fields that are not set.
    pub fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "place_kind": self.place_kind, "region": self.region});
        if let Some(Address { host, port }) = &self.address {
            document["address"] = json!({"host": host, "port": port});
        }
        if !self.profiles.is_empty() {
            document["profiles"] = json!(self.profiles);
        }
        if !self.isolation_levels.is_empty() {
            document["isolation_levels"] = json!(self.isolation_levels);
        }
        if let Some(most) = self.max_environments {
            document["max_environments"] = json!(most);
        }
        if self.cordoned {
            document["cordoned"] = json!(true);
        }
        document
    }
}

fn read(
    declared: &Declared,
    document: &Value,
    before: Option<&Placement>,
    findings: &mut Findings,
) -> Option<PlacementManifest> {
    let mut fields = Fields::of(document, Pointer::root(), findings)?;
    for name in ["name", "place_kind", "region"] {
        fields.required(name, &format!("{name} is required"), findings);
    }
    let name = fields.name("name", findings, PlacementName::parse);
    let place_kind = fields.word("place_kind", PlacementKind::WORDS, findings);
    let region = region(declared, &mut fields, before, findings);
    let at = fields.at("address");
    let address = fields.value("address").and_then(|value| address(value, at, findings));
    let profiles = words(&mut fields, "profiles", Profile::WORDS, findings);
    let isolation_levels = words(&mut fields, "isolation_levels", IsolationLevel::WORDS, findings);
    let most = if place_kind == Some(PlacementKind::PostgresSchema) { MAX_SCHEMAS } else { MAX_ENVIRONMENTS };
    let max_environments = fields.integer("max_environments", 0..=most, findings);
    if place_kind == Some(PlacementKind::PostgresSchema) {
        let message = format!("max_environments is required for schemas of one database, at most {MAX_SCHEMAS}");
        fields.required("max_environments", &message, findings);
        if profiles.contains(&Profile::Dedicated) {
            let message = "st-dedicated needs a database of its own: use another placement for it";
            findings.bad(&fields.at("profiles"), "out_of_range", message);
        }
    }
    let cordoned = fields.flag("cordoned", findings).unwrap_or_default();
    fields.no_others(findings);
    Some(PlacementManifest {
        name: name?,
        place_kind: place_kind?,
        region: region?,
        address,
        profiles,
        isolation_levels,
        max_environments,
        cordoned,
    })
}

fn region(
    declared: &Declared,
    fields: &mut Fields<'_>,
    before: Option<&Placement>,
    findings: &mut Findings,
) -> Option<String> {
    let region = fields.text("region", crate::declared::MAX_NAME_BYTES, findings)?;
    let stays = before.is_some_and(|before| before.region == region);
    if !stays && !declared.regions.contains_key(&region) {
        let known: Vec<_> = declared.regions.keys().map(String::as_str).collect();
        findings.bad(&fields.at("region"), "undeclared_region", one_of(&region, &known));
    }
    Some(region)
}

fn address(value: &Value, at: Pointer, findings: &mut Findings) -> Option<Address> {
    let mut fields = Fields::of(value, at, findings)?;
    for name in ["host", "port"] {
        fields.required(name, &format!("{name} is required"), findings);
    }
    let host = fields.text("host", MAX_HOST_BYTES, findings);
    if host.as_ref().is_some_and(|host| host.contains(|c: char| c.is_whitespace() || c == ',')) {
        findings.bad(&fields.at("host"), "bad_name", "must be one name or IP address, without spaces and commas");
    }
    let port = fields.integer("port", 1..=65_535, findings);
    fields.no_others(findings);
    Some(Address { host: host?, port: port? })
}

/// Reads a list of words, and returns them in a fixed order, each once.
fn words<T: Copy + Ord>(
    fields: &mut Fields<'_>,
    name: &'static str,
    words: &[(&'static str, T)],
    findings: &mut Findings,
) -> Vec<T> {
    let at = fields.at(name);
    let mut found = Vec::new();
    for (index, item) in fields.list(name, words.len(), findings).iter().enumerate() {
        let text = item.as_str().unwrap_or_default();
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => found.push(*value),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let said = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                findings.bad(&at.index(index), "unknown_word", one_of(&said, &known));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(document: &Value) -> Result<PlacementManifest, Error> {
        PlacementManifest::parse(&Declared::default(), document, None)
    }

    #[test]
    fn must_read_what_it_writes() {
        let document = json!({
            "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1",
            "address": {"host": "pooler.example", "port": 6432}, "profiles": ["st-dedicated"],
            "isolation_levels": ["shared", "strict"], "max_environments": 10, "cordoned": true,
        });
        let manifest = parse(&document).unwrap();
        assert_eq!(parse(&manifest.document()).unwrap(), manifest);
        let least = json!({"name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1"});
        assert_eq!(parse(&least).unwrap().document(), least);
    }

    #[test]
    fn must_bound_the_schemas_of_a_database_and_leave_dedicated_tenants_to_others() {
        let schemas = |more: Value| {
            let mut document = json!({"name": "pg-1", "place_kind": "postgres_schema", "region": "eu-west-1"});
            document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            match parse(&document) {
                Ok(_) => Vec::new(),
                Err(Error::Invalid(violations)) => violations.into_iter().map(|violation| violation.pointer).collect(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(schemas(json!({"max_environments": 2000, "profiles": ["mt-standard"]})), [""; 0]);
        assert_eq!(schemas(json!({})), ["/max_environments"]);
        assert_eq!(
            schemas(json!({"max_environments": 2001, "profiles": ["st-dedicated"]})),
            ["/max_environments", "/profiles"]
        );
    }

    #[test]
    fn must_name_every_bad_field() {
        let document = json!({
            "name": "Disk 1", "place_kind": "tape", "region": "moon-1", "address": {"host": "a b", "port": 0},
            "profiles": ["free"], "isolation_levels": [7], "max_environments": 10_001, "cordoned": "no", "size": 1,
        });
        let Err(Error::Invalid(violations)) = parse(&document) else { panic!("accepted") };
        let pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        let expected = [
            "/name",
            "/place_kind",
            "/region",
            "/address/host",
            "/address/port",
            "/profiles/0",
            "/isolation_levels/0",
            "/max_environments",
            "/cordoned",
            "/size",
        ];
        assert_eq!(pointers, expected);
    }
}
