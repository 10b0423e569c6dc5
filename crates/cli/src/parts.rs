//! Splits documents that exceed the limits of one request into parts, each of which is valid alone.
//!
//! Organizations come first. If the organization of a tenant was in an earlier part, it is repeated in the part of the
//! tenant. Each part can then be checked before any part is written; applying the organization again changes nothing.

use crate::documents::{Document, Documents};
use crate::failure::Failure;
use crate::program::command;
use crate::wire::Received;
use std::collections::{BTreeMap, BTreeSet};
use tenancy_api::applied::AppliedDocument;
use tenancy_server::operations::apply::MAX_DOCUMENTS;
use tenancy_server::yaml::MAX_NODES;

/// Limits of one request of a server with default configuration.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Maximum size of the body, in bytes.
    pub bytes: usize,
    /// Maximum number of documents.
    pub documents: usize,
    /// Maximum number of keys and values.
    pub nodes: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        let bytes = tenancy_server::Config::default().limits.max_body_bytes;
        Self { bytes, documents: MAX_DOCUMENTS, nodes: MAX_NODES }
    }
}

/// The body of one request.
#[derive(Debug, Default)]
pub struct Part {
    /// Documents, separated by `---`.
    pub text: String,
    /// Index among all documents for each document of the part; `None` for an organization repeated from an earlier
    /// part.
    origin: Vec<Option<usize>>,
    organizations: BTreeSet<String>,
    nodes: usize,
}

impl Part {
    fn push(&mut self, document: &Document, origin: Option<usize>) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        if !self.text.is_empty() && !document.text.starts_with("---") {
            self.text.push_str("---\n");
        }
        self.text.push_str(&document.text);
        self.origin.push(origin);
        self.nodes += document.nodes;
        if is_organization(document) {
            self.organizations.extend(document.id.clone());
        }
    }

    /// Returns whether the documents fit into this part.
    fn can_take(&self, limits: RequestLimits, documents: &[&Document]) -> bool {
        // 5 bytes per document for its separator and line end.
        let bytes: usize = documents.iter().map(|document| document.text.len() + 5).sum();
        let nodes: usize = documents.iter().map(|document| document.nodes).sum();
        self.text.len() + bytes <= limits.bytes
            && self.origin.len() + documents.len() <= limits.documents
            && self.nodes + nodes <= limits.nodes
    }

    /// Maps the result lines of this part to lines with the index among all documents.
    pub fn lines(&self, lines: Vec<Received<AppliedDocument>>) -> Vec<Received<AppliedDocument>> {
        let of_whole = lines.into_iter().zip(&self.origin).filter_map(|(mut line, origin)| {
            line.value.index = (*origin)?;
            if let Some(raw) = line.raw.as_object_mut() {
                raw.insert("index".to_owned(), line.value.index.into());
            }
            Some(line)
        });
        of_whole.collect()
    }
}

impl Documents {
    /// Returns whether all documents fit into one request.
    pub fn fits(&self, limits: RequestLimits) -> bool {
        let nodes: usize = self.documents.iter().map(|document| document.nodes).sum();
        self.text.len() <= limits.bytes && self.documents.len() <= limits.documents && nodes <= limits.nodes
    }

    /// Returns the parts in the order in which to write them.
    ///
    /// # Errors
    /// Fails if a document has no kind or id, if two documents have the same kind and id, or if a document exceeds the
    /// limits of one request.
    pub fn parts(&self, limits: RequestLimits) -> Result<Vec<Part>, Failure> {
        self.check_names()?;
        let (organizations, tenants): (Vec<_>, Vec<_>) =
            self.documents.iter().enumerate().partition(|(_, document)| is_organization(document));
        let known: BTreeMap<_, _> =
            organizations.iter().map(|(_, document)| (document.id.as_ref(), *document)).collect();
        let (mut parts, mut part) = (Vec::new(), Part::default());
        for (index, document) in organizations.iter().chain(&tenants) {
            let owner = known.get(&document.organization.as_ref()).filter(|_| !is_organization(document));
            let owner_missing =
                |part: &Part| owner.filter(|o| !o.id.as_ref().is_some_and(|id| part.organizations.contains(id)));
            let needed: Vec<&Document> = owner_missing(&part).copied().into_iter().chain([*document]).collect();
            if !part.can_take(limits, &needed) && !part.text.is_empty() {
                parts.push(std::mem::take(&mut part));
            }
            let owner = owner_missing(&part).copied();
            let needed: Vec<&Document> = owner.into_iter().chain([*document]).collect();
            if !part.can_take(limits, &needed) {
                return Err(too_large(document, limits));
            }
            owner.into_iter().for_each(|owner| part.push(owner, None));
            part.push(document, Some(*index));
        }
        parts.push(part);
        Ok(parts)
    }

    /// Checks names across parts; the server can check them only within one request.
    fn check_names(&self) -> Result<(), Failure> {
        let mut seen = BTreeMap::new();
        for document in &self.documents {
            let (Some(kind), Some(id)) = (&document.kind, &document.id) else {
                let message = "each document needs a kind and an id, because the input exceeds one request";
                return Err(Failure::refused(format!("{}: {message}", document.place)));
            };
            if let Some(before) = seen.insert((kind, id), &document.place) {
                let message =
                    format!("{}: {kind} {id} is declared twice; the first declaration is at {before}", document.place);
                return Err(Failure::refused(message));
            }
        }
        Ok(())
    }
}

fn is_organization(document: &Document) -> bool {
    document.kind.as_deref() == Some("Organization")
}

fn too_large(document: &Document, limits: RequestLimits) -> Failure {
    let (bytes, nodes) = (document.text.len(), document.nodes);
    let message = format!(
        "{}: document too large: {bytes} bytes and {nodes} keys and values; the limits are {} bytes and {}",
        document.place, limits.bytes, limits.nodes
    );
    Failure::refused(message).and(format!("{} lists the fields of a document", command("explain tenant")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(kind: &str, id: &str, organization: &str) -> Document {
        Document {
            text: format!("kind: {kind}\nid: {id}\n"),
            place: format!("f:{id}"),
            kind: Some(kind.to_owned()),
            id: Some(id.to_owned()),
            organization: Some(organization.to_owned()),
            nodes: 5,
        }
    }

    fn three_tenants() -> Documents {
        let documents = vec![
            document("Tenant", "a-1", "a"),
            document("Organization", "a", "a"),
            document("Organization", "b", "b"),
            document("Tenant", "b-1", "b"),
            document("Tenant", "a-2", "a"),
        ];
        Documents { content_type: "application/yaml", text: String::new(), documents }
    }

    const MUCH: usize = 1_000_000;

    #[test]
    fn must_make_parts_that_are_valid_alone_with_organizations_first() {
        let limits = RequestLimits { documents: 3, bytes: MUCH, nodes: MUCH };
        let parts = three_tenants().parts(limits).expect("parts");
        let origins: Vec<_> = parts.iter().map(|part| part.origin.clone()).collect();
        assert_eq!(origins, [vec![Some(1), Some(2), Some(0)], vec![None, Some(3)], vec![None, Some(4)]]);
        assert_eq!(parts[1].text, "kind: Organization\nid: b\n---\nkind: Tenant\nid: b-1\n");
        for tight in [RequestLimits { nodes: 10, ..limits }, RequestLimits { bytes: 70, ..limits }] {
            let parts = three_tenants().parts(tight).expect("parts");
            assert!(parts.iter().all(|part| part.text.len() <= tight.bytes && part.nodes <= tight.nodes), "{parts:?}");
            let mut all: Vec<_> = parts.iter().flat_map(|part| part.origin.iter().copied().flatten()).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn must_return_each_result_line_once_with_its_index_among_all_documents() {
        let parts = three_tenants().parts(RequestLimits { documents: 3, bytes: MUCH, nodes: MUCH }).expect("parts");
        let line = |index: usize, id: &str| json!({"index": index, "kind": "Tenant", "id": id, "result": "created", "changes": [], "warnings": []});
        let answer = [line(0, "b"), line(1, "b-1")].map(|line| Received::of(line).expect("a line"));
        let lines = parts[1].lines(answer.into());
        assert_eq!(lines.iter().map(|line| &line.raw).collect::<Vec<_>>(), [&line(3, "b-1")]);
        assert_eq!(lines[0].value.index, 3);
    }

    #[test]
    fn must_refuse_a_document_that_exceeds_one_request() {
        let limits = RequestLimits { documents: 5, bytes: 40, nodes: MUCH };
        let failure = three_tenants().parts(limits).expect_err("too large");
        assert!(failure.message.starts_with("f:a-1: document too large"), "{}", failure.message);
        let mut twice = three_tenants();
        twice.documents.push(document("Tenant", "a-1", "a"));
        let failure = twice.parts(RequestLimits::default()).expect_err("twice");
        assert_eq!(failure.message, "f:a-1: Tenant a-1 is declared twice; the first declaration is at f:a-1");
        twice.documents[0].id = None;
        assert!(
            twice.parts(RequestLimits::default()).expect_err("nameless").message.contains("needs a kind and an id")
        );
    }
}
