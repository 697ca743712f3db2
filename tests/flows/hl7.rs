//! `hl7 send` against `hl7 listen`: the connection test of a newcomer, with the real program twice.

use super::support::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

/// The program without any configuration, in a folder of its own.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
    command.env_clear().args(args);
    command
}

fn run(args: &[&str], input: &str) -> Ran {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    finished(args, child.wait_with_output().expect("it ends"))
}

/// A listening program.
struct Listening {
    child: Child,
    at: String,
}

impl Listening {
    fn start(more: &[&str]) -> Listening {
        let mut child = command(&["hl7", "listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let at = line.strip_prefix("listening on ").and_then(|l| l.split(';').next());
        let at = at.unwrap_or_else(|| panic!("{line}")).to_owned();
        Listening { child, at }
    }

    /// What it printed, after it ended by itself.
    fn heard(mut self) -> String {
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
        let mut text = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn generated_messages_are_sent_heard_and_answered() {
    let kinds = ["oru-lft", "oru-correction", "adt-a01", "adt-a40"];
    let listening = Listening::start(&["--count", "4"]);
    for kind in kinds {
        let args = ["hl7", "send", &listening.at, "--generate", kind, "--patient", "CANARY-7"];
        let sent = run(&args, "").code(0).json();
        let event =
            if kind.starts_with("oru") { "ORU^R01".into() } else { kind.to_uppercase().replace('-', "^") };
        assert_eq!(sent["message"]["event"], Value::String(event));
        assert_eq!(sent["message"]["charset"], "UTF-8");
        assert_eq!(sent["answer"]["code"], "AA");
        assert_eq!(sent["answer"]["controlId"], sent["message"]["controlId"]);
        assert_eq!(sent["expected"], true);
    }
    let heard = listening.heard();
    assert!(!heard.contains("CANARY") && !heard.contains("Synthetic"), "{heard}");
    let lines: Vec<Value> = heard.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    let results = lines[0]["segments"].as_array().expect("segments");
    let results: Vec<_> = results.iter().filter(|s| s["segment"] == "OBX").collect();
    assert_eq!(results.len(), 9);
    assert_eq!(results[0]["fields"]["3"], "14631-6^Bilirubin.total [Moles/volume] in Serum or Plasma^LN");
    assert!(results[0]["fields"].get("5").is_none(), "a value is of a person");
}

#[test]
fn a_table_says_it_in_words_and_phi_shows_all() {
    let listening = Listening::start(&["--count", "1", "--answer", "AE", "--phi", "-o", "table"]);
    let file = "MSH|^~\\&|LAB|HOSP|TB|TRIAL|20261122||ORU^R01|ID7|P|2.5.1\nPID|1||CANARY-7\n";
    let sent = run(&["-o", "table", "hl7", "send", &listening.at, "-"], file).code(1);
    assert!(
        sent.out.starts_with("-> ORU^R01 control id ID7 (73 bytes, UTF-8)\n<- MSA|AE|ID7 in "),
        "{}",
        sent.out
    );
    assert!(
        sent.out.contains("   ERR 207 application internal error (error): this receiver was told"),
        "{}",
        sent.out
    );
    assert!(sent.out.contains("   AA or CA was expected"), "{}", sent.out);
    let heard = listening.heard();
    assert!(heard.contains("<- ORU^R01 control id ID7 (73 bytes, UTF-8)\n"), "{heard}");
    assert!(heard.contains("   PID  1=1  3=CANARY-7\n-> MSA|AE|ID7\n"), "{heard}");
}

#[test]
fn files_of_several_messages_go_over_one_connection_as_expected_or_not() {
    let message =
        |id: &str| format!("MSH|^~\\&|LAB|HOSP|TB|TRIAL|20261122||ADT^A08|{id}|P|2.5.1\r\nPID|1\r\n");
    let dir = tempfile::tempdir().expect("a folder");
    let (plain, framed) = (dir.path().join("plain.hl7"), dir.path().join("framed.hl7"));
    std::fs::write(&plain, message("A1") + &message("A2")).expect("written");
    std::fs::write(&framed, format!("\x0b{}\x1c\r\x0b{}\x1c\r", message("A3"), message("A4")))
        .expect("written");
    let (plain, framed) = (plain.display().to_string(), framed.display().to_string());
    let listening = Listening::start(&["--count", "8", "--answer", "AR"]);
    let args = ["hl7", "send", &listening.at, &plain, &framed, "--expect", "AR"];
    let sent = run(&args, "").code(0).lines();
    let ids: Vec<_> = sent.iter().map(|s| s["answer"]["controlId"].as_str().expect("text")).collect();
    assert_eq!(ids, ["A1", "A2", "A3", "A4"]);
    assert_eq!(sent[0]["answer"]["errors"][0]["meaning"], "application internal error");
    let args = ["-o", "json", "hl7", "send", &listening.at, &plain, &framed];
    let sent = run(&args, "").code(1).json();
    assert_eq!(sent.as_array().map(Vec::len), Some(4));
    assert_eq!(sent[3]["problem"], "AA or CA was expected");
    listening.heard();
}

#[test]
fn what_cannot_be_sent_says_why() {
    // A port that was free a moment ago.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").to_string();
    run(&["hl7", "send", &free, "--generate", "oru-lft"], "")
        .code(11)
        .says("does the receiver listen there?");
    run(&["hl7", "send", "127.0.0.1", "--generate", "oru-lft"], "").code(2).says("HOST:PORT was expected");
    run(&["hl7", "send", &free], "").code(2).says("FILE");
    run(&["hl7", "send", &free, "--generate", "oru-lft", "--patient", "a|b"], "")
        .code(2)
        .says("letters, digits");
    run(&["hl7", "send", &free, "-"], "PID|1\r").code(1).says("before the first line MSH");
    run(&["hl7", "send", &free, "-"], "").code(1).says("no message; one begins with MSH");
    run(&["hl7", "send", &free, "/nowhere/x.hl7"], "").code(1).says("/nowhere/x.hl7");
    run(&["hl7", "send", &free, "--generate", "oru-lft", "--tls"], "").code(2).says("--ca-file");
    run(&["hl7", "listen", "127.0.0.1:70000"], "").code(10).says("127.0.0.1:70000");
}
