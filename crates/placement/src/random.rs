//! Random text, from the operating system.

use crate::Fault;
use tenancy_core::json::hex;

/// Returns random bytes as hexadecimal digits.
pub fn random_hex<const BYTES: usize>() -> Result<String, Fault> {
    let mut random = [0; BYTES];
    let failed = |error| Fault::Unavailable(format!("the operating system returned no random numbers: {error}"));
    getrandom::fill(&mut random).map(|()| hex(&random)).map_err(failed)
}
