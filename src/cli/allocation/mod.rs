//! `allocation`: the sealed list, one file a subcommand. The key that opens it, and the list as it is stored.

use super::shell::{Shell, is_inside};
use super::{Failure, Global, Outcome, exit};
use crate::randomize::SealKey;
use crate::randomize::seal::{Public, SealError, SealedList, SealedSlot};
use crate::store::Store;
use clap::Subcommand;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

mod certificate;
mod close;
mod correct;
mod export;
mod generate;
mod import;
mod keygen;
mod reveal;
mod simulate;
mod status;
mod verify;

pub use generate::generate;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Draw up the list from a fresh seed and seal it
    Generate(generate::Arguments),
    /// Seal a list that the statistician drew up elsewhere
    Import(import::Arguments),
    /// Whether there is a list, its commitment, how many are allocated
    Status,
    /// Make the statistician's pair of keys, on the statistician's machine
    Keygen(keygen::Arguments),
    /// The text to print and file before the first participant
    Certificate,
    /// The public bundle of the list: no arm, no participant
    Export(export::Arguments),
    /// How well schemes can be guessed and how far they run out of balance, before a trial
    Simulate(simulate::Arguments),
    /// Compare everything with the commitment, in the store or in a bundle; tells no arm
    Verify(verify::Arguments),
    /// Write seed, list and arms, at the end of the trial
    Reveal(reveal::Arguments),
    /// Say that somebody should not have been randomized; the allocation stays
    MarkInError(correct::MarkArguments),
    /// Keep the right levels beside those as randomized; the allocation stays
    CorrectStratum(correct::StratumArguments),
    /// Stop randomization in this trial
    Close(close::Arguments),
    /// Resume it
    Reopen(close::Arguments),
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    // These need neither trial nor store.
    let offline = match command {
        Command::Keygen(a) => Some(keygen::run(global, a)),
        Command::Simulate(a) => Some(simulate::run(global, a)),
        Command::Verify(a) => verify::offline(global, a),
        Command::Reveal(a) => reveal::offline(global, a),
        _ => None,
    };
    if let Some(outcome) = offline {
        return outcome;
    }
    let shell = Shell::new(global)?;
    match command {
        // Answered above.
        Command::Keygen(a) => keygen::run(global, a),
        Command::Simulate(a) => simulate::run(global, a),
        Command::Certificate => certificate::run(global, &shell),
        Command::Export(a) => export::run(global, &shell, a),
        Command::Generate(a) => generate::run(global, &shell, a),
        Command::Import(a) => import::run(global, &shell, a),
        Command::Status => status::run(global, &shell),
        Command::Verify(_) => verify::run(global, &shell),
        Command::Reveal(a) => reveal::run(global, &shell, a),
        Command::MarkInError(a) => correct::mark(global, &shell, a),
        Command::CorrectStratum(a) => correct::stratum(global, &shell, a),
        Command::Close(a) => close::close(global, &shell, a),
        Command::Reopen(a) => close::reopen(global, &shell, a),
    }
}

/// The key that opens the list: outside the data directory, so that a copy of the data opens nothing.
pub fn key_path(shell: &Shell) -> PathBuf {
    shell.config.allocation.key_file.clone().unwrap_or_else(|| {
        let mut name = shell.config.data_dir.as_os_str().to_owned();
        name.push(".allocation-key");
        PathBuf::from(name)
    })
}

/// Reads the key. It must be its owner's alone and lie outside the data directory.
pub fn read_key(shell: &Shell) -> Result<SealKey, Failure> {
    let path = key_path(shell);
    let refuse = |text: String, hint: &str| Failure::new(exit::CONFIG, text, hint);
    if is_inside(&path, &shell.config.data_dir) {
        let text = format!("the key file {} lies in the data directory", path.display());
        return Err(refuse(
            text,
            "keep it elsewhere: whoever copies the data must not be able to open the list",
        ));
    }
    let text = fs::read_to_string(&path).map_err(|e| {
        let text = format!("the key file {} cannot be read: {e}", path.display());
        refuse(text, "set [allocation] key_file; without the key nobody can be randomized")
    })?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path)?.permissions().mode();
        if mode & 0o077 != 0 {
            let text = format!("the key file {} can be read by others", path.display());
            return Err(refuse(text, "chmod 600"));
        }
    }
    SealKey::from_hex(text.trim())
        .map_err(|_| refuse(format!("{} is not 64 hexadecimal digits", path.display()), ""))
}

/// Makes a key where there is none.
fn make_key(shell: &Shell) -> Result<SealKey, Failure> {
    let path = key_path(shell);
    if path.exists() {
        return read_key(shell);
    }
    if is_inside(&path, &shell.config.data_dir) {
        return read_key(shell);
    }
    let mut bytes = [0u8; 32];
    entropy(&mut bytes)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(&path).and_then(|mut file| {
        writeln!(file, "{}", crate::protocol::document::hex(&bytes))?;
        file.sync_all()
    });
    written.map_err(|e| {
        let text = format!("the key file {} cannot be written: {e}", path.display());
        Failure::new(exit::CONFIG, text, "set [allocation] key_file to a place outside the data directory")
    })?;
    Ok(SealKey::new(bytes))
}

fn entropy(bytes: &mut [u8; 32]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|_| Failure::problem("the machine gives no random bytes; nothing was generated"))
}

fn sealed(store: &dyn Store, trial: &str) -> Result<SealedList, Failure> {
    let Some(list) = store.allocation_list(trial)? else {
        return Err(Failure::new(
            exit::NOT_PERMITTED,
            "this trial has no list yet",
            "trialbridge allocation generate",
        ));
    };
    let broken = |what: &str| {
        Failure::new(exit::UNVERIFIED, format!("the stored list is damaged: {what}"), "restore a backup")
    };
    let public: Public = serde_json::from_str(&list.json).map_err(|_| broken("its public part"))?;
    if public.header.commitment.to_string() != list.commitment {
        return Err(broken("its commitment"));
    }
    let slots = store
        .sealed_slots(&list.id)?
        .iter()
        .map(|s| serde_json::from_slice(s).map_err(|_| broken("a slot")))
        .collect::<Result<Vec<SealedSlot>, _>>()?;
    Ok(SealedList { public, slots })
}

fn unverified(error: &SealError) -> Failure {
    Failure::new(exit::UNVERIFIED, error.to_string(), "nobody should be randomized until this is understood")
}
