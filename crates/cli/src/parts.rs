//! More documents than one request takes: parts, each of which can stand alone.
//!
//! Organizations come first. A tenant's organization stands in its part again where it stood in an earlier one: so each part
//! can be checked before any is written, and the second time changes nothing.

use crate::documents::{Document, Documents};
use crate::failure::Failure;
use crate::program::command;
use crate::wire::Received;
use std::collections::{BTreeMap, BTreeSet};
use tenancy_api::applied::AppliedDocument;
use tenancy_server::operations::apply::MAX_DOCUMENTS;
use tenancy_server::yaml::MAX_NODES;

/// What a request takes, of a server that is not configured otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Largest body.
    pub bytes: usize,
    /// Most documents.
    pub documents: usize,
    /// Most keys and values.
    pub nodes: usize,
}

impl Default for Room {
    fn default() -> Self {
        let bytes = tenancy_server::Config::default().limits.max_body_bytes;
        Self { bytes, documents: MAX_DOCUMENTS, nodes: MAX_NODES }
    }
}

/// The body of one request.
#[derive(Debug, Default)]
pub struct Part {
    /// Documents one behind the other.
    pub text: String,
    /// For each document of the part which of all it is; `None` for one that stood in an earlier part.
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

    /// Whether so many bytes and nodes more fit in, of at most two documents.
    fn has_room(&self, room: Room, documents: &[&Document]) -> bool {
        // With each document's separator and line end.
        let bytes: usize = documents.iter().map(|document| document.text.len() + 5).sum();
        let nodes: usize = documents.iter().map(|document| document.nodes).sum();
        self.text.len() + bytes <= room.bytes
            && self.origin.len() + documents.len() <= room.documents
            && self.nodes + nodes <= room.nodes
    }

    /// The lines of the part's answer, as lines of the whole.
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
    /// Whether one request takes all of it.
    pub fn fits(&self, room: Room) -> bool {
        let nodes: usize = self.documents.iter().map(|document| document.nodes).sum();
        self.text.len() <= room.bytes && self.documents.len() <= room.documents && nodes <= room.nodes
    }

    /// The parts, in the order in which they are to be written.
    ///
    /// # Errors
    /// When a document does not say what it is, says what another one said, or does not fit into a request alone.
    pub fn parts(&self, room: Room) -> Result<Vec<Part>, Failure> {
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
            if !part.has_room(room, &needed) && !part.text.is_empty() {
                parts.push(std::mem::take(&mut part));
            }
            let owner = owner_missing(&part).copied();
            let needed: Vec<&Document> = owner.into_iter().chain([*document]).collect();
            if !part.has_room(room, &needed) {
                return Err(too_large(document, room));
            }
            owner.into_iter().for_each(|owner| part.push(owner, None));
            part.push(document, Some(*index));
        }
        parts.push(part);
        Ok(parts)
    }

    /// What the server says of one file, and cannot say of parts.
    fn check_names(&self) -> Result<(), Failure> {
        let mut seen = BTreeMap::new();
        for document in &self.documents {
            let (Some(kind), Some(id)) = (&document.kind, &document.id) else {
                let message = "a file that is sent in parts must say kind and id of each document";
                return Err(Failure::refused(format!("{}: {message}", document.place)));
            };
            if let Some(before) = seen.insert((kind, id), &document.place) {
                let message = format!("{}: {kind} {id} stands twice, first in {before}", document.place);
                return Err(Failure::refused(message));
            }
        }
        Ok(())
    }
}

fn is_organization(document: &Document) -> bool {
    document.kind.as_deref() == Some("Organization")
}

fn too_large(document: &Document, room: Room) -> Failure {
    let (bytes, nodes) = (document.text.len(), document.nodes);
    let message = format!(
        "{}: this document is too large ({bytes} bytes, {nodes} keys and values): a request takes {} bytes, and {}",
        document.place, room.bytes, room.nodes
    );
    Failure::refused(message).and(format!("{} says what belongs into it", command("explain tenant")))
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
    fn must_make_parts_that_can_stand_alone_with_organizations_first() {
        let room = Room { documents: 3, bytes: MUCH, nodes: MUCH };
        let parts = three_tenants().parts(room).expect("parts");
        let origins: Vec<_> = parts.iter().map(|part| part.origin.clone()).collect();
        assert_eq!(origins, [vec![Some(1), Some(2), Some(0)], vec![None, Some(3)], vec![None, Some(4)]]);
        assert_eq!(parts[1].text, "kind: Organization\nid: b\n---\nkind: Tenant\nid: b-1\n");
        for tight in [Room { nodes: 10, ..room }, Room { bytes: 70, ..room }] {
            let parts = three_tenants().parts(tight).expect("parts");
            assert!(parts.iter().all(|part| part.text.len() <= tight.bytes && part.nodes <= tight.nodes), "{parts:?}");
            let mut all: Vec<_> = parts.iter().flat_map(|part| part.origin.iter().copied().flatten()).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn must_give_back_the_lines_of_the_whole_and_none_twice() {
        let parts = three_tenants().parts(Room { documents: 3, bytes: MUCH, nodes: MUCH }).expect("parts");
        let line = |index: usize, id: &str| json!({"index": index, "kind": "Tenant", "id": id, "result": "created", "changes": [], "warnings": []});
        let answer = [line(0, "b"), line(1, "b-1")].map(|line| Received::of(line).expect("a line"));
        let lines = parts[1].lines(answer.into());
        assert_eq!(lines.iter().map(|line| &line.raw).collect::<Vec<_>>(), [&line(3, "b-1")]);
        assert_eq!(lines[0].value.index, 3);
    }

    #[test]
    fn must_refuse_what_no_part_can_hold() {
        let room = Room { documents: 5, bytes: 40, nodes: MUCH };
        let failure = three_tenants().parts(room).expect_err("too large");
        assert!(failure.message.starts_with("f:a-1: this document is too large"), "{}", failure.message);
        let mut twice = three_tenants();
        twice.documents.push(document("Tenant", "a-1", "a"));
        let failure = twice.parts(Room::default()).expect_err("twice");
        assert_eq!(failure.message, "f:a-1: Tenant a-1 stands twice, first in f:a-1");
        twice.documents[0].id = None;
        assert!(twice.parts(Room::default()).expect_err("nameless").message.contains("must say kind and id"));
    }
}
