//! `-f`: reads files, directories and standard input, and joins them to one body.

use crate::failure::Failure;
use crate::program::command;
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Extensions of the files that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The `-f` option.
#[derive(Args, Debug, Clone)]
pub struct Files {
    /// File or directory with manifests, or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Documents to send. They are sent in one request if they fit, because the server then checks all before it writes
/// any; otherwise in parts (see `parts.rs`).
#[derive(Debug, PartialEq, Eq)]
pub struct Documents {
    /// `application/yaml` or `application/json`.
    pub content_type: &'static str,
    /// Body of a single request with all documents.
    pub text: String,
    /// The single documents.
    pub documents: Vec<Document>,
}

/// One document.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// Text as written, YAML or JSON.
    pub text: String,
    /// File and line of its start, for messages.
    pub place: String,
    /// `Organization` or `Tenant`, if declared.
    pub kind: Option<String>,
    /// Id of the organization or tenant.
    pub id: Option<String>,
    /// Id of the organization.
    pub organization: Option<String>,
    /// Number of keys and values.
    pub nodes: usize,
}

impl Documents {
    /// Reads all named files.
    ///
    /// # Errors
    /// Fails if a file cannot be read or parsed, or if a directory has no manifest.
    pub fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut paths = Vec::new();
        for file in files {
            if file.is_dir() { paths.extend(inside(file)?) } else { paths.push(file.clone()) }
        }
        let (mut texts, mut documents) = (Vec::new(), Vec::new());
        for path in &paths {
            let text = content(path)?;
            // JSON is sent as JSON, also from a pipe: it can be a list, as `export -o json` writes it.
            let Some(list) = json_documents(&text) else {
                documents.extend(yaml_documents(&text, &shown(path))?);
                texts.push(text);
                continue;
            };
            let place = |index: usize| format!("{}, document {}", shown(path), index + 1);
            documents.extend(
                list.iter().enumerate().map(|(index, (text, value))| Document::of(text.clone(), place(index), value)),
            );
            if paths.len() == 1 {
                return Ok(Self { content_type: "application/json", text, documents });
            }
            texts.extend(list.into_iter().map(|(text, _)| text));
        }
        Ok(Self { content_type: "application/yaml", text: joined(&texts), documents })
    }
}

impl Document {
    fn of(text: String, place: String, value: &Value) -> Self {
        let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (kind, organization) = (field("kind"), field("organization_id"));
        let id = if kind.as_deref() == Some("Organization") { organization.clone() } else { field("tenant_id") };
        Self { text, place, kind, id, organization, nodes: nodes(value) }
    }
}

/// Counts keys and values in the same way as the server.
fn nodes(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(|value| 1 + nodes(value)).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

/// Formats a path for messages.
fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Returns the documents of a JSON text: one document, or those of a list. Returns `None` if the text is not JSON.
fn json_documents(text: &str) -> Option<Vec<(String, Value)>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let list = serde_json::from_str::<Vec<Box<RawValue>>>(text);
    let list = list.or_else(|_| serde_json::from_str::<Box<RawValue>>(text).map(|one| vec![one])).ok()?;
    let read = |raw: Box<RawValue>| Some((raw.get().to_owned(), serde_json::from_str(raw.get()).ok()?));
    list.into_iter().map(read).collect()
}

/// Returns the documents of a YAML text. They are parsed here in the same way as on the server, because only the client
/// knows the file for the error message.
fn yaml_documents(text: &str, file: &str) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    let mut line = 0;
    for text in split_documents(text) {
        let values = tenancy_server::yaml::read(&text).map_err(|bad| {
            let place = format!("{file}:{}:{}", line + bad.line, bad.column);
            Failure::refused(format!("{place}: {}", bad.sentence))
        })?;
        let place = format!("{file}:{}", line + 1);
        line += text.lines().count() as u64;
        match values.as_slice() {
            [] => {}
            [value] => documents.push(Document::of(text, place, value)),
            // Separated by `...` only: serialize each document again.
            several => {
                documents.extend(several.iter().map(|value| Document::of(value.to_string(), place.clone(), value)));
            }
        }
    }
    Ok(documents)
}

/// Splits a text at its `---` lines. Such a line ends a document everywhere, also inside a block scalar.
fn split_documents(text: &str) -> Vec<String> {
    let is_border = |line: &str| {
        line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    // Comments and directives belong to the document that follows.
    let is_empty = |part: &String| part.lines().all(|line| line.trim().is_empty() || line.starts_with(['#', '%']));
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if is_border(line) && !parts.last().is_some_and(is_empty) {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(line);
        }
    }
    parts
}

/// Returns the manifests in a directory, sorted by name, without subdirectories.
fn inside(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::refused(format!("cannot read {}: {error}", directory.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let message = format!("no manifest (.yaml, .yml, .json) in {}", directory.display());
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
        let failure = Failure::refused(format!("cannot read {}: {error}", shown(path)));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.and(instead_of(path)),
            _ => failure,
        }
    })
}

/// Returns the next step for a missing file.
fn instead_of(path: &Path) -> String {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let paths: Vec<_> = there.map(|entry| entry.path()).collect();
    // Extensions are mostly equal and would make all names similar.
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<_> = paths.iter().map(|path| stem(path)).collect();
    let near = tenancy_core::nearest::nearest(&stem(path), stems.iter().map(String::as_str));
    let near = near.and_then(|near| paths.iter().find(|path| stem(path) == near)?.file_name());
    match near {
        Some(near) => format!("did you mean {}?", path.with_file_name(near).display()),
        None => format!("{} writes an example", command("example > acme.yaml")),
    }
}

/// Joins the documents of several files, with a separator if a file does not begin with one.
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
    fn must_send_one_file_unchanged() {
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
    fn must_join_files_and_sort_a_directory_by_name() {
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
        assert!(failure.message.contains("bad.yaml:"), "{}", failure.message);
        let failure = Documents::read(&[temp.path().join("none.yaml")]).expect_err("missing");
        assert!(
            failure.message.contains("cannot read ") && failure.message.contains("none.yaml"),
            "{}",
            failure.message
        );
        assert!(failure.next.is_some_and(|next| next.contains("example > acme.yaml")));
        let failure = Documents::read(&[temp.path().join("god.yaml")]).expect_err("missing");
        assert!(failure.next.is_some_and(|next| next.ends_with("good.yaml?")));
        assert!(Documents::read(&[tempfile::tempdir().expect("empty").path().to_path_buf()]).is_err());
    }

    #[test]
    fn must_name_file_line_and_column_of_an_error() {
        let temp = tempfile::tempdir().expect("a directory");
        let good = written(temp.path(), "good.yaml", "kind: Tenant\n");
        let bad = written(temp.path(), "bad.yaml", "# ours\nkind: Tenant\n---\nkind: Tenant\na: 1\na: 2\n");
        let expected = format!("{}:6:1: the key \"a\" occurs twice; remove one", bad.display());
        assert_eq!(Documents::read(std::slice::from_ref(&bad)).expect_err("broken").message, expected);
        assert_eq!(Documents::read(&[good, bad]).expect_err("broken").message, expected);
    }

    #[test]
    fn must_split_a_text_where_its_documents_end() {
        let text = "kind: A\nnote: |\n  --- not here\n  x\n---\nkind: B\n--- # here\nkind: C\n---x: 1\n";
        assert_eq!(
            split_documents(text),
            ["kind: A\nnote: |\n  --- not here\n  x\n", "---\nkind: B\n", "--- # here\nkind: C\n---x: 1\n"]
        );
        assert_eq!(split_documents("%YAML 1.2\n---\nkind: A\n---\n"), ["%YAML 1.2\n---\nkind: A\n", "---\n"]);
        let documents = yaml_documents("kind: Tenant\ntenant_id: a\norganization_id: o\n...\nkind: B\n", "f");
        let documents = documents.expect("good");
        assert_eq!((documents[0].id.as_deref(), documents[0].organization.as_deref()), (Some("a"), Some("o")));
        assert_eq!((documents.len(), documents[0].nodes, documents[1].text.as_str()), (2, 7, "{\"kind\":\"B\"}"));
    }
}
