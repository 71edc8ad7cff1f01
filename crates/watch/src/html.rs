//! Responses with a page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::access::random_hex;

/// A page, whose `{{nonce}}` is replaced: no script or style runs but its own, and nothing is loaded from
/// elsewhere.
pub(crate) fn page(text: &str) -> Response {
    let Ok(nonce) = random_hex() else {
        let text = "the system has no random numbers\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Html(text.replace("{{nonce}}", &nonce)).into_response();
    // Hexadecimal digits are valid in a header.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
