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
}
