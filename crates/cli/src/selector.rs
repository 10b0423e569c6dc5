//! `-l`: the labels that a list is filtered by.

use crate::failure::Failure;

/// Returns the labels of all `-l` options as `KEY=VALUE`, which is what the server accepts.
///
/// A comma separates labels if every part is KEY=VALUE. Otherwise the comma belongs to the value, as in `note=a,b`. `\,` is
/// always a comma of the value. `KEY==VALUE` is the same as `KEY=VALUE`.
///
/// # Errors
/// Fails with a usage error if an option has no label.
pub fn labels(options: &[String]) -> Result<Vec<String>, Failure> {
    let mut labels = Vec::new();
    for option in options {
        let parts = parts(option);
        let parts = if parts.iter().all(|part| pair(part).is_some()) { parts } else { vec![unescaped(option)] };
        for part in parts {
            let bad = || Failure::usage(format!("-l must be KEY=VALUE or KEY=VALUE,KEY=VALUE, not {option:?}"));
            let (key, value) = pair(&part).ok_or_else(bad)?;
            labels.push(format!("{key}={value}"));
        }
    }
    Ok(labels)
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    (!key.is_empty()).then(|| (key, value.strip_prefix('=').unwrap_or(value)))
}

/// Splits at each comma that has no backslash before it.
fn parts(option: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = option;
    while let Some(at) = rest.find(',') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if let Some(last) = parts.last_mut() {
            last.push_str(before.strip_suffix('\\').unwrap_or(before));
            if before.ends_with('\\') {
                last.push(',');
            } else {
                parts.push(String::new());
            }
        }
        rest = after;
    }
    if let Some(last) = parts.last_mut() {
        last.push_str(rest);
    }
    parts
}

fn unescaped(option: &str) -> String {
    option.replace("\\,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn of(options: &[&str]) -> Vec<String> {
        labels(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>()).expect("labels")
    }

    #[test]
    fn must_separate_labels_at_commas_unless_the_comma_belongs_to_a_value() {
        assert_eq!(of(&["tier=gold,env=prod"]), ["tier=gold", "env=prod"]);
        assert_eq!(of(&["tier==gold", "env=prod"]), ["tier=gold", "env=prod"]);
        assert_eq!(of(&["note=a,b"]), ["note=a,b"]);
        assert_eq!(of(&["note=a\\,b=c,tier=gold"]), ["note=a,b=c", "tier=gold"]);
        assert_eq!(of(&["empty=", "equals=a=b"]), ["empty=", "equals=a=b"]);
        for bad in ["tier", "=gold", "", ","] {
            assert_eq!(labels(&[bad.to_owned()]).expect_err(bad).exit, Exit::Usage);
        }
    }
}
