//! Accounts, throttling, sessions and signatures over a real store. The hashes are weak here, and nowhere
//! else: what is tested is who is let in, not how long it takes.

use super::password::{Broken, Strength};
use super::*;
use crate::access::Permission;
use crate::store::suite::PlainChain;
use crate::store::{SignatureMethod, SqliteStore};
use chrono::TimeZone;
use serde_json::json;
use std::sync::Arc;

pub(super) const GOOD: &str = "seven green herons wade";
pub(super) const OTHER: &str = "copper kettle on a hill";

/// A store in a folder of its own, its settings, and the day.
pub(super) struct World {
    pub store: SqliteStore,
    pub settings: Settings,
    _dir: tempfile::TempDir,
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// So many seconds into the day.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 8, 0, 0).single().expect("a time") + TimeDelta::seconds(seconds)
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path(), "test", "2026-11-23T08:00:00Z", Arc::new(PlainChain));
        let minutes = TimeDelta::minutes;
        World {
            store: store.expect("a store"),
            settings: Settings {
                strength: Strength { memory_kib: 64, passes: 1 },
                limits: SessionLimits { idle: minutes(15), absolute: minutes(720) },
                sites: Sites::default(),
            },
            _dir: dir,
        }
    }

    /// With an administrator `root-1`, whose password is [`GOOD`].
    pub fn staffed() -> World {
        let world = World::new();
        let person = NewPerson { password: Some(&secret(OTHER)), ..person("root-1", Role::Administrator) };
        world.accounts().add(&person, None, at(0)).expect("the first");
        world.accounts().change_password("root-1", &secret(OTHER), &secret(GOOD), at(0)).expect("changed");
        world
    }

    pub fn accounts(&self) -> Accounts<'_> {
        Accounts::new(&self.store, &self.settings)
    }

    /// An account that is ready to work.
    pub fn with(&self, name: &str, role: Role) -> &World {
        let initial = secret("an initial walk in snow");
        let person = NewPerson { password: Some(&initial), ..person(name, role) };
        let good = secret(GOOD);
        self.accounts().add(&person, Some(root(&good)), at(0)).expect("added");
        self.accounts().change_password(name, &initial, &good, at(0)).expect("changed");
        self
    }

    fn sign(&self, name: &str, password: &str, permission: Permission) -> Result<(), Denied> {
        let record = json!({"subject": "Patient/p1", "verdict": "yes"});
        let intent = Intent { permission, meaning: "attest", subject: None, record: &record, shown: None };
        let secret = secret(password);
        self.accounts().sign(name, Credential::Password(&secret), &intent, at(0)).map(drop)
    }

    /// Action and reason of the audit entries from one on.
    fn audited(&self, from: usize) -> Vec<String> {
        let all = self.store.audit_entries(0, 10_000).expect("the audit");
        let line = |e: &crate::store::AuditEntry| {
            let detail: serde_json::Value = serde_json::from_str(&e.entry.detail).expect("JSON");
            let reason = detail["reason"].as_str().unwrap_or_default();
            format!("{} {} {reason}", e.entry.actor, e.entry.action).trim_end().to_owned()
        };
        all.iter().skip(from).map(line).collect()
    }

    fn audit_length(&self) -> usize {
        self.store.audit_entries(0, 10_000).expect("the audit").len()
    }
}

pub(super) fn person(name: &str, role: Role) -> NewPerson<'_> {
    NewPerson { name, printed_name: "Printed Name", role, site: None, password: None }
}

pub(super) fn root(password: &Secret) -> By<'_> {
    By { name: "root-1", credential: Credential::Password(password) }
}

#[test]
fn the_first_account_is_an_administrator_and_the_next_is_made_by_one() {
    let world = World::new();
    let accounts = world.accounts();
    assert!(!accounts.exist().expect("a store"));
    let code = |error: Denied| match error {
        Denied::Store(error) => error.code(),
        other => panic!("{other:?}"),
    };
    let coordinator = accounts.add(&person("nurse-1", Role::Coordinator), None, at(0));
    assert_eq!(code(coordinator.expect_err("no administrator")), "first-account");
    let made = accounts.add(&person("root-1", Role::Administrator), None, at(0)).expect("made");
    let made = made.expect("a password was made up");
    assert!(accounts.exist().expect("a store"));
    let second = accounts.add(&person("root-2", Role::Administrator), None, at(1));
    assert_eq!(code(second.expect_err("there is one")), "first-account");

    // What was made up opens nothing but its own change.
    assert_eq!(accounts.log_in("root-1", &made, None, at(2)).expect_err("initial"), Denied::MustChange);
    let by = By { name: "root-1", credential: Credential::Password(&made) };
    let refused = accounts.add(&person("nurse-1", Role::Coordinator), Some(by), at(2));
    assert_eq!(refused.expect_err("initial"), Denied::MustChange);
    let same = accounts.change_password("root-1", &made, &made, at(3));
    assert_eq!(same.expect_err("the same"), Denied::Password(Broken::Same));
    accounts.change_password("root-1", &made, &secret(GOOD), at(3)).expect("changed");
    accounts.log_in("root-1", &secret(GOOD), None, at(4)).expect("signed in");

    let good = secret(GOOD);
    accounts.add(&person("nurse-1", Role::Coordinator), Some(root(&good)), at(5)).expect("made");
    let twice = accounts.add(&person("nurse-1", Role::Monitor), Some(root(&good)), at(6));
    assert_eq!(code(twice.expect_err("taken")), "account-exists");
    assert_eq!(
        world.audited(0),
        ["root-1 account.add", "root-1 account.password", "root-1 account.sign-in", "root-1 account.add"]
    );
    let signed = world.store.signatures(None).expect("signatures");
    assert_eq!(signed.len(), 1, "the refused one left none");
    assert_eq!(
        (signed[0].signed.meaning.as_str(), signed[0].signed.method),
        ("account.add", SignatureMethod::Password)
    );
    let entries = world.store.audit_entries(0, 100).expect("the audit");
    let detail: serde_json::Value = serde_json::from_str(&entries[3].entry.detail).expect("JSON");
    assert_eq!(detail["record"].as_str(), Some(signed[0].record_sha256.as_str()));
    assert_eq!(
        (detail["account"].as_str(), detail["before"].as_str(), detail["after"].as_str()),
        (Some("nurse-1"), Some("null"), Some(r#"{"role":"coordinator","site":null,"disabled":false}"#))
    );
}

#[test]
fn names_are_pseudonyms_on_one_line() {
    let world = World::staffed();
    let good = secret(GOOD);
    let add = |name: &str, printed_name: &str| {
        let person = NewPerson { name, printed_name, ..person("x", Role::Monitor) };
        world.accounts().add(&person, Some(root(&good)), at(1)).is_ok()
    };
    let long = "x".repeat(101);
    for (name, printed, taken) in [
        ("dr-li", "Dr Li Na 李娜", true),
        ("m2", "M", true),
        ("Dr-Li", "Li", false),
        ("dr li", "Li", false),
        ("2m", "Li", false),
        ("m", "Li", false),
        ("", "Li", false),
        ("oidc:7", "Li", false),
        ("operator", "Li", false),
        ("system", "Li", false),
        ("a-name-of-more-than-32-characters-x", "Li", false),
        ("monitor-3", " ", false),
        ("monitor-4", "a\nb", false),
        ("monitor-5", long.as_str(), false),
    ] {
        assert_eq!(add(name, printed), taken, "{name:?} {printed:?}");
    }
}

#[test]
fn a_password_is_long_and_not_what_everybody_tries() {
    use Broken::*;
    let long = "ä".repeat(513);
    for (text, expected) in [
        (GOOD, Ok(())),
        ("correct horse battery staple", Ok(())),
        ("全新的临床试验数据适配器很好", Ok(())),
        ("Zk3!vv9#Qp2x", Ok(())),
        ("lowercaseonlyisfine", Ok(())),
        ("short", Err(Short)),
        ("elevenchars", Err(Short)),
        (long.as_str(), Err(Long)),
        ("with a\ttab in it", Err(Control)),
        ("password1234", Err(Common)),
        ("Password2026!", Err(Common)),
        ("P@ssw0rdP@ssw0rd", Err(Common)),
        ("passwordpassword", Err(Common)),
        ("qwertyuiop12345", Err(Common)),
        ("1q2w3e4r5t6y", Err(Common)),
        ("123456789012", Err(Common)),
        ("aaaaaaaaaaaaaaaa", Err(Common)),
        ("abababababababab", Err(Common)),
        ("abcdefghijklmnop", Err(Common)),
        ("zyxwvutsrqponmlkj", Err(Common)),
        ("acegikmoqsuwy{}", Err(Common)),
        ("trialbridge-2026", Err(Common)),
        ("dr-li-dr-li-dr-li", Err(Common)),
        ("drli12345678", Err(Common)),
        ("DR-LI-2026-x", Err(Common)),
        ("investigator123", Err(Common)),
    ] {
        assert_eq!(password::check(&secret(text), "dr-li"), expected, "{text}");
    }
    for _ in 0..50 {
        let made = password::generate().expect("random bytes");
        assert_eq!(password::check(&made, "dr-li"), Ok(()), "what is made up can be taken");
        assert_eq!(made.expose().len(), 23);
    }
}

#[test]
fn a_password_is_kept_as_its_hash_and_grows_stronger_with_the_configuration() {
    let mut world = World::staffed();
    let stored = |world: &World| world.store.password("root-1").expect("a store").expect("a hash");
    let weak = stored(&world);
    assert!(weak.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{weak}");
    assert!(!weak.contains("heron"));
    world.settings.strength = Strength { memory_kib: 128, passes: 2 };
    world.accounts().log_in("root-1", &secret(GOOD), None, at(1)).expect("signed in");
    let strong = stored(&world);
    assert!(strong.starts_with("$argon2id$v=19$m=128,t=2,p=1$"), "{strong}");
    // Never weaker again.
    world.settings.strength = Strength { memory_kib: 64, passes: 1 };
    world.accounts().log_in("root-1", &secret(GOOD), None, at(2)).expect("signed in");
    assert_eq!(stored(&world), strong);
    // Two accounts with one password have two hashes.
    world.with("nurse-1", Role::Coordinator).with("nurse-2", Role::Coordinator);
    let hash = |name: &str| world.store.password(name).expect("a store");
    assert_ne!(hash("nurse-1"), hash("nurse-2"));
}

/// Every role tries every permission with the right password.
#[test]
fn the_whole_table_by_signature() {
    let world = World::staffed();
    for (i, role) in Role::ASSIGNABLE.into_iter().enumerate() {
        let name = format!("person-{i}");
        world.with(&name, role);
        for permission in Permission::ALL {
            let may = crate::access::may(role, permission, &crate::access::Masking::strictest());
            let expected = if may { Ok(()) } else { Err(Denied::Refused) };
            assert_eq!(world.sign(&name, GOOD, permission), expected, "{role} {permission:?}");
        }
        let refused = world.sign(&name, OTHER, Permission::Attest);
        assert_eq!(refused, Err(Denied::Refused), "{role}: a wrong password sounds like a wrong role");
    }
}

#[test]
fn five_failures_bar_a_name_whether_anybody_has_it_or_not() {
    let world = World::staffed();
    world.with("dr-li", Role::Investigator);
    let accounts = world.accounts();
    let from = world.audit_length();
    for (name, base) in [("dr-li", 0i64), ("nobody-here", 1000)] {
        let attempt =
            |password: &str, when| accounts.log_in(name, &secret(password), None, at(base + when)).map(drop);
        let wait = |seconds| Err(Denied::Wait { seconds: Some(seconds) });
        for second in 0..5 {
            assert_eq!(attempt("a wrong one altogether", second), Err(Denied::Refused), "{name} {second}");
        }
        // Thirty seconds after the fifth, then sixty, then twice as long each time.
        assert_eq!(attempt(GOOD, 5), wait(30), "{name}");
        assert_eq!(attempt(GOOD, 33), wait(2), "{name}");
        assert_eq!(attempt("a wrong one altogether", 34), Err(Denied::Refused), "{name}");
        assert_eq!(attempt("a wrong one altogether", 35), wait(60), "{name}");
        assert_eq!(attempt("a wrong one altogether", 94), Err(Denied::Refused), "{name}");
        assert_eq!(attempt("a wrong one altogether", 200), wait(15), "{name}");
    }
    let audited = world.audited(from);
    assert_eq!(audited.iter().filter(|l| *l == "dr-li account.refused password").count(), 7, "{audited:?}");
    let strangers: Vec<_> = audited.iter().filter(|l| l.ends_with("account.refused unknown")).collect();
    assert_eq!(strangers.len(), 7);
    assert!(strangers.iter().all(|l| l.starts_with("unknown:") && **l == *strangers[0]), "{strangers:?}");
    assert!(!format!("{audited:?}").contains("nobody-here"), "a name that nobody has is not repeated");

    // In time the right password is taken, and forgets the failures.
    let attempt =
        |password: &str, when| accounts.log_in("dr-li", &secret(password), None, at(when)).map(drop);
    assert_eq!(attempt(GOOD, 2300), Ok(()));
    assert_eq!(attempt("a wrong one altogether", 2301), Err(Denied::Refused));
    assert_eq!(attempt(GOOD, 2302), Ok(()));
}

#[test]
fn a_bar_survives_a_restart_and_a_hundred_failures_end_it_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let open = || {
        SqliteStore::open(dir.path(), "test", "2026-11-23T08:00:00Z", Arc::new(PlainChain)).expect("a store")
    };
    let settings = World::new().settings;
    let good = secret(GOOD);
    {
        let store = open();
        let accounts = Accounts::new(&store, &settings);
        for name in ["root-1", "root-2"] {
            let person = NewPerson { password: Some(&good), ..person(name, Role::Administrator) };
            let (old, new) = (secret(GOOD), secret(OTHER));
            let other = secret(OTHER);
            let by =
                (name == "root-2").then_some(By { name: "root-1", credential: Credential::Password(&other) });
            accounts.add(&person, by, at(0)).expect("made");
            accounts.change_password(name, &old, &new, at(0)).expect("changed");
        }
        for second in 0..5 {
            assert!(accounts.log_in("root-1", &good, None, at(second)).is_err());
        }
    }
    let store = open();
    let accounts = Accounts::new(&store, &settings);
    let barred = accounts.log_in("root-1", &secret(OTHER), None, at(10)).expect_err("barred");
    assert_eq!(barred, Denied::Wait { seconds: Some(25) });
    // Guessing on, as soon as it is allowed each time.
    let mut now = 10;
    let mut failures = 5;
    while failures < 100 {
        match accounts.log_in("root-1", &good, None, at(now)).map(drop) {
            Err(Denied::Wait { seconds: Some(seconds) }) => now += seconds,
            Err(Denied::Refused) => failures += 1,
            other => panic!("{other:?} after {failures}"),
        }
    }
    let for_ever = Denied::Wait { seconds: None };
    assert_eq!(accounts.log_in("root-1", &secret(OTHER), None, at(now + 1_000_000)).map(drop), Err(for_ever));
    assert!(now > 88 * 3600, "a hundred guesses took {now} s");
    let other = secret(OTHER);
    let by = By { name: "root-2", credential: Credential::Password(&other) };
    let fresh = accounts.reset("root-1", None, by, at(now + 1_000_001)).expect("reset").expect("made up");
    let initial = accounts.log_in("root-1", &fresh, None, at(now + 1_000_002)).map(drop);
    assert_eq!(initial, Err(Denied::MustChange));
}

#[test]
fn guesses_at_the_same_time_are_counted_one_by_one() {
    let world = World::staffed();
    world.with("dr-li", Role::Investigator);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let guess =
            || world.accounts().log_in("dr-li", &secret("a wrong one altogether"), None, at(100)).map(drop);
        let all: Vec<_> = (0..12).map(|_| scope.spawn(guess)).collect();
        all.into_iter().map(|t| t.join().expect("a guess")).collect()
    });
    assert_eq!(outcomes.iter().filter(|o| **o == Err(Denied::Refused)).count(), 5);
    let barred = |o: &&Result<(), Denied>| matches!(o, Err(Denied::Wait { .. }));
    assert_eq!(outcomes.iter().filter(barred).count(), 7);
}

#[test]
fn whoever_is_refused_has_cost_the_same_work() {
    // The work is the hash: an unknown name, a disabled account and a wrong password each cost one.
    let strength = Strength { memory_kib: 64, passes: 1 };
    assert!(!strength.verify(&secret(GOOD), None));
    let phc = strength.hash(&secret(GOOD)).expect("a hash");
    assert!(strength.verify(&secret(GOOD), Some(&phc)));
    assert!(!strength.verify(&secret(OTHER), Some(&phc)));
    assert!(!strength.verify(&secret(GOOD), Some("not a hash")));
    // All of them are counted and audited alike.
    let world = World::staffed();
    world.with("dr-li", Role::Investigator).with("dr-wu", Role::Investigator);
    let good = secret(GOOD);
    world.accounts().set_disabled("dr-wu", true, root(&good), at(1)).expect("disabled");
    let from = world.audit_length();
    for (name, password) in [("dr-li", OTHER), ("dr-wu", GOOD), ("dr-xu", GOOD)] {
        let refused = world.accounts().log_in(name, &secret(password), None, at(2)).map(drop);
        assert_eq!(refused, Err(Denied::Refused), "{name}");
    }
    let reasons: Vec<String> =
        world.audited(from).iter().map(|l| l.rsplit(' ').next().unwrap_or("").into()).collect();
    assert_eq!(reasons, ["password", "disabled", "unknown"]);
}

#[test]
fn the_last_local_administrator_stays() {
    let world = World::staffed();
    world.with("dr-li", Role::Investigator);
    let accounts = world.accounts();
    let good = secret(GOOD);
    let last = |outcome: Result<(), Denied>| {
        matches!(outcome, Err(Denied::Store(StoreError::Conflict { code: "last-administrator", .. })))
    };
    assert!(last(accounts.set_disabled("root-1", true, root(&good), at(1))));
    assert!(last(accounts.set_role("root-1", Role::Monitor, None, root(&good), at(1))));
    accounts.log_in("root-1", &good, None, at(2)).expect("nothing was changed");
    world.with("root-2", Role::Administrator);
    accounts.set_disabled("root-1", true, root(&good), at(3)).expect("there is another");
    assert_eq!(accounts.log_in("root-1", &good, None, at(4)).map(drop), Err(Denied::Refused));
    // Nobody else changes accounts, and nobody changes one that is not there.
    let by = |name| By { name, credential: Credential::Password(&good) };
    assert_eq!(accounts.set_disabled("root-1", false, by("dr-li"), at(5)), Err(Denied::Refused));
    let missing = accounts.set_disabled("dr-xu", true, by("root-2"), at(5));
    assert!(matches!(missing, Err(Denied::Store(StoreError::NotFound { .. }))), "{missing:?}");
}

#[test]
fn the_life_of_a_session() {
    let minute = 60;
    // What happens after a sign-in at 0, when it is looked at, and whether it lives.
    type Step = fn(&World, &str);
    let nothing: Step = |_, _| {};
    let seen: Step = |world, token| {
        for second in (600..=43_000).step_by(600) {
            assert!(world.accounts().viewer(token, at(second)).expect("a store").is_some(), "{second}");
        }
    };
    let out: Step = |world, token| {
        let viewer = world.accounts().viewer(token, at(60)).expect("a store").expect("signed in");
        world.accounts().log_out(token, &viewer, at(60)).expect("out");
    };
    let disabled: Step = |world, _| {
        world.accounts().set_disabled("dr-li", true, root(&secret(GOOD)), at(60)).expect("disabled");
    };
    let enabled_again: Step = |world, _| {
        world.accounts().set_disabled("dr-li", true, root(&secret(GOOD)), at(60)).expect("disabled");
        world.accounts().set_disabled("dr-li", false, root(&secret(GOOD)), at(61)).expect("enabled");
    };
    let other_role: Step = |world, _| {
        world.accounts().set_role("dr-li", Role::Monitor, None, root(&secret(GOOD)), at(60)).expect("set");
    };
    let password: Step = |world, _| {
        world.accounts().change_password("dr-li", &secret(GOOD), &secret(OTHER), at(60)).expect("changed");
    };
    let reset: Step = |world, _| {
        world.accounts().reset("dr-li", None, root(&secret(GOOD)), at(60)).expect("reset");
    };
    let rotated: Step = |world, token| {
        world.accounts().log_in("dr-li", &secret(GOOD), Some(token), at(60)).expect("again");
    };
    let elsewhere: Step = |world, _| {
        world.accounts().log_in("dr-li", &secret(GOOD), None, at(60)).expect("another browser");
    };
    let back: Step = |world, _| {
        world.accounts().log_in("root-1", &secret(GOOD), None, at(3000)).expect("a later moment");
    };
    #[rustfmt::skip]
    let table: &[(&str, Step, i64, bool)] = &[
        ("at once",                        nothing,       0,                   true),
        ("just before it is idle",         nothing,       15 * minute - 1,     true),
        ("idle",                           nothing,       15 * minute,         false),
        ("in use until its end",           seen,          12 * 60 * minute - 1, true),
        ("in use, after its end",          seen,          12 * 60 * minute,    false),
        ("signed out",                     out,           61,                  false),
        ("disabled",                       disabled,      61,                  false),
        ("disabled and enabled again",     enabled_again, 62,                  false),
        ("another role",                   other_role,    61,                  false),
        ("another password",               password,      61,                  false),
        ("reset",                          reset,         61,                  false),
        ("signed in again in its place",   rotated,       61,                  false),
        ("signed in elsewhere too",        elsewhere,     61,                  true),
        ("the clock went back an hour",    nothing,       -3600,               false),
        ("the clock went back a second",   nothing,       -1,                  true),
        ("back, but others saw it later",  back,          600,                 false),
    ];
    for (what, step, when, lives) in table {
        let world = World::staffed();
        world.with("dr-li", Role::Investigator);
        let token = world.accounts().log_in("dr-li", &secret(GOOD), None, at(0)).expect("in").token;
        step(&world, token.expose());
        let viewer = world.accounts().viewer(token.expose(), at(*when)).expect("a store");
        assert_eq!(viewer.is_some(), *lives, "{what}");
        if !lives {
            let later = world.accounts().viewer(token.expose(), at(when + 1)).expect("a store");
            assert!(later.is_none(), "{what}: dead for ever");
        }
    }
}

#[test]
fn a_clock_that_went_back_ends_sessions_and_prolongs_no_bar() {
    let world = World::staffed();
    world.with("dr-li", Role::Investigator);
    let accounts = world.accounts();
    for second in 0..5 {
        let wrong = accounts.log_in("dr-li", &secret(OTHER), None, at(1_000_000 + second));
        assert_eq!(wrong.map(drop), Err(Denied::Refused));
    }
    let from = world.audit_length();
    // Eleven days too early: the wait begins anew, and is not eleven days long.
    let barred = accounts.log_in("dr-li", &secret(GOOD), None, at(0)).map(drop);
    assert_eq!(barred, Err(Denied::Wait { seconds: Some(31) }));
    accounts.log_in("dr-li", &secret(GOOD), None, at(31)).expect("in");
    assert_eq!(
        world.audited(from),
        ["trialbridge account.all-signed-out clock", "trialbridge clock-anomaly", "dr-li account.sign-in"]
    );
}

#[test]
fn a_form_belongs_to_its_session() {
    let world = World::staffed();
    let log_in = || world.accounts().log_in("root-1", &secret(GOOD), None, at(0)).expect("in").token;
    let (one, two) = (log_in(), log_in());
    assert_ne!(one.expose(), two.expose());
    assert_eq!(one.expose().len(), 64);
    let form = csrf(one.expose());
    assert!(csrf_holds(one.expose(), &form));
    for wrong in ["", &csrf(two.expose()), &form[..63], &format!("{form}0"), one.expose()] {
        assert!(!csrf_holds(one.expose(), wrong), "{wrong}");
    }
    // The database holds neither the token nor what a form carries.
    let token_hash = sha256(&["trialbridge session", one.expose()]);
    assert_ne!(token_hash, form);
    assert!(world.accounts().viewer(&token_hash, at(1)).expect("a store").is_none(), "a hash opens nothing");
    assert!(world.accounts().viewer("", at(1)).expect("a store").is_none());
}

#[test]
fn a_signature_is_bound_to_what_was_shown() {
    let world = World::staffed();
    world.with("dr-li", Role::Investigator);
    let accounts = world.accounts();
    let shown = json!({"subject": "Patient/p1", "criterion": "E4", "verdict": "no"});
    let intent = |record| Intent {
        permission: Permission::Attest,
        meaning: "attest",
        subject: Some("Patient/p1"),
        record,
        shown: None,
    };
    let hash = intent(&shown).hash();
    let good = secret(GOOD);
    let sign = |record, shown: Option<&str>| {
        let intent = Intent { shown, ..intent(record) };
        accounts.sign("dr-li", Credential::Password(&good), &intent, at(90))
    };
    let signature = sign(&shown, Some(&hash)).expect("signed");
    assert_eq!(signature.record, shown.to_string());
    assert_eq!(
        (signature.actor.as_str(), signature.printed_name.as_str(), signature.role.as_str()),
        ("dr-li", "Printed Name", "investigator")
    );
    assert_eq!(
        (signature.at.as_str(), signature.method),
        ("2026-11-23T08:01:30.000Z", SignatureMethod::Password)
    );
    let changed = json!({"subject": "Patient/p1", "criterion": "E4", "verdict": "yes"});
    assert_eq!(sign(&changed, Some(&hash)), Err(Denied::Changed));

    // Stored, its hash is the record's, and no other record has it.
    let stored = world.store.sign(signature, vec![]).expect("stored");
    assert_eq!(stored.record_sha256, hash);
    assert_ne!(intent(&changed).hash(), stored.record_sha256);
}

#[test]
fn a_subject_of_another_site_is_not_there() {
    let mut world = World::staffed();
    world.settings.sites =
        Sites::new([("north", &["fhir:n".to_owned()][..]), ("south", &["fhir:s".to_owned()][..])]);
    for (id, source) in [("p1", "fhir:n"), ("p2", "fhir:s")] {
        let receipt = world.store.accept(crate::store::suite::incoming(id)).expect("accepted");
        let record = crate::store::NewRecord {
            identity: Default::default(),
            key: crate::store::RecordKey {
                source: source.into(),
                resource_type: "Observation".into(),
                id: id.into(),
            },
            version_id: None,
            last_updated: None,
            subject: Some(format!("Patient/{id}")),
            deleted: false,
            inbox_seq: receipt.seq,
            path: String::new(),
            body: b"{}".to_vec(),
        };
        world.store.put_records(vec![record], crate::store::suite::NOW).expect("stored");
    }
    let good = secret(GOOD);
    let add = |site| {
        let initial = secret(OTHER);
        let person = NewPerson { site, password: Some(&initial), ..person("dr-li", Role::Investigator) };
        world.accounts().add(&person, Some(root(&good)), at(1)).map(drop)
    };
    assert!(matches!(add(None), Err(Denied::Request(text)) if text.contains("--site-id north|south")));
    assert!(matches!(add(Some("west")), Err(Denied::Request(_))));
    add(Some("north")).expect("added");
    world.accounts().change_password("dr-li", &secret(OTHER), &good, at(2)).expect("changed");
    let record = json!({});
    let sign = |subject| {
        let intent = Intent {
            permission: Permission::Attest,
            meaning: "attest",
            subject: Some(subject),
            record: &record,
            shown: None,
        };
        world.accounts().sign("dr-li", Credential::Password(&good), &intent, at(3)).map(drop)
    };
    assert_eq!(sign("Patient/p1"), Ok(()));
    let (elsewhere, nowhere) = (sign("Patient/p2"), sign("Patient/p9"));
    assert_eq!((&elsewhere, &nowhere), (&Err(Denied::NotFound), &Err(Denied::NotFound)));
    let viewer = world.accounts().log_in("dr-li", &good, None, at(4)).expect("in").viewer;
    let all = vec!["Patient/p2".to_owned(), "Patient/p1".to_owned(), "Patient/p9".to_owned()];
    assert_eq!(world.accounts().seen_by(&viewer, all.clone()).expect("a store"), ["Patient/p1"]);
    let monitor = Viewer { role: Role::Monitor, ..viewer };
    assert_eq!(world.accounts().seen_by(&monitor, all.clone()).expect("a store"), all);
}
