//! Every route of pages and API, with who may ask for it: one table, from which the router is built.
//!
//! Invariant: a route that does not stand here does not exist, and one that does is guarded as it says.

use super::guard::{self, Entrance};
use super::state::WebState;
use super::trouble::{self, Trouble};
use super::{actions, api, arms, asset, login, records, session, sso, statements, subject, worklist};
use crate::access::Permission;
use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Whoever asks: the way in itself, and what says nothing of the trial.
    Nothing,
    /// Whoever is logged in; without accounts, everybody.
    Session,
    /// Whose role may do this; without accounts, everybody who reads and nobody who changes.
    May(Permission),
}

/// One method of one address.
#[derive(Clone)]
pub struct Route {
    pub method: Method,
    /// As the router matches it.
    pub path: &'static str,
    pub need: Need,
    /// Does it change anything? Then no other site's page can ask for it.
    pub changes: bool,
    handler: fn() -> MethodRouter<WebState>,
}

/// `method path need handler`, a line a route.
macro_rules! routes {
    ($($method:ident $path:literal $need:expr => $handler:path;)+) => {
        &[$(Route {
            method: routes!(@method $method),
            path: $path,
            need: $need,
            changes: routes!(@changes $method),
            handler: || $method($handler),
        }),+]
    };
    (@method get) => { Method::GET };
    (@method post) => { Method::POST };
    (@method delete) => { Method::DELETE };
    (@changes get) => { false };
    (@changes $other:ident) => { true };
}

use Need::{May, Nothing, Session};
use Permission::*;

/// The table. docs/api.md says what each is for, and a test compares the two.
#[rustfmt::skip]
pub const ROUTES: &[Route] = routes! {
    // pages
    get    "/"                                     Session               => worklist::page;
    get    "/subjects/{id}"                        May(ViewSubjects)     => subject::page;
    get    "/allocations"                          May(ViewAllocations)  => arms::list;
    get    "/allocations/{id}"                     May(ViewArm)          => arms::page;
    get    "/login"                                Nothing               => login::form;
    post   "/login"                                Nothing               => login::enter;
    post   "/logout"                               Session               => login::leave;
    get    "/login/oidc"                           Nothing               => sso::begin;
    get    "/login/oidc/callback"                  Nothing               => sso::end;
    get    "/assets/{name}"                        Nothing               => asset::serve;
    // API
    post   "/api/v1/session"                       Nothing               => session::open;
    get    "/api/v1/session"                       Session               => session::show;
    delete "/api/v1/session"                       Session               => session::close;
    post   "/api/v1/password"                      Nothing               => session::change_password;
    get    "/api/v1/subjects"                      May(ViewSubjects)     => api::subjects;
    get    "/api/v1/subjects/{id}/explain"         May(ViewSubjects)     => api::explain;
    post   "/api/v1/subjects/{id}/consent"         May(RecordConsent)    => statements::consent;
    post   "/api/v1/subjects/{id}/attestations"    May(Attest)           => statements::attestation;
    get    "/api/v1/subjects/{id}/signing"         May(ViewSubjects)     => actions::to_be_signed;
    post   "/api/v1/subjects/{id}/signing"         May(ViewSubjects)     => actions::to_be_signed_as;
    post   "/api/v1/subjects/{id}/randomize"       May(Randomize)        => actions::randomize;
    get    "/api/v1/subjects/{id}/allocation"      May(ViewAllocations)  => arms::of_subject;
    post   "/api/v1/subjects/{id}/unblind"         May(Unblind)          => actions::unblind;
    get    "/api/v1/allocation"                    May(ViewAllocations)  => records::status;
    get    "/api/v1/audit"                         May(ViewAudit)        => records::audit;
    get    "/api/v1/signatures"                    May(ViewAudit)        => records::signatures;
};

/// The router of the table.
pub(super) fn router(state: &WebState) -> Router<WebState> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let entrance = Entrance { state: state.clone(), route: route.clone() };
        router.route(route.path, (route.handler)().route_layer(from_fn_with_state(entrance, guard::enter)))
    })
}

/// What is answered to a method that an address does not know.
pub(super) async fn no_such_method(method: Method, address: Uri) -> Trouble {
    Trouble::method(&method, allowed(address.path()))
}

/// Is this an address of the route?
fn is_of(route: &Route, path: &str) -> bool {
    let (mut known, mut given) = (route.path.split('/'), path.split('/'));
    loop {
        match (known.next(), given.next()) {
            (None, None) => return true,
            (Some(known), Some(given)) if known == given => {}
            (Some(known), Some(given)) if known.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

/// The methods of an address, as `Allow` names them.
fn allowed(path: &str) -> &'static str {
    let knows = |method| ROUTES.iter().any(|route| is_of(route, path) && route.method == method);
    match (knows(Method::GET), knows(Method::POST), knows(Method::DELETE)) {
        (true, true, true) => "GET, HEAD, POST, DELETE",
        (true, true, false) => "GET, HEAD, POST",
        (false, true, false) => "POST",
        _ => trouble::READ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn whatever_changes_something_needs_a_permission_or_is_the_way_in_or_out() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method.as_str(), route.path)), "{} is there twice", route.path);
            let is_door = route.path.contains("login")
                || route.path == "/logout"
                || route.path == "/api/v1/session"
                || route.path == "/api/v1/password";
            if route.changes && !is_door {
                assert!(matches!(route.need, May(_)), "{} {}", route.method, route.path);
            }
            if route.need == Nothing {
                assert!(is_door || route.path.starts_with("/assets/"), "{} {}", route.method, route.path);
            }
        }
    }

    #[test]
    fn an_address_names_its_own_methods() {
        #[rustfmt::skip]
        let table = [
            ("/",                               "GET, HEAD"),
            ("/login",                          "GET, HEAD, POST"),
            ("/logout",                         "POST"),
            ("/api/v1/session",                 "GET, HEAD, POST, DELETE"),
            ("/api/v1/subjects/p1/randomize",   "POST"),
            ("/api/v1/subjects/p1/signing",     "GET, HEAD, POST"),
            ("/api/v1/subjects//randomize",     "GET, HEAD"),
        ];
        for (path, allow) in table {
            assert_eq!(allowed(path), allow, "{path}");
        }
    }
}
