//! The API's document, the same from `mini-sns openapi` and from a running server.

use utoipa::openapi::OpenApi;

use crate::failure::Failure;
use crate::output;

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let mut document = edge::health::openapi();
    for part in [users::openapi(), posts::openapi(), social::openapi(), timeline::openapi()] {
        document.merge(part);
    }
    edge::openapi::finish(document, env!("CARGO_PKG_VERSION"))
}

/// Prints it as JSON.
pub(crate) fn print() -> Result<(), Failure> {
    let json = document().to_pretty_json().map_err(Failure::failed)?;
    output::line(&json)
}
