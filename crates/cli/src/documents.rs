//! `-f`: reads files, directories and standard input. All documents are sent in one request, so that the server judges
//! them as a whole.

use crate::failure::Failure;
use crate::program::command;
use crate::terminal::{plain, remark};
use clap::Args;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tenancy_core::json::Strict;
use tenancy_server::manifests::{Found, flatten, is_answer, utf_16};
use tenancy_server::yaml::places::{Places, places};

/// Extensions of the files that are read from a directory, in any case.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Maximum number of files that a directory leaves out and that are named.
const MAX_NAMED: usize = 10;

/// The `-f` option.
#[derive(Args, Debug, Clone)]
pub struct Files {
    /// File or directory with manifests, or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Documents to send.
#[derive(Debug)]
pub struct Documents {
    documents: Vec<Document>,
}

/// One document.
#[derive(Debug)]
struct Document {
    source: Arc<Source>,
    /// Where in the source it is.
    found: Found,
}

/// A text with documents.
#[derive(Debug)]
struct Source {
    /// Name of the file, for messages.
    file: String,
    text: String,
    /// Lines of the fields. Only an error needs them.
    places: OnceLock<Option<Vec<Places>>>,
}

impl Documents {
    /// Reads all named files.
    ///
    /// # Errors
    /// Fails if a file cannot be read or parsed, if a document is an answer of the server, or if there is no document.
    pub fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut paths = Vec::new();
        for file in files {
            if file.is_dir() { paths.extend(of_directory(file)?) } else { paths.push(file.clone()) }
        }
        let mut documents = Vec::new();
        for path in &paths {
            let source = Source { file: shown(path), text: content(path)?, places: OnceLock::new() };
            let found = flatten(source.values()?);
            let source = Arc::new(source);
            documents.extend(found.into_iter().map(|found| Document { source: Arc::clone(&source), found }));
        }
        let documents = Self { documents };
        if let Some(index) = documents.documents.iter().position(|document| is_answer(&document.found.content)) {
            let message = format!("{}: this is an answer of the server, not a manifest", documents.place(index, ""));
            return Err(Failure::refused(message).and(format!("{} writes manifests", command("export"))));
        }
        if documents.documents.is_empty() {
            let names: Vec<_> = paths.iter().map(|path| shown(path)).collect();
            return Err(
                Failure::refused(format!("no documents in {}", names.join(", "))).and_type("example > acme.yaml")
            );
        }
        Ok(documents)
    }

    /// Number of documents.
    pub fn count(&self) -> usize {
        self.documents.len()
    }

    /// Returns all documents as the body of one request: a JSON list, which the server parses fastest.
    pub fn body(&self) -> Vec<&Value> {
        self.documents.iter().map(|document| &document.found.content).collect()
    }

    /// Returns file and line of the field at `pointer` in a document.
    pub fn place(&self, index: usize, pointer: &str) -> String {
        let Some(Document { source, found }) = self.documents.get(index) else {
            return format!("document {}", index + 1);
        };
        let places = source.places.get_or_init(|| places(&source.text)).as_ref();
        // A JSON list is one document of the text, and its items are documents here.
        let line = places.map(|all| match (all.as_slice(), found.document) {
            ([one], document) if source.is_json_list() => one.line(&format!("/{document}{}{pointer}", found.at)),
            (all, document) => all.get(document).map_or(1, |one| one.line(&format!("{}{pointer}", found.at))),
        });
        format!("{}:{}", source.file, line.unwrap_or(1))
    }
}

impl Source {
    fn is_json_list(&self) -> bool {
        self.text.trim_start().starts_with('[')
    }

    /// Returns the documents of the text, JSON or YAML. They are parsed here as on the server, because only the client
    /// knows the file for the error message.
    fn values(&self) -> Result<Vec<Value>, Failure> {
        if self.text.trim_start().starts_with(['{', '['])
            && let Ok(value) = Strict::parse(self.text.as_bytes())
        {
            return Ok(match value {
                Value::Array(items) => items,
                one => vec![one],
            });
        }
        tenancy_server::yaml::read(&self.text).map_err(|bad| {
            let place = format!("{}:{}:{}", self.file, bad.line, bad.column);
            Failure::refused(format!("{place}: {}", bad.sentence))
        })
    }
}

/// Formats a path for messages.
fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Returns the manifests in a directory and its subdirectories, sorted by path. Names what it leaves out.
fn of_directory(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let (mut paths, mut left_out) = (Vec::new(), Vec::new());
    inside(directory, &mut paths, &mut left_out)?;
    left_out.sort();
    if !left_out.is_empty() {
        let named: Vec<_> = left_out.iter().take(MAX_NAMED).map(|path| path.display().to_string()).collect();
        let more = left_out.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        remark(&plain(&format!(
            "left out, because they are hidden or not .yaml, .yml or .json: {}{more}",
            named.join(", ")
        )));
    }
    if paths.is_empty() {
        let message = format!("no manifest (.yaml, .yml, .json) in {}", directory.display());
        return Err(Failure::refused(message).and_type("example > acme.yaml"));
    }
    paths.sort();
    Ok(paths)
}

/// A linked directory is left out, since it can lead back. A linked file is read: mounted configuration consists of
/// links.
fn inside(directory: &Path, paths: &mut Vec<PathBuf>, left_out: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::refused(format!("cannot read {}: {error}", directory.display()));
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        if is_hidden {
            left_out.push(path);
        } else if entry.file_type().map_err(failed)?.is_dir() {
            inside(&path, paths, left_out)?;
        } else if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) {
            paths.push(path);
        } else {
            left_out.push(path);
        }
    }
    Ok(())
}

fn content(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = read.map_err(|error| {
        let failure = Failure::refused(format!("cannot read {}: {error}", shown(path)));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.and(instead_of(path)),
            _ => failure,
        }
    })?;
    if let Some(what) = utf_16(&bytes) {
        return Err(Failure::refused(format!("{} {what}", shown(path))));
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| Failure::refused(format!("{} is not UTF-8: save it as UTF-8", shown(path))))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(directory: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, text).expect("written");
        path
    }

    fn failed(path: &Path) -> String {
        Documents::read(&[path.to_path_buf()]).expect_err("refused").message
    }

    #[test]
    fn must_read_a_directory_with_its_subdirectories_by_path_and_leave_out_what_is_no_manifest() {
        let temp = tempfile::tempdir().expect("a directory");
        written(temp.path(), "2.json", "[{\"a\": 1}, {\"b\": 2}]");
        written(temp.path(), "1.YAML", "\u{feff}# ours\nkind: Organization");
        written(temp.path(), "sub/deeper/3.Yml", "---\nkind: Tenant\n");
        written(temp.path(), "notes.txt", "not a manifest");
        written(temp.path(), ".git/4.yaml", "kind: Tenant\n");
        let documents = Documents::read(&[temp.path().to_path_buf()]).expect("read");
        let expected = [json!({"kind": "Organization"}), json!({"a": 1}), json!({"b": 2}), json!({"kind": "Tenant"})];
        assert_eq!(documents.body(), expected.iter().collect::<Vec<_>>());
        let (mut paths, mut left_out) = (Vec::new(), Vec::new());
        inside(temp.path(), &mut paths, &mut left_out).expect("read");
        left_out.sort();
        assert_eq!(left_out, [temp.path().join(".git"), temp.path().join("notes.txt")]);
    }

    #[test]
    fn must_name_file_and_line_of_each_field_in_every_form_of_a_file() {
        let temp = tempfile::tempdir().expect("a directory");
        let yaml = written(temp.path(), "a.yaml", "kind: Tenant\n---\nkind: Tenant\nlabels:\n  a: b\n");
        let list = written(temp.path(), "b.yaml", "kind: List\nitems:\n- kind: Tenant\n- kind: Tenant\n  region: x\n");
        let json =
            written(temp.path(), "c.json", "[\n{\"kind\": \"Tenant\"},\n{\"kind\": \"Tenant\",\n \"region\": 1}]");
        let read = Documents::read(&[yaml.clone(), list.clone(), json.clone()]).expect("read");
        for (index, pointer, file, line) in [
            (0, "/region", &yaml, 1),
            (1, "/labels/a", &yaml, 5),
            (2, "", &list, 3),
            (3, "/region", &list, 5),
            (4, "/kind", &json, 2),
            (5, "/region", &json, 4),
        ] {
            assert_eq!(read.place(index, pointer), format!("{}:{line}", file.display()), "{index}{pointer}");
        }
    }

    #[test]
    fn must_refuse_what_contains_no_manifest_and_say_what_it_is() {
        let temp = tempfile::tempdir().expect("a directory");
        for empty in ["", "---\n", "# nothing\n", "[]", "kind: List\nitems: []\n"] {
            let path = written(temp.path(), "empty.yaml", empty);
            assert!(failed(&path).starts_with("no documents in "), "{empty:?}");
        }
        let answer = written(temp.path(), "answer.yaml", "- tenant_id: a\n  counter: 1\n");
        assert!(failed(&answer).ends_with("answer.yaml:1: this is an answer of the server, not a manifest"));
        let wide: Vec<u8> = "kind: Tenant".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(failed(&written(temp.path(), "wide.yaml", wide)).ends_with("wide.yaml is UTF-16: save it as UTF-8"));
        assert!(failed(&written(temp.path(), "latin.yaml", b"a: \xe9")).ends_with("is not UTF-8: save it as UTF-8"));
        assert!(failed(tempfile::tempdir().expect("empty").path()).starts_with("no manifest"));
    }

    #[test]
    fn must_name_the_file_that_is_broken_or_missing() {
        let temp = tempfile::tempdir().expect("a directory");
        let good = written(temp.path(), "good.yaml", "kind: Tenant\n");
        let bad = written(temp.path(), "bad.yaml", "# ours\nkind: Tenant\n---\nkind: Tenant\na: 1\na: 2\n");
        let expected = format!("{}:6:1: the key \"a\" occurs twice; remove one", bad.display());
        assert_eq!(failed(&bad), expected);
        assert_eq!(Documents::read(&[good, bad]).expect_err("broken").message, expected);
        let failure = Documents::read(&[temp.path().join("none.yaml")]).expect_err("missing");
        assert!(failure.message.contains("cannot read ") && failure.message.contains("none.yaml"));
        assert!(failure.next.is_some_and(|next| next.contains("example > acme.yaml")));
        let failure = Documents::read(&[temp.path().join("god.yaml")]).expect_err("missing");
        assert!(failure.next.is_some_and(|next| next.ends_with("good.yaml?")));
    }
}
