//! The canonical form of JSON, merges and differences, on random documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use tenancy_core::json::{Strict, canonical, differences, merge_patch, nesting, without_nulls};

/// Any JSON that the reader takes, as it comes from there.
fn document() -> impl Strategy<Value = Value> {
    any_json().prop_map(|value| Strict::parse(value.to_string().as_bytes()).expect("readable"))
}

fn any_json() -> impl Strategy<Value = Value> {
    let finite = any::<f64>().prop_filter("finite", |v| v.is_finite());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        finite.prop_map(Value::from),
        (-1000..1000i32).prop_map(|n| json!(f64::from(n) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner.clone()), 0..5).prop_map(object),
            prop::collection::vec(inner, 0..4).prop_map(|values| {
                let named = |(n, value)| json!({"name": format!("n{}", n % 3), "value": value});
                Value::Array(values.into_iter().enumerate().map(named).collect())
            }),
        ]
    })
}

fn object(members: Vec<(String, Value)>) -> Value {
    Value::Object(members.into_iter().collect())
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', "\u{1}"))
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(vec!["a", "b", "c", "a/b", "~", ""]).prop_map(str::to_owned), 1 => text()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(384) })]

    #[test]
    fn must_read_back_what_it_wrote(value in document()) {
        let text = canonical(&value);
        let again = Strict::parse(text.as_bytes()).expect("readable");
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(canonical(&again), text);
    }

    #[test]
    fn must_read_a_double_to_the_last_bit(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        // With an exponent, as we write it, and without, as PostgreSQL gives it back.
        let written = Strict::parse(json!(value).to_string().as_bytes());
        let kept = Strict::parse_kept(format!("{value}").as_bytes());
        for read in [written, kept] {
            prop_assert_eq!(read.expect("readable").as_f64().map(f64::to_bits), Some((value + 0.0).to_bits()));
        }
    }

    #[test]
    fn must_take_an_integer_or_refuse_it(value in prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from)], at in 0..3) {
        let text = [format!("{value}"), format!("[{value}]"), format!("{{\"a\\\"1\":{value}}}")][at as usize].clone();
        let fits = i64::try_from(value).is_ok() || u64::try_from(value).is_ok();
        match Strict::parse(text.as_bytes()) {
            Ok(read) => prop_assert!(fits && canonical(&read) == text, "{}", text),
            Err(error) => prop_assert!(!fits, "{}: {}", text, error),
        }
    }

    #[test]
    fn must_find_no_difference_only_in_what_is_equal(from in document(), to in document(), same in any::<bool>()) {
        let to = if same { from.clone() } else { to };
        let found = differences(&from, &to);
        prop_assert_eq!(found.is_empty(), from == to);
        for difference in &found {
            prop_assert!(difference.pointer.is_empty() || difference.pointer.starts_with('/'));
        }
    }

    #[test]
    fn must_name_what_a_pointer_of_objects_leads_to(from in document(), to in document()) {
        for difference in differences(&from, &to) {
            if let (Some(was), Some(is)) = (from.pointer(&difference.pointer), to.pointer(&difference.pointer)) {
                prop_assert!(was != is || was.is_array());
            }
        }
    }

    #[test]
    fn must_merge_a_patch_twice_as_once(target in document(), patch in document()) {
        let mut once = target.clone();
        merge_patch(&mut once, &patch);
        let mut twice = once.clone();
        merge_patch(&mut twice, &patch);
        prop_assert_eq!(&once, &twice);
        if let (Value::Object(patch), Value::Object(once)) = (&patch, &once) {
            for (key, value) in patch {
                prop_assert_eq!(once.contains_key(key), !value.is_null());
            }
        }
    }

    #[test]
    fn must_drop_the_nulls_that_a_merge_drops(members in prop::collection::vec((key(), any_json()), 0..6)) {
        let value = Strict::parse(object(members).to_string().as_bytes()).expect("readable");
        let mut merged = json!({});
        merge_patch(&mut merged, &value);
        let kept = without_nulls(value.as_object().expect("an object"));
        prop_assert_eq!(&Value::Object(kept), &merged);
        prop_assert!(nesting(&merged) <= nesting(&value));
    }

    #[test]
    fn must_never_panic_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Strict::parse(&bytes);
    }

    #[test]
    fn must_never_panic_on_what_looks_like_json(text in r#"[\[\]{},:"\\0-9eEu.+\- ntfd]{0,60}"#) {
        if let Ok(value) = Strict::parse(text.as_bytes()) {
            prop_assert_eq!(Strict::parse(canonical(&value).as_bytes()), Ok(value));
        }
    }
}

#[test]
fn must_see_a_change_of_order_of_a_null_and_of_a_twin() {
    let twins = json!([{"name": "a", "x": 1}, {"name": "a", "x": 2}]);
    for (from, to) in [
        (json!({"a": null}), json!({})),
        (json!({"l": [{"name": "a"}, {"name": "b"}]}), json!({"l": [{"name": "b"}, {"name": "a"}]})),
        (twins, json!([{"name": "a", "x": 2}])),
        (json!({"a": {"name": "a"}}), json!({"a": [{"name": "a"}]})),
    ] {
        assert_eq!(differences(&from, &to).len(), 1, "{from} {to}");
    }
}
