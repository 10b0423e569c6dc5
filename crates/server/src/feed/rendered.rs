//! A batch as it is sent, once for each kind of caller.

use crate::authentication::Caller;
use bytes::{Bytes, BytesMut};
use tenancy_core::permission::Audience;

/// Number of views.
pub(super) const VIEWS: usize = 4;

/// What decides how an event looks to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    audience: Audience,
    reads_keys: bool,
}

impl View {
    /// Returns the view of a caller.
    pub fn of(caller: &Caller) -> Self {
        Self { audience: caller.audience(), reads_keys: caller.reads_keys() }
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.audience == Audience::Staff) * 2 + usize::from(self.reads_keys)
    }
}

/// Events as bytes, in the order of their batch.
#[derive(Debug, Default)]
pub struct Rendered {
    bytes: Bytes,
    /// End of each event in `bytes`.
    ends: Vec<usize>,
}

static EMPTY: Rendered = Rendered { bytes: Bytes::new(), ends: Vec::new() };

impl Rendered {
    pub(super) fn empty() -> &'static Self {
        &EMPTY
    }

    /// Collects the renderings of all events of a batch.
    pub fn of(events: impl Iterator<Item = Vec<u8>>) -> Self {
        let (mut bytes, mut ends) = (BytesMut::new(), Vec::new());
        for event in events {
            bytes.extend_from_slice(&event);
            ends.push(bytes.len());
        }
        Self { bytes: bytes.freeze(), ends }
    }

    /// Returns the events whose index is chosen. All of them are shared with other followers and not copied.
    pub fn chosen(&self, is_chosen: impl Fn(usize) -> bool) -> Bytes {
        let chosen: Vec<_> = (0..self.ends.len()).map(is_chosen).collect();
        if chosen.iter().all(|is_chosen| *is_chosen) {
            return self.bytes.clone();
        }
        let mut bytes = BytesMut::new();
        let mut start = 0;
        for (end, is_chosen) in self.ends.iter().zip(chosen) {
            if is_chosen {
                bytes.extend_from_slice(&self.bytes[start..*end]);
            }
            start = *end;
        }
        bytes.freeze()
    }
}
