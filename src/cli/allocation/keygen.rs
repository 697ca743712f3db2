//! `allocation keygen`: the statistician's pair of keys, made on the statistician's machine.
//!
//! Needs no configuration, no store and no network. The secret half goes into a file of its owner's alone and
//! is printed nowhere; the public half is one word, to be given to whoever draws up the list.

use super::super::output::Out;
use super::super::{Failure, Global, Outcome, Output, exit};
use super::entropy;
use crate::randomize::statistician::{StatisticianKey, read_secret, secret_word};
use crate::randomize::{SealKey, StatisticianSecret};
use clap::Args;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the secret key goes; a file that is there is not touched
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

pub(super) fn run(global: &Global, a: &Arguments) -> Outcome {
    let mut bytes = Zeroizing::new([0u8; 32]);
    entropy(&mut bytes)?;
    let secret = StatisticianSecret::new(*bytes);
    let key = StatisticianKey::of(&secret);
    write_new(&a.out, secret_word(&secret).as_bytes(), "the secret key")?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("public key   {key}"))?;
        out.line(&format!("fingerprint  {}", key.fingerprint()))?;
    } else {
        out.json(&serde_json::json!({
            "schema": "trialbridge/statistician-key/v1", "public": key.to_string(),
            "fingerprint": key.fingerprint()
        }))?;
    }
    out.finish()?;
    global.note(&format!(
        "the secret key is in {}: keep it and a copy in a safe; without it this list cannot be opened by you\n\
         give the public key away, and read the fingerprint aloud to whoever draws up the list: what they see \
         must be the same",
        a.out.display()
    ));
    Ok(0)
}

/// Writes a new file that its owner alone can read.
pub(super) fn write_new(path: &Path, bytes: &[u8], what: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::AlreadyExists => "nothing is overwritten here: give a new name",
            _ => "give a place that can be written to",
        };
        Failure::new(exit::USAGE, format!("{what} cannot be written to {}: {e}", path.display()), hint)
    })
}

/// Reads a statistician's secret key from its file, which must be its owner's alone.
pub(super) fn read_file(path: &Path) -> Result<StatisticianSecret, Failure> {
    let refuse = |text: String, hint: &str| Failure::new(exit::USAGE, text, hint);
    let unreadable = |e| refuse(format!("the key file {} cannot be read: {e}", path.display()), "");
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(refuse(
                format!("the key file {} can be read by others", path.display()),
                "chmod 600",
            ));
        }
    }
    read_secret(&text).map_err(|e| {
        let hint = match SealKey::from_hex(&text) {
            Ok(_) => "this is the service's key; the file that `allocation keygen` wrote is expected",
            Err(_) => "the file that `allocation keygen` wrote is expected",
        };
        refuse(format!("{}: {e}", path.display()), hint)
    })
}
