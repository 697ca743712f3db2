//! The pages and the operations port: reads decisions, decides nothing, changes nothing.
//!
//! Never on any page, in any answer or metric: an arm, a slot, a position, a count by arm, a block
//! size, a patient's name. Allocations are read in one place, [`state::randomized`], which keeps
//! nothing but whose they are.
//!
//! Pages are drawn on the server and hold no script. Both routers bring their own answers to an
//! unknown path or method; a router that is merged with [`pages`] must have no fallback of its own.

mod api;
mod asset;
mod frame;
mod gaps;
mod ops;
mod state;
mod status;
mod stored;
mod strict;
mod subject;
mod trouble;
mod words;
mod worklist;

#[cfg(test)]
mod tests;

pub use ops::install_metrics;
pub use state::WebState;
pub use status::{Pull, Status};

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use trouble::Trouble;

/// The pages for people and the read-only API: `/`, `/subjects/{id}`, `/api/v1/…`, `/assets/…`.
pub fn pages(state: WebState) -> Router {
    Router::new()
        .route("/", get(worklist::page))
        .route("/subjects/{id}", get(subject::page))
        .route("/api/v1/subjects", get(api::subjects))
        .route("/api/v1/subjects/{id}/explain", get(api::explain))
        .route("/assets/{name}", get(asset::serve))
        .fallback(async || Trouble::no_such_page())
        .method_not_allowed_fallback(async |method: Method| Trouble::method(&method))
        .layer(from_fn_with_state(state.clone(), strict::pages))
        .with_state(state)
}

/// What monitors ask: `/livez`, `/readyz` (also as `/health`), `/metrics`. For a port of its own.
pub fn ops(state: WebState) -> Router {
    install_metrics();
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ops::ready))
        .route("/health", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .fallback(async || Trouble::no_such_page())
        .method_not_allowed_fallback(async |method: Method| Trouble::method(&method))
        .layer(from_fn_with_state(state.clone(), strict::ops))
        .with_state(state)
}
