//! What differs between two manifests, as lines for people.

use crate::kinds::shown;
use crate::terminal::{Colour, plain};
use serde_json::Value;

/// `/quotas/apiRateLimit` as `quotas.apiRateLimit`, the way `set` takes it.
pub fn place(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

/// A line for each change: `+` what came, `-` what went, `~` what became something else.
pub fn lines(changes: &[Value], indent: &str, colours: bool) -> Vec<String> {
    changes.iter().map(|change| line(change, indent, colours)).collect()
}

fn line(change: &Value, indent: &str, colours: bool) -> String {
    let place = place(change["pointer"].as_str().unwrap_or_default());
    let (from, to) = (&change["from"], &change["to"]);
    let (colour, text) = match (from.is_null(), to.is_null()) {
        (true, false) => (Colour::Green, format!("+ {place}: {}", shown(to))),
        (false, true) => (Colour::Red, format!("- {place}: {}", shown(from))),
        _ => (Colour::Yellow, format!("~ {place}: {} -> {}", shown(from), shown(to))),
    };
    format!("{indent}{}", colour.paint(&plain(&text).replace('\n', " "), colours))
}

/// A line for each warning that the answer of a write has: what was kept, though it looks like a slip.
pub fn warnings(answer: &Value, indent: &str, colours: bool) -> Vec<String> {
    let warnings = answer["warnings"].as_array().into_iter().flatten();
    let line = |warning: &Value| {
        let field = |name| warning[name].as_str().unwrap_or_default();
        let text = format!("{indent}warning: {}: {}", place(field("pointer")), field("message"));
        Colour::Yellow.paint(&plain(&text).replace('\n', " "), colours).into_owned()
    };
    warnings.map(line).collect()
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
        let answer =
            json!({"warnings": [{"code": "undeclared_key", "pointer": "/quotas/seats", "message": "not declared"}]});
        assert_eq!(warnings(&answer, "  ", false), ["  warning: quotas.seats: not declared"]);
        assert!(warnings(&json!({"tenant_id": "acme-eu"}), "", false).is_empty());
    }
}
