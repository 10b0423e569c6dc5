//! The manifest: declares the desired configuration of a tenant with its environments and webhooks.

mod check;
mod difference;
mod document;
mod read;
mod webhook;

pub use document::{
    EnvironmentManifest, MAX_ALIASES, MAX_DISPLAY_NAME_BYTES, MAX_ENVIRONMENTS, MAX_LABELS, MAX_MEMBERS,
    MAX_MEMBERS_BYTES, MAX_NESTING, MAX_WEBHOOKS, Manifest, WebhookManifest, aliases_document,
};
pub(crate) use read::read_webhooks;
pub use read::{LABEL_KEY_PATTERN, LABEL_KEY_RULE, MAX_LABEL_VALUE_BYTES, is_label_key, read_labels};
pub use webhook::{MAX_EVENTS, parse as parse_webhook};
