//! Accounts through the program itself: who may do what, what is asked of a password, and what the database
//! and the logs hold of it.

use super::support::*;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const GOOD: &str = "seven green herons wade";
const INITIAL: &str = "an initial walk in snow";
const WRONG: &str = "copper kettle on a hill";

fn file(bench: &Bench, name: &str, text: &str, mode: u32) -> String {
    let path = bench.path(name);
    fs::write(&path, format!("{text}\n")).expect("written");
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
    path.display().to_string()
}

/// A run that a password in the environment signs.
fn as_with(bench: &Bench, password: &str, args: &[&str]) -> Ran {
    let output = bench.command(args).env("TRIALBRIDGE_PASSWORD", password).output().expect("it runs");
    let ran = finished(args, output);
    ran.keeps_secrets([GOOD, INITIAL, WRONG].into_iter());
    ran
}

fn own_password(bench: &Bench, name: &str) {
    let (old, new) = (file(bench, "old", INITIAL, 0o600), file(bench, "new", GOOD, 0o600));
    bench.ok(&["user", "password", name, "--password-file", &old, "--new-password-file", &new]);
}

/// The first account, an administrator with [`GOOD`].
fn administrator(bench: &Bench) {
    let initial = file(bench, "initial", INITIAL, 0o600);
    let add = ["user", "add", "root-1", "--role", "administrator", "--printed-name", "Zhang Wei"];
    bench.ok(&[&add[..], &["--password-file", &initial]].concat());
    own_password(bench, "root-1");
}

fn account(bench: &Bench, name: &str, role: &str) {
    let initial = file(bench, "initial", INITIAL, 0o600);
    let add = ["user", "add", name, "--role", role, "--printed-name", "Printed Name", "--by", "root-1"];
    as_with(bench, GOOD, &[&add[..], &["--password-file", &initial]].concat()).code(0);
    own_password(bench, name);
}

fn with_accounts(hospital: &Hospital) -> Bench {
    let bench = Bench::ready(hospital, "");
    administrator(&bench);
    bench
}

#[test]
fn without_accounts_a_name_is_taken_as_said_and_check_warns() {
    let hospital = Hospital::of(&["p-020"]);
    let bench = Bench::with(&hospital.url, "");
    bench.ok(&["pull"]);
    bench.ok(&["attest", "p-020", "E8", "--verdict", "no", "--by", "Dr A", "--reason", "seen"]);
    let ran = bench.run(&["check", "--no-network", "-o", "ndjson"]);
    assert!(ran.out.contains("TB-A001"), "{}", ran.out);
    assert_eq!(bench.count("SELECT count(*) FROM signature WHERE method = 'unauthenticated'"), 1);
    administrator(&bench);
    let ran = bench.run(&["check", "--no-network", "-o", "ndjson"]);
    assert!(!ran.out.contains("TB-A001") && ran.out.contains("TB-A003"), "{}", ran.out);
    // From now on nobody is taken at their word.
    let attest = ["attest", "p-020", "E8", "--verdict", "no", "--by", "Dr A", "--reason", "seen"];
    bench.run(&attest).code(17).says("no password was given");
    as_with(&bench, GOOD, &attest).code(17).says("it takes the role investigator");
    as_with(&bench, GOOD, &["replay"]).code(17).says("nobody signs for it");
}

/// Which role may run which command: the role is asked before anything else is looked at.
#[test]
fn every_role_tries_every_signed_command() {
    let hospital = Hospital::of(&["p-020"]);
    let bench = with_accounts(&hospital);
    let roles = ["coordinator", "investigator", "pharmacist", "statistician", "monitor", "administrator"];
    for role in roles {
        account(&bench, &format!("a-{role}"), role);
    }
    let copy = bench.path("copy.db").display().to_string();
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&["consent", "record", "p-020"],                                               "yy...."),
        (&["attest", "p-020", "E8", "--verdict", "no", "--reason", "seen"],             ".y...."),
        (&["identity", "resolve", "p-020", "p-021", "--different", "--reason", "seen"], "yy...."),
        (&["allocation", "close", "--reason", "pause"],                                 "...y.."),
        (&["replay"],                                                                   ".....y"),
        (&["backup", &copy],                                                            ".....y"),
        (&["user", "disable", "a-monitor"],                                             ".....y"),
    ];
    for (args, row) in table {
        for (role, may) in roles.iter().zip(row.chars()) {
            let name = format!("a-{role}");
            let with = |password| as_with(&bench, password, &[args, &["--by", name.as_str()][..]].concat());
            let ran = with(GOOD);
            assert_eq!(ran.code != 17, may == 'y', "{role}: {}: {} {}", ran.what, ran.code, ran.err);
            if may == '.' && *role == "monitor" {
                // A wrong password is refused in the same words as a wrong role.
                assert_eq!((with(WRONG).code, with(WRONG).err), (17, ran.err), "{}", ran.what);
            }
        }
    }
    // What was done is signed by name, and no refusal left a signature.
    let signed = "SELECT count(*) FROM signature WHERE method <> 'password' AND actor LIKE 'a-%'";
    assert_eq!(bench.count(signed), 0);
    assert_eq!(bench.count("SELECT count(*) FROM signature WHERE actor = 'a-monitor'"), 0);
    assert_eq!(
        bench.count("SELECT count(*) FROM signature WHERE meaning = 'attest' AND role <> 'investigator'"),
        0
    );
    bench.ok(&["audit", "verify"]);
}

#[test]
fn a_signature_stands_under_its_record_and_nowhere_else() {
    let hospital = Hospital::of(&["p-020"]);
    let bench = with_accounts(&hospital);
    account(&bench, "dr-li", "investigator");
    let attest =
        ["attest", "p-020", "E8", "--verdict", "no", "--by", "dr-li", "--reason", "seen at the ward"];
    as_with(&bench, GOOD, &attest).code(0);
    let entries = bench.ok(&["audit", "show", "--subject", "p-020"]).lines();
    let entry = entries.iter().find(|e| e["action"] == "attest").expect("the entry");
    assert_eq!((&entry["actor"], &entry["role"]), (&"dr-li".into(), &"investigator".into()));
    let id = entry["detail"]["signature"].as_str().expect("a signature").to_owned();
    let (record, hash): (String, String) = bench
        .database()
        .query_row("SELECT record, record_sha256 FROM signature WHERE id = ?1", [&id], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .expect("the signature");
    assert_eq!(entry["detail"]["record"], hash);
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(
        (&record["subject"], &record["criterion"], &record["verdict"], &record["reason"]),
        (&"Patient/p-020".into(), &"E8".into(), &"no".into(), &"seen at the ward".into())
    );
    assert_eq!(record["document"], entry["detail"]["document"]);
    // The document is in the inbox under the hash that was signed.
    let document = record["document"].as_str().expect("a hash");
    let inbox = format!("SELECT count(*) FROM inbox WHERE sha256 = '{document}'");
    assert_eq!(bench.count(&inbox), 1);
    // It cannot be moved to another record, and not be taken away.
    for statement in [
        "UPDATE signature SET record = '{}'",
        "UPDATE signature SET subject = 'Patient/p1'",
        "DELETE FROM signature",
    ] {
        assert!(bench.database().execute(statement, []).is_err(), "{statement}");
    }
}

#[test]
fn passwords_come_from_private_files_and_are_nowhere() {
    let hospital = Hospital::of(&["p-020"]);
    let bench = Bench::with(&hospital.url, "");
    bench.ok(&["pull"]);
    let add = |more: &[&str]| {
        let add = ["user", "add", "root-1", "--role", "administrator", "--printed-name", "Zhang Wei"];
        bench.run(&[&add[..], more].concat())
    };
    for (mode, text, code, says) in [
        (0o644, INITIAL, 10, "can be read by others"),
        (0o600, "", 10, "it is empty"),
        (0o600, "too short", 2, "fewer than 12 characters"),
        (0o600, "password1234", 2, "little more than a common password"),
        (0o600, "root-1-root-1-root-1", 2, "little more than a common password"),
    ] {
        let path = file(&bench, "initial", text, mode);
        let ran = add(&["--password-file", &path]).code(code).says(says);
        assert!(text.is_empty() || !ran.err.contains(text), "{}", ran.err);
    }
    add(&["--site-id", "north"]).code(2).says("no sites are configured");
    let ran = add(&["-o", "json"]).code(0).json();
    let made = ran["initialPassword"].as_str().expect("shown once").to_owned();
    assert_eq!(made.len(), 23);
    assert!(!bench.ok(&["user", "list"]).out.contains(&made));
    // It opens nothing but its own change.
    let second =
        ["user", "add", "root-2", "--role", "administrator", "--printed-name", "B", "--by", "root-1"];
    as_with(&bench, &made, &second).code(17).says("has to be changed first");
    let new = file(&bench, "new", GOOD, 0o600);
    as_with(&bench, &made, &["user", "password", "root-1", "--new-password-file", &new]).code(0);
    as_with(&bench, GOOD, &second).code(0);
    as_with(&bench, GOOD, &["user", "disable", "root-2", "--by", "root-1"]).code(0);
    as_with(&bench, GOOD, &["user", "disable", "root-1", "--by", "root-1"])
        .code(17)
        .says("no local administrator would be left");
    // Neither the database nor its log holds one.
    for name in ["data/trialbridge.db", "data/trialbridge.db-wal"] {
        let bytes = fs::read(bench.path(name)).unwrap_or_default();
        for secret in [GOOD, &made] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{name} holds a password");
        }
    }
    bench.ok(&["audit", "verify"]);
}

#[test]
fn guessing_is_slowed_down_across_runs() {
    let hospital = Hospital::of(&["p-020"]);
    let bench = with_accounts(&hospital);
    account(&bench, "dr-li", "investigator");
    for name in ["dr-li", "dr-nobody"] {
        let attest = ["attest", "p-020", "E8", "--verdict", "no", "--by", name, "--reason", "seen"];
        for _ in 0..5 {
            as_with(&bench, WRONG, &attest).code(17).says("another password, or a role");
        }
        as_with(&bench, GOOD, &attest).code(17).says("too many failed attempts");
    }
    let refused = "SELECT count(*) FROM audit WHERE action = 'account.refused'";
    assert_eq!(bench.count(refused), 10);
    assert_eq!(
        bench.count("SELECT count(*) FROM audit WHERE detail LIKE '%nobody%' OR actor LIKE '%nobody%'"),
        0
    );
    let initial = file(&bench, "initial", INITIAL, 0o600);
    as_with(&bench, GOOD, &["user", "reset", "dr-li", "--by", "root-1", "--password-file", &initial]).code(0);
    own_password(&bench, "dr-li");
    let attest = ["attest", "p-020", "E8", "--verdict", "no", "--by", "dr-li", "--reason", "seen"];
    as_with(&bench, GOOD, &attest).code(0);
}

#[test]
fn a_subject_of_another_site_is_not_in_the_store() {
    let hospital = Hospital::of(&["p-020"]);
    let sites = format!(
        "[[access.site]]\nid = \"north\"\nsources = [\"{}\"]\n[[access.site]]\nid = \"south\"\nsources = [\"elsewhere\"]\n",
        hospital.url
    );
    let bench = Bench::with(&hospital.url, &sites);
    bench.ok(&["pull"]);
    administrator(&bench);
    let initial = file(&bench, "initial", INITIAL, 0o600);
    for site in ["north", "south"] {
        let name = format!("dr-{site}");
        let add = ["user", "add", &name, "--role", "investigator", "--printed-name", "P", "--by", "root-1"];
        as_with(&bench, GOOD, &[&add[..], &["--password-file", &initial]].concat())
            .code(2)
            .says("--site-id north|south");
        as_with(&bench, GOOD, &[&add[..], &["--password-file", &initial, "--site-id", site]].concat())
            .code(0);
        own_password(&bench, &name);
    }
    let attest = |by: &str, subject: &str| {
        as_with(&bench, GOOD, &["attest", subject, "E8", "--verdict", "no", "--by", by, "--reason", "seen"])
    };
    attest("dr-north", "p-020").code(0);
    let (elsewhere, nowhere) = (attest("dr-south", "p-020").code(1), attest("dr-south", "p-999").code(1));
    assert_eq!(elsewhere.err, nowhere.err);
}
