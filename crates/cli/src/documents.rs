//! `-f`: files, directories and standard input, put together as one body.

use crate::failure::Failure;
use clap::Args;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Endings of the files that are taken from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where the manifests come from.
#[derive(Args, Debug, Clone)]
pub struct Files {
    /// A manifest, a directory of them, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Documents, ready to be sent. All of them go in one request, since all are checked before any is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Documents {
    /// `application/yaml` or `application/json`.
    pub content_type: &'static str,
    /// The body.
    pub text: String,
}

impl Documents {
    /// Reads all that was named.
    ///
    /// # Errors
    /// When something cannot be read, is no YAML, or there is no document.
    pub fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut paths = Vec::new();
        for file in files {
            if file.is_dir() { paths.extend(inside(file)?) } else { paths.push(file.clone()) }
        }
        let mut texts = Vec::new();
        for path in &paths {
            let text = content(path)?;
            if text.trim_start().starts_with('[')
                && paths.len() > 1
                && let Ok(list) = serde_json::from_str::<Vec<Box<RawValue>>>(&text)
            {
                texts.extend(list.iter().map(|document| document.get().to_owned()));
                continue;
            }
            // The server says what is wrong with a document; only here it is known which file it stands in.
            if paths.len() > 1 {
                serde_saphyr::from_multiple::<IgnoredAny>(&text)
                    .map_err(|error| Failure::refused(format!("{}: {error}", path.display())))?;
            }
            texts.push(text);
        }
        match texts.as_slice() {
            // Whole JSON goes as such, also from a pipe: it may be a list, as `export -o json` writes one.
            [text] if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Ok(Self { content_type: "application/json", text: text.clone() })
            }
            _ => Ok(Self { content_type: "application/yaml", text: joined(&texts) }),
        }
    }
}

/// The manifests in a directory, by name; not those in directories below.
fn inside(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::refused(format!("{} cannot be read: {error}", directory.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let message = format!("there is no manifest (.yaml, .yml, .json) in {}", directory.display());
        return Err(Failure::refused(message).and_type("example > acme.yaml"));
    }
    paths.sort();
    Ok(paths)
}

fn content(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map(|text| text.trim_start_matches('\u{feff}').to_owned()).map_err(|error| {
        let failure = Failure::refused(format!("{} cannot be read: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                failure.and_type(&format!("example > {}", crate::program::quoted(&path.to_string_lossy())))
            }
            _ => failure,
        }
    })
}

/// Documents of several files behind one another, with a separator where a file does not begin with one.
fn joined(texts: &[String]) -> String {
    let mut all = String::new();
    for text in texts {
        if !all.is_empty() {
            if !all.ends_with('\n') {
                all.push('\n');
            }
            if !text.starts_with("---") {
                all.push_str("---\n");
            }
        }
        all.push_str(text);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn must_send_one_file_as_it_is() {
        let temp = tempfile::tempdir().expect("a directory");
        let yaml = written(temp.path(), "a.yaml", "\u{feff}# ours\nkind: Tenant\n");
        let documents = Documents::read(&[yaml]).expect("read");
        assert_eq!((documents.content_type, documents.text.as_str()), ("application/yaml", "# ours\nkind: Tenant\n"));
        let json = written(temp.path(), "a.json", "{\"kind\": \"Tenant\"}");
        assert_eq!(Documents::read(&[json]).expect("read").content_type, "application/json");
        let list = written(temp.path(), "piped", "[{\"kind\": \"Tenant\"}]\n");
        assert_eq!(Documents::read(&[list]).expect("read").content_type, "application/json");
    }

    #[test]
    fn must_put_several_together_and_a_directory_by_name() {
        let temp = tempfile::tempdir().expect("a directory");
        written(temp.path(), "2.json", "{\"kind\": \"Tenant\"}");
        written(temp.path(), "1.yaml", "kind: Organization");
        written(temp.path(), "3.yml", "---\nkind: Tenant\n");
        written(temp.path(), "4.json", "[{\"a\": 1}, {\"b\": 2}]");
        written(temp.path(), "notes.txt", "not a manifest");
        let documents = Documents::read(&[temp.path().to_path_buf()]).expect("read");
        assert_eq!(
            documents.text,
            "kind: Organization\n---\n{\"kind\": \"Tenant\"}\n---\nkind: Tenant\n---\n{\"a\": 1}\n---\n{\"b\": 2}"
        );
        assert_eq!(documents.content_type, "application/yaml");
    }

    #[test]
    fn must_name_the_file_that_is_broken_or_missing() {
        let temp = tempfile::tempdir().expect("a directory");
        let good = written(temp.path(), "good.yaml", "kind: Tenant\n");
        let bad = written(temp.path(), "bad.yaml", "kind: [Tenant\n");
        let failure = Documents::read(&[good, bad]).expect_err("broken");
        assert!(failure.message.contains("bad.yaml"), "{}", failure.message);
        let failure = Documents::read(&[temp.path().join("none.yaml")]).expect_err("missing");
        assert!(failure.message.contains("none.yaml") && failure.next.is_some());
        assert!(Documents::read(&[tempfile::tempdir().expect("empty").path().to_path_buf()]).is_err());
    }
}
