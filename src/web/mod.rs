//! The pages, the API and the operations port. What is decided about patients is decided elsewhere; what is
//! done here is asked for by somebody who is signed in, whose role may, and who signs.
//!
//! Never on any page, in any answer or metric: a slot, a position, a count by arm, a block size, a patient's
//! name. An arm is shown where [`state::WebState::disclose`] gives it to who may know it, and nowhere else.
//!
//! Which routes there are, and who may ask for them, stands in one table, [`ROUTES`]. Pages are drawn on the
//! server and hold no script. Both routers bring their own answers to an unknown path or method; a router
//! that is merged with [`pages`] must have no fallback of its own.

mod actions;
mod api;
mod arms;
mod asset;
mod body;
mod cookie;
mod desk;
mod frame;
mod gaps;
mod grants;
mod guard;
mod login;
mod ops;
mod records;
mod refusals;
mod routes;
mod session;
mod signing;
mod sso;
mod state;
mod statements;
mod status;
mod stored;
mod strict;
mod subject;
mod trouble;
mod visitor;
mod words;
mod worklist;

#[cfg(test)]
mod tests;

pub use desk::{Clock, Desk, ReadKey};
pub use ops::install_metrics;
pub use routes::{Need, ROUTES, Route};
pub use state::WebState;
pub use status::{Pull, Status};

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use trouble::Trouble;

/// The pages for people and the API: what stands in [`ROUTES`].
pub fn pages(state: WebState) -> Router {
    routes::router(&state)
        .fallback(async || Trouble::no_such_page())
        .method_not_allowed_fallback(routes::no_such_method)
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
        .method_not_allowed_fallback(async |method: Method| Trouble::method(&method, trouble::READ))
        .layer(from_fn_with_state(state.clone(), strict::ops))
        .with_state(state)
}
