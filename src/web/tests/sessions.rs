//! Who is let in, for how long, and as whom: fixation, theft, expiry, CSRF, roles and sites.

use super::people::{PASSWORD, Person, person};
use super::*;
use chrono::TimeDelta;
use serde_json::json;

const WHO: &str = "/api/v1/session";

async fn status(world: &World, at: SocketAddr, who: &Person) -> u16 {
    world.see(at, who, WHO).await.status
}

#[tokio::test]
async fn a_cookie_is_new_at_every_sign_in_and_one_that_was_planted_counts_for_nothing() {
    let world = World::staffed();
    let at = world.pages().await;
    let planted = format!("trialbridge={}", "a".repeat(64));
    let body = json!({"account": "inv-n", "password": PASSWORD}).to_string();
    let json = ("content-type", "application/json");
    let first = world.send(at, Method::POST, WHO, &[json, ("cookie", &planted)], Some(&body)).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let cookie = first.header("set-cookie").to_owned();
    assert!(!cookie.contains(&"a".repeat(64)), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let one = person(&first);
    assert_eq!(status(&world, at, &Person { cookie: planted, csrf: String::new() }).await, 401);
    assert_eq!(status(&world, at, &one).await, 200);
    // Signing in again with the first one's cookie ends the first one.
    let again = world.send(at, Method::POST, WHO, &[json, ("cookie", &one.cookie)], Some(&body)).await;
    let two = person(&again);
    assert_ne!((&one.cookie, &one.csrf), (&two.cookie, &two.csrf));
    assert_eq!(status(&world, at, &one).await, 401);
    assert_eq!(status(&world, at, &two).await, 200);
    let shown = world.see(at, &two, WHO).await.json();
    assert_eq!(
        (&shown["account"], &shown["printedName"], &shown["role"], &shown["site"]),
        (&json!("inv-n"), &json!("Dr inv-n"), &json!("investigator"), &json!("north"))
    );
    // Behind a name that other machines reach, the cookie is the browser's strictest.
    let far = [json, ("host", "trial.example")];
    let far = world.send(at, Method::POST, WHO, &far, Some(&body)).await;
    let cookie = far.header("set-cookie");
    assert!(cookie.starts_with("__Host-trialbridge=") && cookie.contains("; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_session_is_over_when_it_is_left_unused_or_old() {
    let world = World::staffed();
    let at = world.pages().await;
    let left = world.sign_in(at, "inv-n").await;
    let answer = world
        .send(at, Method::DELETE, WHO, &[("cookie", &left.cookie), ("x-csrf-token", &left.csrf)], None)
        .await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(status(&world, at, &left).await, 401, "a stolen copy is worth nothing");

    let used = world.sign_in(at, "inv-n").await;
    let idle = world.sign_in(at, "mon").await;
    for _ in 0..2 {
        world.clock.forward(TimeDelta::minutes(14));
        assert_eq!(status(&world, at, &used).await, 200);
    }
    assert_eq!(status(&world, at, &idle).await, 401);
    for _ in 0..60 {
        world.clock.forward(TimeDelta::minutes(11));
        assert_eq!(status(&world, at, &used).await, 200);
    }
    // 688 minutes: half an hour before the twelve hours.
    for _ in 0..4 {
        world.clock.forward(TimeDelta::minutes(9));
        let _ = status(&world, at, &used).await;
    }
    assert_eq!(status(&world, at, &used).await, 401, "after twelve hours, however busy");
}

#[tokio::test]
async fn another_role_holds_at_once_and_a_disabled_account_is_out() {
    use crate::access::Role;
    use crate::account::{Accounts, By, Credential};
    let world = World::staffed();
    let at = world.pages().await;
    let coordinator = world.sign_in(at, "coord-n").await;
    assert_eq!(world.see(at, &coordinator, "/api/v1/subjects").await.status, 200);
    let settings = super::people::settings();
    let secret = crate::secret::Secret::new(PASSWORD.into());
    let by = || By { name: "admin", credential: Credential::Password(&secret) };
    let accounts = Accounts::new(&*world.store, &settings);
    accounts.set_role("coord-n", Role::Administrator, None, by(), world.clock.now()).expect("changed");
    assert_eq!(status(&world, at, &coordinator).await, 401);
    let now = world.sign_in(at, "coord-n").await;
    assert_eq!(world.see(at, &now, "/api/v1/subjects").await.status, 404);
    accounts.set_disabled("coord-n", true, by(), world.clock.now()).expect("disabled");
    assert_eq!(status(&world, at, &now).await, 401);
    let body = json!({"account": "coord-n", "password": PASSWORD});
    let refused = world.post(at, None, WHO, &body).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("login-refused")));
}

#[tokio::test]
async fn who_is_refused_is_told_nothing_of_who_there_is() {
    let world = World::staffed();
    let at = world.pages().await;
    let mut bodies = std::collections::BTreeSet::new();
    for (name, password) in [("inv-n", "wrong wrong wrong"), ("nobody", "wrong wrong wrong"), ("", "")] {
        let answer = world.post(at, None, WHO, &json!({"account": name, "password": password})).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""), "{}", answer.text);
        let mut json = answer.json();
        json["requestId"] = json!(null);
        bodies.insert(json.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let all = format!("{:?}", world.store.audit_entries(0, 1000).expect("read"));
    assert!(!all.contains("wrong wrong"), "no password is in the audit log");
    for body in [
        "",
        "{}",
        "[]",
        r#"{"account":"a","password":"b","role":"c"}"#,
        r#"{"account":"a","account":"b","password":"c"}"#,
    ] {
        let json = ("content-type", "application/json");
        let answer = world.send(at, Method::POST, WHO, &[json], Some(body)).await;
        assert!([400, 429].contains(&answer.status), "{body}: {}", answer.text);
    }
    let hurried: Vec<u16> = {
        let mut all = Vec::new();
        for _ in 0..30 {
            all.push(world.post(at, None, WHO, &json!({"account": "x", "password": "y"})).await.status);
        }
        all
    };
    assert!(hurried.contains(&429), "an address is throttled: {hurried:?}");
}

#[tokio::test]
async fn another_site_can_ask_for_nothing() {
    let world = World::staffed();
    let at = world.pages().await;
    let who = world.sign_in(at, "inv-n").await;
    let path = "/api/v1/subjects/n1/attestations";
    let good =
        json!({"criterion": "E4", "verdict": "no", "reason": "seen", "password": PASSWORD}).to_string();
    let before = world.store.audit_head().expect("read");
    let (cookie, token) = (("cookie", who.cookie.as_str()), ("x-csrf-token", who.csrf.as_str()));
    let json = ("content-type", "application/json");
    let own = format!("http://{at}");
    #[rustfmt::skip]
    let table: &[(&[(&str, &str)], u16, &str)] = &[
        (&[cookie, json],                                                        403, "csrf-token"),
        (&[cookie, json, ("x-csrf-token", "")],                                  403, "csrf-token"),
        (&[cookie, json, ("x-csrf-token", "0000")],                              403, "csrf-token"),
        (&[cookie, json, token, token],                                          403, "csrf-token"),
        (&[cookie, token, ("content-type", "text/plain")],                       403, "not-json"),
        (&[cookie, ("content-type", "text/plain")],                              403, "not-json"),
        (&[cookie, ("content-type", "application/x-www-form-urlencoded")],       403, "not-json"),
        (&[cookie, token, json, ("origin", "http://evil.example")],              403, "cross-origin"),
        (&[cookie, token, json, ("origin", "null")],                             403, "cross-origin"),
        (&[cookie, token, json, ("sec-fetch-site", "cross-site")],               403, "cross-origin"),
        (&[token, json],                                                         401, "session-missing"),
    ];
    for (headers, status, code) in table {
        let answer = world.send(at, Method::POST, path, headers, Some(&good)).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (*status, Some(*code)), "{headers:?}");
    }
    assert_eq!(world.store.audit_head().expect("read"), before, "nothing happened");
    assert_eq!(world.store.signatures(Some("Patient/n1")).expect("read").len(), 0);
    let headers = [cookie, token, json, ("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = world.send(at, Method::POST, path, &headers, Some(&good)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    // A form of another site that signs somebody out.
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (headers, status) in
        [(vec![cookie, form], 403), (vec![cookie, form, ("origin", "http://evil.example")], 403)]
    {
        let answer = world.send(at, Method::POST, "/logout", &headers, Some("token=0")).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let answer =
        world.send(at, Method::POST, "/logout", &[cookie, form], Some(&format!("token={}", who.csrf))).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login"));
    assert_eq!(status(&world, at, &who).await, 401);
}

#[tokio::test]
async fn subjects_of_another_site_do_not_exist() {
    let world = World::staffed();
    let at = world.pages().await;
    let south = world.sign_in(at, "coord-s").await;
    let listed = world.see(at, &south, "/api/v1/subjects").await.json();
    let listed: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|s| s["subject"].as_str()).collect();
    assert_eq!(listed, ["Patient/s1"]);
    let page = world.see(at, &south, "/").await;
    assert!(page.text.contains("Patient/s1") && !page.text.contains("Patient/n1"));
    let body = json!({"consent": "given", "password": PASSWORD});
    let draw = json!({"meaning": "randomize", "record": "0".repeat(64), "password": PASSWORD});
    let mut seen: std::collections::BTreeMap<String, (u16, String)> = Default::default();
    // Of another site, never heard of, and no id at all.
    for id in ["n1", "zz9", "a%20b"] {
        for (method, route, body) in [
            (Method::GET, "/api/v1/subjects/ID/explain", None),
            (Method::GET, "/api/v1/subjects/ID/allocation", None),
            (Method::GET, "/api/v1/subjects/ID/signing?meaning=randomize", None),
            (Method::POST, "/api/v1/subjects/ID/consent", Some(&body)),
            (Method::POST, "/api/v1/subjects/ID/randomize", Some(&draw)),
        ] {
            let path = route.replace("ID", id);
            let entries = world.audited("access.denied").len();
            let answer = match body {
                None => world.see(at, &south, &path).await,
                Some(body) => {
                    let headers = [
                        ("content-type", "application/json"),
                        ("cookie", &south.cookie),
                        ("x-csrf-token", &south.csrf),
                        ("idempotency-key", "k"),
                    ];
                    world.send(at, method.clone(), &path, &headers, Some(&body.to_string())).await
                }
            };
            let mut json = answer.json();
            json["requestId"] = json!(null);
            let told = (answer.status, json.to_string());
            assert_eq!(told.0, 404, "{path}: {}", answer.text);
            assert_eq!(seen.entry(route.to_owned()).or_insert_with(|| told.clone()), &told, "{path}");
            assert_eq!(world.audited("access.denied").len(), entries + 1, "{path} is audited");
        }
    }
    assert_eq!(
        world.store.signatures(None).expect("read").iter().filter(|s| s.signed.subject.is_some()).count(),
        0
    );
    // The same subject, for who belongs to it.
    let north = world.sign_in(at, "coord-n").await;
    assert_eq!(world.see(at, &north, "/api/v1/subjects/n1/explain").await.status, 200);
}

#[tokio::test]
async fn every_route_is_for_its_roles_and_nobody_else() {
    use crate::access::may;
    let world = World::staffed();
    let at = world.pages().await;
    let mut people = Vec::new();
    for name in ["admin", "coord-n", "inv-n", "pharm", "stat", "mon"] {
        people.push((
            world.sign_in(at, name).await,
            world.store.account(name).expect("read").expect("there").role,
        ));
    }
    for route in ROUTES {
        let path = route.path.replace("{id}", "n1").replace("{name}", "x.css");
        let nobody = match route.method {
            Method::GET => world.get(at, &path).await,
            _ => {
                let json = [("content-type", "application/json")];
                world.send(at, route.method.clone(), &path, &json, Some("{}")).await
            }
        };
        match route.need {
            Need::Nothing => assert_ne!(nobody.header("location"), "/login", "{path}"),
            _ if path.starts_with("/api/") => assert_eq!(nobody.status, 401, "{path}"),
            _ => assert_eq!((nobody.status, nobody.header("location")), (303, "/login"), "{path}"),
        }
        let Need::May(permission) = route.need else { continue };
        for (person, role) in &people {
            let permitted = may(*role, permission, &world.state.desk.masking);
            let denied = world.audited("access.denied").len();
            let answer = match route.method {
                Method::GET => world.see(at, person, &path).await,
                _ => world.post(at, Some(person), &path, &json!({})).await,
            };
            let code = answer.header("content-type").contains("json").then(|| answer.json()["code"].clone());
            let code = code.and_then(|c| c.as_str().map(str::to_owned)).unwrap_or_default();
            if permitted {
                assert!(!["role", "not-found"].contains(&code.as_str()), "{role} {path}: {}", answer.text);
            } else {
                let sees = may(*role, crate::access::Permission::ViewSubjects, &world.state.desk.masking);
                let expected = if route.changes && sees { 403 } else { 404 };
                assert_eq!(answer.status, expected, "{role} {} {path}: {}", route.method, answer.text);
                assert_eq!(world.audited("access.denied").len(), denied + 1, "{role} {path}");
            }
        }
    }
}

#[tokio::test]
async fn people_sign_in_on_a_page_without_a_script() {
    let world = World::staffed();
    let at = world.pages().await;
    let door = world.get(at, "/").await;
    assert_eq!((door.status, door.header("location")), (303, "/login"));
    let form = world.get(at, "/login").await;
    assert_eq!(form.status, 200);
    assert!(form.header("content-security-policy").contains("form-action 'self'"));
    assert!(form.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(!form.text.contains("<script"));
    let mark = form.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let token = mark.split_once('=').expect("a value").1.to_owned();
    assert!(form.text.contains(&format!("value=\"{token}\"")));
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let filled = |token: &str, password: &str| {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("token", token), ("name", "inv-n"), ("password", password)])
            .finish()
    };
    for (cookie, body, status) in [
        ("x=y", filled(&token, PASSWORD), 403),
        (mark.as_str(), filled("0", PASSWORD), 403),
        (mark.as_str(), filled(&token, "wrong wrong wrong"), 401),
        (mark.as_str(), "token=a&token=b&name=c&password=d".to_owned(), 400),
    ] {
        let answer = world.send(at, Method::POST, "/login", &[kind, ("cookie", cookie)], Some(&body)).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.words());
        assert!(!answer.header("set-cookie").starts_with("trialbridge="), "nobody is signed in");
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let entered = world
        .send(at, Method::POST, "/login", &[kind, ("cookie", &mark)], Some(&filled(&token, PASSWORD)))
        .await;
    assert_eq!((entered.status, entered.header("location")), (303, "/"), "{}", entered.words());
    let cookie = entered.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let who = Person { cookie, csrf: String::new() };
    let page = world.see(at, &who, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.words().contains("Dr inv-n · investigator 研究者"), "{}", page.words());
    assert!(page.text.contains("action=\"/logout\""));
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    assert_eq!(world.see(at, &who, "/login").await.header("location"), "/");
}

#[tokio::test]
async fn pages_by_role() {
    let world = World::staffed();
    let at = world.pages().await;
    let admin = world.sign_in(at, "admin").await;
    let page = world.see(at, &admin, "/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("Patient/"), "{}", page.words());
    assert_eq!(world.see(at, &admin, "/subjects/n1").await.status, 404);
    let pharmacist = world.sign_in(at, "pharm").await;
    assert_eq!(world.see(at, &pharmacist, "/").await.header("location"), "/allocations");
    assert_eq!(world.see(at, &pharmacist, "/allocations").await.status, 200);
    let log = world.see(at, &admin, "/api/v1/audit").await;
    assert_eq!(log.status, 200);
    assert!(
        !log.text.contains("Patient/"),
        "whom an entry is about is not for the administrator: {}",
        log.text
    );
}

#[tokio::test]
async fn without_accounts_nothing_can_be_changed_and_the_pages_are_as_they_were() {
    let world = World::cohort();
    let at = world.pages().await;
    for route in ROUTES {
        let path = route.path.replace("{id}", ELIGIBLE[1].trim_start_matches("Patient/"));
        let answer = match route.method {
            Method::GET => world.get(at, &path).await,
            _ => {
                let json = [("content-type", "application/json")];
                world.send(at, route.method.clone(), &path, &json, Some("{}")).await
            }
        };
        let open = ["/", "/subjects/{id}", "/api/v1/subjects", "/api/v1/subjects/{id}/explain"];
        match (open.contains(&route.path), route.path) {
            (true, _) => assert_eq!(answer.status, 200, "{path}"),
            (_, "/assets/{name}") => assert_eq!(answer.status, 404),
            _ => {
                assert_eq!(answer.status, 403, "{} {path}", route.method);
                let text = answer.text.replace("&#39;", "'");
                assert!(text.contains("trialbridge user add"), "{path} names the remedy: {text}");
            }
        }
    }
}
