//! Renders schemas as HTML: names, types and descriptions.

use super::object;
use serde_json::Value;
use std::fmt::Write as _;

/// The schemas of the document.
pub struct Schemas<'a> {
    named: &'a Value,
    responses: &'a Value,
}

impl<'a> Schemas<'a> {
    /// Takes the schemas of an OpenAPI document.
    pub fn of(document: &'a Value) -> Self {
        let components = &document["components"];
        Self { named: &components["schemas"], responses: &components["responses"] }
    }

    /// Returns a response itself, if it is a reference.
    pub fn response(&self, response: &'a Value) -> &'a Value {
        let name = response["$ref"].as_str().and_then(|target| target.strip_prefix("#/components/responses/"));
        name.map_or(response, |name| &self.responses[name])
    }

    /// Renders all schemas, each with an anchor.
    pub fn all(&self) -> String {
        let mut shown = String::new();
        for (name, schema) in object(self.named) {
            let name = escape(name);
            // The anchor is inside of the `details` element, so that a link opens it.
            let _ = write!(
                shown,
                "<details><summary><code>{name}</code> <span class=q>{}</span></summary><div id=\"{name}\">{}",
                prose(schema["description"].as_str().unwrap_or_default()),
                if schema["enum"].is_array() {
                    format!("<p>{}</p>", self.name_of(schema))
                } else {
                    self.properties(schema)
                }
            );
            if let Some(example) = schema.get("example") {
                let _ = write!(shown, "<p>For example</p>{}", pretty(example));
            }
            shown.push_str("</div></details>");
        }
        shown
    }

    /// Renders the type of a schema, as a link if it has a name.
    pub fn name_of(&self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            let name = escape(name);
            return format!("<a href=\"#{name}\">{name}</a>");
        }
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().filter_map(Value::as_str).map(|word| format!("<code>{}</code>", escape(word)));
            return words.collect::<Vec<_>>().join(" or ");
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("<code>{}</code>", escape(word));
        }
        if let Some(several) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            let names: Vec<_> = several.iter().map(|one| self.name_of(one)).collect();
            return names.join(" or ");
        }
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect::<Vec<_>>(),
        };
        let words = types.into_iter().map(|word| match (word, schema["format"].as_str()) {
            ("array", _) => format!("list of {}", self.name_of(&schema["items"])),
            ("string", Some("date-time")) => "time".to_owned(),
            ("string", _) => "text".to_owned(),
            ("null", _) => "null".to_owned(),
            (word, _) => escape(word),
        });
        let words = words.collect::<Vec<_>>().join(" or ");
        if words.is_empty() { "anything".to_owned() } else { words }
    }

    /// Renders a table of a schema's properties; empty if it has none.
    pub fn properties(&self, schema: &Value) -> String {
        let mut rows = String::new();
        self.rows(schema, &mut rows);
        if rows.is_empty() { rows } else { format!("<table>{rows}</table>") }
    }

    /// Adds the rows of a schema and of the schemas that it is composed of.
    fn rows(&self, schema: &Value, rows: &mut String) {
        let schema = self.resolved(schema);
        for part in ["allOf", "oneOf", "anyOf"] {
            schema[part].as_array().into_iter().flatten().for_each(|part| self.rows(part, rows));
        }
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        for (name, property) in object(&schema["properties"]) {
            let (shown, takes) = (escape(name), self.name_of(property));
            let must = if required(name) { ", required" } else { "" };
            let means = property["description"].as_str().or(property["oneOf"][0]["description"].as_str());
            let means = prose(means.unwrap_or_default());
            let _ = write!(rows, "<tr><td><code>{shown}</code><td class=q>{takes}{must}<td>{means}");
            // Includes the properties of inline item schemas.
            if reference(&property["items"]).is_none() {
                self.rows(&property["items"], rows);
            }
        }
    }

    /// Returns the example of a schema.
    pub fn example<'v>(&'v self, schema: &'v Value) -> Option<&'v Value> {
        let one = schema["oneOf"].as_array().and_then(|several| several.first()).unwrap_or(schema);
        self.resolved(one).get("example")
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        reference(schema).map_or(schema, |name| &self.named[name])
    }
}

/// Returns the name of the schema that is referred to.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

/// Renders an example value.
pub fn pretty(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    format!("<pre>{}</pre>", escape(&text))
}

/// Renders the text of a description; text in backticks is code.
pub fn prose(text: &str) -> String {
    let parts = text.split('`').map(escape).enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part }).collect()
}

/// Escapes text for HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_say_what_a_schema_takes() {
        let document = json!({"components": {"schemas": {"Part": {"properties": {"a": {"type": "string"}}}}}});
        let schemas = Schemas::of(&document);
        let part = json!({"$ref": "#/components/schemas/Part"});
        for (schema, said) in [
            (part.clone(), "<a href=\"#Part\">Part</a>"),
            (json!({"type": ["string", "null"], "format": "date-time"}), "time or null"),
            (json!({"type": "array", "items": part}), "list of <a href=\"#Part\">Part</a>"),
            (json!({"type": "string", "enum": ["a", "b"]}), "<code>a</code> or <code>b</code>"),
            (json!({"oneOf": [part, {"type": "null"}]}), "<a href=\"#Part\">Part</a> or null"),
            (json!({}), "anything"),
        ] {
            assert_eq!(schemas.name_of(&schema), said);
        }
        let whole = json!({"allOf": [part, {"required": ["b"], "properties": {"b": {"type": "integer", "description": "so `many`"}}}]});
        assert_eq!(
            schemas.properties(&whole),
            "<table><tr><td><code>a</code><td class=q>text<td>\
             <tr><td><code>b</code><td class=q>integer, required<td>so <code>many</code></table>"
        );
    }

    #[test]
    fn must_show_text_as_it_is() {
        assert_eq!(prose("a <b> & `c<d`"), "a &lt;b&gt; &amp; <code>c&lt;d</code>");
    }
}
