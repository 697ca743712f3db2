//! TEMPORARY
use crate::protocol::Trial;
use crate::store::Store;
use std::sync::Arc;
pub mod status;
pub use status::Status;
#[derive(Clone)]
pub struct WebState {
    pub store: Arc<dyn Store>,
    pub trial: Arc<Trial>,
    pub environment: &'static str,
    pub status: Arc<Status>,
}
pub fn pages(_s: WebState) -> axum::Router {
    axum::Router::new()
}
pub fn ops(_s: WebState) -> axum::Router {
    axum::Router::new()
}
