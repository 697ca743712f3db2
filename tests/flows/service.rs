//! `serve` in the background, and requests to it in bytes.

use super::support::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Nothing here waits this long unless something is wrong.
pub const LONG: Duration = Duration::from_secs(90);
pub const FREE: &str =
    "[serve]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n[writeback]\nenabled = false\n";

pub struct Service {
    child: Child,
    pub ops: String,
    /// Where hospitals push to.
    pub push: String,
    said: Mutex<Receiver<String>>,
}

impl Service {
    pub fn start(bench: &Bench) -> Service {
        Service::start_with(bench, &["-v", "serve"])
    }

    pub fn start_with(bench: &Bench, args: &[&str]) -> Service {
        let mut child =
            bench.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let err = child.stderr.take().expect("piped");
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (mut ops, mut push) = (String::new(), String::new());
        let address = |rest: &str| {
            let bare = rest.trim().trim_start_matches("http://");
            bare.split('/').next().unwrap_or_default().to_owned()
        };
        while let Ok(line) = said.recv_timeout(LONG) {
            if let Some(rest) = line.strip_prefix("operations") {
                ops = address(rest);
            } else if let Some(rest) = line.strip_prefix("push") {
                push = address(rest);
            }
            if line.starts_with("schedule") {
                break;
            }
        }
        assert!(!ops.is_empty(), "the service did not start");
        Service { child, ops, push, said: Mutex::new(said) }
    }

    pub fn stop(self) {
        self.stop_saying();
    }

    /// Stops it, and returns what it wrote on standard error and nobody has read.
    pub fn stop_saying(mut self) -> String {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
        let ended = wait_for(|| self.child.try_wait().expect("a child").is_some());
        assert!(ended, "the service does not stop");
        assert_eq!(self.child.wait().expect("ended").code(), Some(0));
        let said = self.said.lock().expect("not poisoned").try_iter().collect::<Vec<String>>().join("\n");
        assert!(!said.contains("panicked"), "{said}");
        for canary in CANARIES {
            assert!(!said.contains(canary), "the log says {canary:?}: {said}");
        }
        said
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.push).expect("connected");
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if !headers.iter().any(|h| h.starts_with("Content-Length") || h.starts_with("Transfer-Encoding")) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        // Who is refused may have closed before the body went out.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::read(&bytes)
    }

    /// What the operations port answers, head and all.
    pub fn ops(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.ops).expect("connected");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// FHIR JSON.
    pub fn fhir(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &["Content-Type: application/fhir+json"], body.as_bytes())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let text = String::from_utf8(bytes.to_vec()).expect("answers are text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        for canary in CANARIES {
            assert!(!text.contains(canary), "the answer says {canary:?}: {text}");
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.head, self.body))
    }

    /// Status and the reason code of the first issue.
    pub fn said(&self) -> (u16, String) {
        let code = match self.body.is_empty() {
            true => String::new(),
            false => {
                self.json()["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or("").to_owned()
            }
        };
        (self.status, code)
    }
}

pub fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
