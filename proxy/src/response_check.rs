//! What a response's head must be like before it is passed on: endpoints are trusted no more than clients.

use config::Rules;
use pingora_error::Result;
use pingora_http::ResponseHeader;

/// Checks a head. An error is the endpoint's failure, a protocol error.
pub(crate) fn check(_response: &ResponseHeader, _rules: &Rules) -> Result<()> {
    Ok(())
}
