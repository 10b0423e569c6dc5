//! Renders the differences between two manifests and the warnings of a write as lines for people.

use crate::kinds::shown;
use crate::terminal::{Colour, plain};
use serde_json::Value;
use tenancy_api::applied::Difference;
use tenancy_api::problem::Warning;

/// Converts a JSON pointer such as `/quotas/apiRateLimit` to `quotas.apiRateLimit`, which is the syntax of `set`.
pub fn place(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

/// Returns one line per change: `+` for added, `-` for removed, `~` for changed.
pub fn lines(changes: &[Difference], indent: &str, colours: bool) -> Vec<String> {
    changes.iter().flat_map(single).map(|change| line(&change, indent, colours)).collect()
}

/// Fields whose keys are listed one by one, also if the whole field is added or removed.
const MAPS: [&str; 7] = ["labels", "aliases", "caps", "quotas", "policies", "billing", "retry_policy"];

/// Returns the difference, or one difference for each key of a map.
fn single(change: &Difference) -> Vec<Difference> {
    let Difference { pointer, from, to } = change;
    let is_map = pointer.rsplit('/').next().is_some_and(|name| MAPS.contains(&name));
    let key = |(key, value): (&String, &Value), removed: bool| {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        let (from, to) = if removed { (value.clone(), Value::Null) } else { (Value::Null, value.clone()) };
        Difference { pointer, from, to }
    };
    match (from, to) {
        (Value::Object(gone), Value::Null) if is_map => gone.iter().map(|one| key(one, true)).collect(),
        (Value::Null, Value::Object(new)) if is_map => new.iter().map(|one| key(one, false)).collect(),
        _ => vec![change.clone()],
    }
}

fn line(change: &Difference, indent: &str, colours: bool) -> String {
    let Difference { pointer, from, to } = change;
    let place = place(pointer);
    let (colour, text) = match (from.is_null(), to.is_null()) {
        (true, false) => (Colour::Green, format!("+ {place}: {}", shown(to))),
        (false, true) => (Colour::Red, format!("- {place}: {}", shown(from))),
        _ => (Colour::Yellow, format!("~ {place}: {} -> {}", shown(from), shown(to))),
    };
    format!("{indent}{}", colour.paint(&plain(&text).replace('\n', " "), colours))
}

/// Returns one line per warning in the response to a write, such as an undeclared key that was stored.
pub fn warnings(warnings: &[Warning], indent: &str, colours: bool) -> Vec<String> {
    let line = |warning: &Warning| {
        let text = format!("{indent}warning: {}: {}", place(&warning.pointer), warning.message);
        Colour::Yellow.paint(&plain(&text).replace('\n', " "), colours).into_owned()
    };
    warnings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_show_what_was_added_removed_and_changed() {
        let changes = [
            json!({"pointer": "/quotas/apiRateLimit", "from": 200, "to": 400}),
            json!({"pointer": "/labels/app~1tier", "from": null, "to": "gold"}),
            json!({"pointer": "/environments/dev", "from": {"name": "dev"}, "to": null}),
        ];
        let changes = changes.map(|change| serde_json::from_value(change).expect("a difference"));
        assert_eq!(
            lines(&changes, "  ", false),
            [
                "  ~ quotas.apiRateLimit: 200 -> 400",
                "  + labels.app/tier: gold",
                "  - environments.dev: {\"name\":\"dev\"}"
            ]
        );
    }

    #[test]
    fn must_show_each_warning_and_nothing_without_warnings() {
        let (pointer, message) = ("/quotas/seats".to_owned(), "not declared".to_owned());
        let warning = Warning { code: "undeclared_key".into(), pointer, message };
        assert_eq!(warnings(&[warning], "  ", false), ["  warning: quotas.seats: not declared"]);
        assert!(warnings(&[], "", false).is_empty());
    }
}
