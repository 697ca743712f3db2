//! The door of every route: who is asking, may that role ask for it, and did the person mean to.
//!
//! What a role may not see looks as if it did not exist; what it may see and not do is refused. Both are
//! written into the audit log. Nothing here reads a body.
//!
//! Invariant: no handler runs before this has let the request in, and none runs without a [`Visitor`]
//! behind a route that needs one.

use super::cookie::{self, Cookie};
use super::routes::{Need, Route};
use super::state::WebState;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use crate::access::Permission;
use crate::http::auth::same_secret;
use crate::secret::Secret;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Where a program shows that it meant to: the token of the session.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// One route, with what its door needs.
#[derive(Clone)]
pub(super) struct Entrance {
    pub state: WebState,
    pub route: Route,
}

pub(super) async fn enter(State(door): State<Entrance>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match door.admit(&head).await {
        Ok(visitor) => {
            let mut request = Request::from_parts(head, body);
            if let Some(visitor) = visitor {
                request.extensions_mut().insert(Arc::new(visitor));
            }
            next.run(request).await
        }
        Err(Refusal::Told(trouble)) => trouble.into_response(),
        Err(Refusal::Nobody) => door.nobody(&head.headers),
    }
}

/// Why somebody does not come in.
enum Refusal {
    Told(Trouble),
    /// Nobody is logged in.
    Nobody,
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Refusal {
        Refusal::Told(trouble)
    }
}

impl Entrance {
    /// Who comes in; nobody in particular where nobody has to be anybody.
    async fn admit(&self, head: &Parts) -> Result<Option<Visitor>, Refusal> {
        let (headers, route) = (&head.headers, &self.route);
        if route.path.starts_with("/assets/") {
            return Ok(None);
        }
        if !visitor::exist(&self.state).await? {
            return match route.is_open() {
                true => Ok(Some(Visitor::operator())),
                false => Err(refused("no-accounts", Trouble::no_accounts()).into()),
            };
        }
        if route.changes {
            if is_foreign(headers) {
                return Err(refused("cross-origin", Trouble::cross_origin()).into());
            }
            if route.is_api() && !is_json(headers) {
                return Err(refused("not-json", Trouble::not_json()).into());
            }
        }
        if route.need == Need::Nothing {
            return Ok(None);
        }
        let token = Cookie::Session.read(headers).ok_or(Refusal::Nobody)?.to_owned();
        let visitor = visitor::of(&self.state, token).await?.ok_or(Refusal::Nobody)?;
        // A form has its token in its body, where its handler looks for it.
        if route.changes && route.is_api() && !has_token(headers, &visitor) {
            return Err(refused("csrf-token", Trouble::token()).into());
        }
        if let Need::May(permission) = route.need
            && !visitor.may(permission, &self.state.desk.masking)
        {
            return Err(self.denied(&visitor, head.uri.path()).await?.into());
        }
        Ok(Some(visitor))
    }

    /// Nobody is logged in: a person is shown the way in, a program is told.
    fn nobody(&self, headers: &HeaderMap) -> Response {
        metrics::counter!("trialbridge_auth_refused_total", "reason" => "session-missing").increment(1);
        let mut response = match self.route.is_api() {
            true => Trouble::no_session().into_response(),
            false => (StatusCode::SEE_OTHER, [(LOCATION, "/login")]).into_response(),
        };
        if Cookie::Session.read(headers).is_some() {
            response.headers_mut().append(SET_COOKIE, Cookie::Session.clear(headers));
        }
        response
    }

    /// Another role than the route needs.
    async fn denied(&self, visitor: &Visitor, path: &str) -> Result<Trouble, Trouble> {
        let subject = visitor::subject_in(path);
        visitor.denied(&self.state, self.route.method_name(), self.route.path, subject.as_deref()).await?;
        let sees = visitor.may(Permission::ViewSubjects, &self.state.desk.masking);
        Ok(match (self.route.changes, self.route.path.contains("/subjects/")) {
            (true, _) if sees => refused("role", Trouble::role()),
            (_, true) => refused("role", Trouble::no_such_subject()),
            _ => refused("role", Trouble::no_such_page()),
        })
    }
}

impl Route {
    fn method_name(&self) -> &'static str {
        match self.method {
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "GET",
        }
    }

    pub(super) fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// What an installation without accounts shows: the worklist and the subjects, as the operator sees
    /// them, and nothing that can be changed.
    fn is_open(&self) -> bool {
        let shows = self.need == Need::May(Permission::ViewSubjects) && !self.path.ends_with("/signing");
        !self.changes && (shows || self.path == "/")
    }
}

fn refused(reason: &'static str, trouble: Trouble) -> Trouble {
    metrics::counter!("trialbridge_auth_refused_total", "reason" => reason).increment(1);
    tracing::warn!(event = "web.refused", reason);
    trouble
}

/// Does the browser say that another site asked for this? Whoever is no browser says nothing, and has the
/// session's token to show instead.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin") {
        return true;
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return false };
    if origins.next().is_some() {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = |scheme: &str, port: &str| {
        let theirs = origin.to_str().ok().and_then(|o| o.strip_prefix(scheme));
        theirs.is_some_and(|theirs| {
            let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
            !host.is_empty() && bare(theirs) == bare(host)
        })
    };
    !(own("https://", ":443") || (!cookie::is_secure(headers) && own("http://", ":80")))
}

/// The one type of body that no form can send.
fn is_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    match (given.next().map(HeaderValue::as_bytes), given.next()) {
        (Some(kind), None) => {
            let essence = kind.split(|&b| b == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
        }
        // Nothing is said of a body that is not there.
        (None, _) => !crate::http::strict::announces_body(headers),
        _ => false,
    }
}

fn has_token(headers: &HeaderMap, visitor: &Visitor) -> bool {
    let mut given = headers.get_all(TOKEN).iter();
    match (given.next(), given.next()) {
        (Some(token), None) => is_token(token.as_bytes(), visitor.token()),
        _ => false,
    }
}

/// The same, in a time that says nothing of it.
pub(super) fn is_token(given: &[u8], expected: &str) -> bool {
    !expected.is_empty() && same_secret(given, &Secret::new(expected.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn another_site_is_told_from_our_own() {
        let (near, far) = (("host", "127.0.0.1:8080"), ("host", "trial.example"));
        #[rustfmt::skip]
        let table = [
            (with(&[near]),                                                                false),
            (with(&[near, ("origin", "http://127.0.0.1:8080")]),                           false),
            (with(&[near, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]), false),
            (with(&[near, ("origin", "http://127.0.0.1:9090")]),                           true),
            (with(&[near, ("origin", "http://localhost:8080")]),                           true),
            (with(&[near, ("origin", "null")]),                                            true),
            (with(&[near, ("origin", "")]),                                                true),
            (with(&[near, ("sec-fetch-site", "same-site")]),                               true),
            (with(&[near, ("sec-fetch-site", "cross-site")]),                              true),
            (with(&[near, ("sec-fetch-site", "none")]),                                    true),
            (with(&[near, ("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")]), true),
            (with(&[near, ("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")]), true),
            (with(&[far, ("origin", "https://trial.example")]),                            false),
            (with(&[far, ("origin", "https://Trial.example:443")]),                        false),
            (with(&[far, ("origin", "http://trial.example")]),                             true),
            (with(&[far, ("origin", "https://trial.example.evil.example")]),               true),
            (with(&[far, ("origin", "https://trial.example:8443")]),                       true),
            (with(&[("origin", "https://")]),                                              true),
        ];
        for (headers, foreign) in table {
            assert_eq!(is_foreign(&headers), foreign, "{headers:?}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let body = ("content-length", "2");
        #[rustfmt::skip]
        let table = [
            (with(&[body, ("content-type", "application/json")]),                   true),
            (with(&[body, ("content-type", "Application/JSON; charset=utf-8")]),    true),
            (with(&[]),                                                             true),
            (with(&[("content-length", "0")]),                                      true),
            (with(&[body]),                                                         false),
            (with(&[body, ("content-type", "text/plain")]),                         false),
            (with(&[body, ("content-type", "text/plain; application/json")]),       false),
            (with(&[body, ("content-type", "application/x-www-form-urlencoded")]),  false),
            (with(&[body, ("content-type", "multipart/form-data")]),                false),
            (with(&[body, ("content-type", "application/jsonp")]),                  false),
            (with(&[body, ("content-type", "application/json"), ("content-type", "text/plain")]), false),
        ];
        for (headers, json) in table {
            assert_eq!(is_json(&headers), json, "{headers:?}");
        }
    }
}
