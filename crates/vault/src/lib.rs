//! Encryption of tenants' private data: data keys, and the key services that wrap them.
