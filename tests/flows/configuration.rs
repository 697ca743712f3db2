//! Configuration: where it is read from, what it refuses, and that no secret shows.

use super::support::*;
use std::fs;
use std::process::Command;

fn program(dir: &std::path::Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
    command.env_clear().current_dir(dir).args(args).envs(env.iter().copied());
    finished(args, command.output().expect("runs"))
}

#[test]
fn what_init_writes_is_a_configuration() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = program(dir.path(), &["init"], &[]).code(0).out;
    program(dir.path(), &["init", "c.toml"], &[]).code(0);
    assert_eq!(fs::read_to_string(dir.path().join("c.toml")).expect("written"), text);
    program(dir.path(), &["init", "c.toml"], &[]).code(1).says("c.toml");
    let checked = program(dir.path(), &["--config", "c.toml", "check", "--no-network"], &[]);
    assert!(checked.code <= 1, "{} {}", checked.out, checked.err);
    // The template is used as it is: the data directory from the flag, the server from the environment.
    let hospital = Hospital::of(&["p-001"]);
    let env = [("TRIALBRIDGE_FHIR__BASE_URL", hospital.url.as_str())];
    program(dir.path(), &["--config", "c.toml", "--data-dir", "d", "pull"], &env).code(0);
    let listed = program(dir.path(), &["--config", "c.toml", "--data-dir", "d", "subjects"], &env).code(0);
    assert_eq!(listed.lines().len(), 1);
}

#[test]
fn every_key_has_its_twin_and_nothing_is_read_from_the_working_directory() {
    let hospital = Hospital::of(&["p-001"]);
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["trialbridge.toml", "config.toml", ".trialbridge.toml"] {
        fs::write(dir.path().join(name), "this is no configuration").expect("written");
    }
    let data = dir.path().join("data").display().to_string();
    let env = [
        ("TRIALBRIDGE_DATA_DIR", data.as_str()),
        ("TRIALBRIDGE_FHIR__BASE_URL", hospital.url.as_str()),
        ("TRIALBRIDGE_FHIR__RELEASE", "R4"),
        ("TRIALBRIDGE_PULL__PAGE_SIZE", "7"),
        ("TRIALBRIDGE_PULL__MAX_CONCURRENT", "2"),
        ("TRIALBRIDGE_WRITEBACK__ENABLED", "false"),
        ("TRIALBRIDGE_NO_PROGRESS", "1"),
        ("TRIALBRIDGE_QUIET", "true"),
        ("TRIALBRIDGE_OUTPUT", "json"),
    ];
    let pulled = program(dir.path(), &["pull"], &env).code(0);
    assert!(pulled.err.is_empty(), "{}", pulled.err);
    assert_eq!(program(dir.path(), &["subjects"], &env).code(0).json().as_array().map(Vec::len), Some(1));
    program(dir.path(), &["writeback"], &env).code(10);
    // A flag goes before its twin.
    let flagged = program(dir.path(), &["-o", "table", "subjects"], &env).code(0);
    assert!(flagged.out.starts_with("SUBJECT"), "{}", flagged.out);
    // The file is named by the environment too.
    let file = dir.path().join("named.toml");
    fs::write(&file, format!("data_dir = \"{data}\"\n")).expect("written");
    let named = [("TRIALBRIDGE_CONFIG", file.to_str().expect("text"))];
    assert_eq!(program(dir.path(), &["subjects"], &named).code(0).lines().len(), 1);
    // Without any configuration, what needs none works.
    for args in [vec!["check", "--no-network"], vec!["init"], vec!["--help"], vec!["--version"]] {
        program(dir.path(), &args, &[]).code(0);
    }
    program(dir.path(), &["pull", "--data-dir", "d2"], &[]).code(10).says("base_url");
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let dir = tempfile::tempdir().expect("a folder");
    #[rustfmt::skip]
    let table = [
        ("data_dir = \"d\"\n[pull]\nschedul = \"x\"\n", "c.toml:3"),
        ("[fhir\n", "c.toml:1"),
        ("[pull]\npage_size = \"many\"\n", "c.toml:2"),
        ("[pull]\npage_size = 0\n", "page_size"),
        ("[fhir]\nrelease = \"R3\"\n", "fhir.release"),
        ("[writeback]\narm = \"show\"\n", "writeback.arm"),
        ("[fhir.auth]\ntoken = \"token-canary\"\n", "c.toml:2"),
        ("[fhir.auth]\nkind = \"magic\"\n", "fhir.auth.kind"),
    ];
    for (text, place) in table {
        fs::write(dir.path().join("c.toml"), text).expect("written");
        program(dir.path(), &["--config", "c.toml", "pull"], &[]).code(10).says(place).says("hint:");
    }
    program(dir.path(), &["--config", "none.toml", "pull"], &[]).code(10).says("none.toml");
    program(dir.path(), &["subjects"], &[("TRIALBRIDGE_PULL__SPEED", "1")])
        .code(10)
        .says("TRIALBRIDGE_PULL__SPEED");
}

#[test]
fn secrets_come_from_files_or_the_environment_and_never_show() {
    let hospital = Hospital::of(&["p-001"]);
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("token"), "token-canary\n").expect("written");
    let file = format!(
        "data_dir = \"data\"\n[fhir]\nbase_url = \"{}\"\n[fhir.auth]\nkind = \"bearer\"\n",
        hospital.url
    );
    fs::write(dir.path().join("none.toml"), &file).expect("written");
    fs::write(dir.path().join("file.toml"), format!("{file}token_file = \"token\"\n")).expect("written");
    let env = [("TRIALBRIDGE_FHIR__AUTH__TOKEN", "token-canary")];
    for (config, env, code) in
        [("none.toml", &[][..], 10), ("none.toml", &env[..], 0), ("file.toml", &[][..], 0)]
    {
        for verbose in ["-q", "-vv"] {
            program(dir.path(), &["--config", config, verbose, "pull"], env).code(code);
        }
        hospital.sandbox.faults().answer_next(2, |r| r.path.ends_with("/metadata"), 401, None);
        program(dir.path(), &["--config", config, "-vv", "pull"], env).code(if code == 0 {
            12
        } else {
            code
        });
        program(dir.path(), &["--config", config, "-vv", "check"], env);
        hospital.sandbox.faults().clear();
    }
    // There is no flag that takes one.
    for flag in ["--token", "--password", "--key-file", "--secret", "--allocation-key"] {
        program(dir.path(), &["--config", "none.toml", flag, "x", "pull"], &[]).code(2);
    }
}

#[test]
fn a_listener_that_anybody_could_send_to_is_refused_and_its_files_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let check = |mllp: &str| {
        fs::write(dir.path().join("c.toml"), format!("[mllp]\n{mllp}\n")).expect("written");
        program(dir.path(), &["--config", "c.toml", "-o", "json", "check", "--no-network"], &[])
    };
    let open = check("listen = \"0.0.0.0:2575\"").code(10);
    assert!(open.out.contains("nothing says who may send: set mllp.allow"), "{}", open.out);
    check("listen = \"0.0.0.0:2575\"\nallow = [\"10.1.4.0/24\"]").code(0);
    check("listen = \"127.0.0.1:2575\"").code(0);
    // Beside the configuration file, where it is not.
    let lacking = "listen = \"127.0.0.1:2575\"\ntls_cert_file = \"cert.pem\"\ntls_key_file = \"key.pem\"";
    let found = check(lacking).code(10).json();
    let finding = &found["findings"].as_array().expect("findings")[0];
    assert_eq!(finding["id"], "TB-C002");
    assert!(finding["text"].as_str().expect("text").contains("cert.pem: cannot be read"), "{finding}");
}
