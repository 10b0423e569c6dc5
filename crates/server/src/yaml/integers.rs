//! Integers beyond 64 bits. The YAML reader returns them as doubles, so that only the text shows how a number was
//! written.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use tenancy_core::json::{LEAST_I64, PAST_U64};

/// Returns whether a double may represent an integer beyond 64 bits.
pub fn is_big(double: f64) -> bool {
    !(double > LEAST_I64 && double < PAST_U64)
}

/// Returns the first integer beyond 64 bits in the documents of a text, and its place.
pub fn beyond_64_bits<'a>(documents: &[Spanned<Seen>], text: &'a str) -> Option<(Location, &'a str)> {
    let is_double = |written: &&str| written.contains(['.', 'e', 'E']) && written.parse::<f64>().is_ok();
    let places = documents.iter().flat_map(|document| document.value.of(document.defined));
    places.map(|place| (place, at(place, text))).find(|(_, written)| !is_double(written))
}

/// Returns the token at a place of the text.
fn at(place: Location, text: &str) -> &str {
    let index = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    let (begin, length) = (index(place.span().byte_offset()), index(place.span().byte_len()));
    text.get(begin..begin.saturating_add(length)).unwrap_or_default()
}

/// Places of big doubles in a value.
pub enum Seen {
    /// The value itself is one.
    Big,
    /// Places of big doubles inside the value.
    Inside(Vec<Location>),
}

impl Seen {
    fn of(&self, defined: Location) -> Vec<Location> {
        match self {
            Self::Big => vec![defined],
            Self::Inside(places) => places.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeenVisitor)
    }
}

struct SeenVisitor;

const NOTHING: Seen = Seen::Inside(Vec::new());

impl<'de> Visitor<'de> for SeenVisitor {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_f64<E>(self, v: f64) -> Result<Seen, E> {
        Ok(if is_big(v) { Seen::Big } else { NOTHING })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(NOTHING)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(NOTHING)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(NOTHING)
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(NOTHING)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(NOTHING)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        let mut places = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Seen>>()? {
            places.extend(item.value.of(item.defined));
        }
        Ok(Seen::Inside(places))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Seen, A::Error> {
        let mut places = Vec::new();
        while let Some((_, item)) = entries.next_entry::<IgnoredAny, Spanned<Seen>>()? {
            places.extend(item.value.of(item.defined));
        }
        Ok(Seen::Inside(places))
    }
}
