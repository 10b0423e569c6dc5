//! Lines of the keys and items of a YAML text, so that an error names the line of its field.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// The line of a value and of everything inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    line: u64,
    inside: Inside,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inside {
    Nothing,
    Items(Vec<Places>),
    Members(Vec<(String, Places)>),
}

/// Returns the places of all documents of a text; `None` if it cannot be read. Empty documents are skipped, as
/// [`read`](super::read) does.
pub fn places(text: &str) -> Option<Vec<Places>> {
    let documents: Vec<Spanned<Inside>> = super::parse(text).ok()?;
    Some(documents.into_iter().map(|document| placed(document, None)).collect())
}

fn placed(value: Spanned<Inside>, key: Option<u64>) -> Places {
    let line = key.unwrap_or_else(|| value.defined.line()).max(1);
    Places { line, inside: value.value }
}

impl Places {
    /// Returns the line at which a JSON Pointer leads. If the field is missing, it is the line of what should contain
    /// it.
    pub fn line(&self, pointer: &str) -> u64 {
        let mut place = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match &place.inside {
                Inside::Nothing => None,
                Inside::Items(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                Inside::Members(members) => members.iter().find(|(name, _)| *name == part).map(|(_, place)| place),
            };
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        place.line
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InsideVisitor)
    }
}

struct InsideVisitor;

impl<'de> Visitor<'de> for InsideVisitor {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Inside, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Inside>>()? {
            items.push(placed(item, None));
        }
        Ok(Inside::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Inside, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = entries.next_entry::<Spanned<String>, Spanned<Inside>>()? {
            members.push((name.value, placed(value, Some(name.defined.line()))));
        }
        Ok(Inside::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_return_the_line_of_a_field_or_of_what_should_contain_it() {
        let text = "# ours\nkind: Tenant\nlabels:\n  a/b: x\n  c: y\nenvironments:\n- name: dev\n- name: prod\n  quotas:\n    storageGiB: 7\n---\n\n---\n{\"kind\":\n \"Tenant\"}\n";
        let places = places(text).expect("good");
        assert_eq!(places.len(), 2);
        for (pointer, line) in [
            ("", 2),
            ("/kind", 2),
            ("/labels", 3),
            ("/labels/a~1b", 4),
            ("/labels/none", 3),
            ("/environments/1", 8),
            ("/environments/1/quotas/storageGiB", 10),
            ("/environments/0/region", 7),
            ("/region", 2),
        ] {
            assert_eq!(places[0].line(pointer), line, "{pointer}");
        }
        assert_eq!((places[1].line(""), places[1].line("/kind")), (14, 14));
    }
}
