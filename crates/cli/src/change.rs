//! What differs between two manifests, as lines for people.

use crate::kinds::shown;
use crate::terminal::{Colour, plain};
use tenancy_api::applied::Difference;
use tenancy_api::problem::Warning;

/// `/quotas/apiRateLimit` as `quotas.apiRateLimit`, the way `set` takes it.
pub fn place(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

/// A line for each change: `+` what came, `-` what went, `~` what became something else.
pub fn lines(changes: &[Difference], indent: &str, colours: bool) -> Vec<String> {
    changes.iter().map(|change| line(change, indent, colours)).collect()
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

/// A line for each warning of the answer to a write: what was kept, though it looks like a slip.
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
    fn must_say_what_came_went_and_became() {
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
    fn must_say_what_looks_like_a_slip_and_nothing_where_nothing_does() {
        let (pointer, message) = ("/quotas/seats".to_owned(), "not declared".to_owned());
        let warning = Warning { code: "undeclared_key".into(), pointer, message };
        assert_eq!(warnings(&[warning], "  ", false), ["  warning: quotas.seats: not declared"]);
        assert!(warnings(&[], "", false).is_empty());
    }
}
