//! Rules that the head of every request must follow.

use super::problem::Problem;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderName, Request, Version};
use tenancy_core::Error;

/// Checks that the request has one `Host`, and at most one `Authorization`. With two of them, a proxy and this server
/// could each believe another one (RFC 9112, section 3.2).
///
/// # Errors
/// [`Error::Malformed`].
pub fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    let number = |name: HeaderName| request.headers().get_all(name).iter().take(2).count();
    let refused = |detail: &str| Err(Error::Malformed(detail.to_owned()).into());
    match number(HOST) {
        0 if request.version() >= Version::HTTP_11 => return refused("The request has no Host header. Send one."),
        2 => return refused("The request has several Host headers. Send one."),
        _ => {}
    }
    if number(AUTHORIZATION) > 1 {
        return refused("The request has several Authorization headers. Send one.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_take_one_host_and_at_most_one_authorization() {
        let good = |version, names: &[&str]| {
            let mut request = Request::builder().version(version);
            for name in names {
                request = request.header(*name, "x");
            }
            check(&request.body(()).expect("a request")).is_ok()
        };
        assert!(good(Version::HTTP_11, &["host"]));
        assert!(good(Version::HTTP_11, &["host", "authorization"]));
        assert!(good(Version::HTTP_10, &[]));
        assert!(!good(Version::HTTP_11, &[]));
        assert!(!good(Version::HTTP_11, &["host", "host"]));
        assert!(!good(Version::HTTP_10, &["host", "host"]));
        assert!(!good(Version::HTTP_11, &["host", "authorization", "authorization"]));
    }
}
