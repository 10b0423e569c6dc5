//! Environment variables of the configuration: `TENANCY_LIMITS_MAX_BODY_BYTES` sets `limits.max_body_bytes`.

use super::{BadConfig, Config};

/// A value that an environment variable sets.
pub struct Setting {
    variable: String,
    text: String,
    /// The keys of the tables that contain the value, and its own key.
    path: Vec<String>,
    value: toml::Value,
}

/// Reads the variables of all scalars of `known`, which is the default configuration.
pub fn settings(known: &toml::Table, env: &impl Fn(&str) -> Option<String>) -> Result<Vec<Setting>, BadConfig> {
    let mut found = Vec::new();
    for (path, default) in scalars(known) {
        let variable = variable(&path);
        let Some(text) = env(&variable) else { continue };
        let bad = |what| BadConfig(format!("{variable} must be {what}, not {text:?}"));
        let value = match default {
            toml::Value::Integer(_) => {
                text.trim().parse().map(toml::Value::Integer).map_err(|_| bad("a whole number"))?
            }
            toml::Value::Boolean(_) => {
                text.trim().parse().map(toml::Value::Boolean).map_err(|_| bad("true or false"))?
            }
            // A comma cannot be part of an element.
            toml::Value::Array(_) => toml::Value::Array(elements(&text)),
            _ => toml::Value::String(text.clone()),
        };
        found.push(Setting { variable, text, path, value });
    }
    Ok(found)
}

fn elements(text: &str) -> Vec<toml::Value> {
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    elements.map(|element| toml::Value::String(element.to_owned())).collect()
}

impl Setting {
    /// Sets the value in a table.
    pub fn set(&self, table: &mut toml::Table) {
        let Some((key, tables)) = self.path.split_last() else { return };
        let mut inner = table;
        for name in tables {
            let entry = inner.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(next) = entry else { return };
            inner = next;
        }
        inner.insert(key.clone(), self.value.clone());
    }

    /// Checks that the value can be read without the other settings.
    pub fn check(&self) -> Result<(), BadConfig> {
        let mut alone = toml::Table::new();
        self.set(&mut alone);
        let Err(error) = alone.try_into::<Config>() else { return Ok(()) };
        Err(BadConfig(format!("{} has the value {:?}: {}", self.variable, self.text, error.message())))
    }
}

/// Returns the name of every environment variable that sets a value of the configuration.
pub fn variables() -> Vec<String> {
    let known = toml::Table::try_from(Config::default()).unwrap_or_default();
    scalars(&known).into_iter().map(|(path, _)| variable(&path)).collect()
}

fn variable(path: &[String]) -> String {
    format!("TENANCY_{}", path.join("_").to_uppercase())
}

/// Returns all values that are no tables, with their paths. The section `declared` has no variables.
fn scalars(known: &toml::Table) -> Vec<(Vec<String>, &toml::Value)> {
    let mut found = Vec::new();
    for (key, value) in known.iter().filter(|(key, _)| *key != "declared") {
        match value {
            toml::Value::Table(table) => {
                let within = scalars(table).into_iter();
                found.extend(within.map(|(path, value)| ([vec![key.clone()], path].concat(), value)));
            }
            value => found.push((vec![key.clone()], value)),
        }
    }
    found
}
