//! The data directory: who may write in it, and who may look.
//!
//! One process writes. It holds an advisory lock on the file `lock` for as long as it lives; the
//! system releases it when the process ends, however it ends, so that a lock is never stale.

use super::super::error::{Holder, StoreError};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Held lock. Dropping it releases it.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

/// Makes the directory if it is not there, for this user alone.
pub(super) fn prepare_directory(dir: &Path, database: &str) -> Result<(), StoreError> {
    let failed =
        |e: io::Error| StoreError::storage(format!("making the data directory {}", dir.display()), e);
    if !dir.exists() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).map_err(failed)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_directory(parent).map_err(failed)?;
        }
    }
    // A directory that was given to us is closed to others only if it is ours: changing the mode of
    // a shared one would lock its users out.
    let ours = dir.join(database).exists() || fs::read_dir(dir).map_err(failed)?.next().is_none();
    if ours {
        close_to_others(dir, 0o700).map_err(failed)?;
    }
    Ok(())
}

/// Takes the lock, and leaves this process's name in it.
pub(super) fn acquire(dir: &Path, command: &str, now: &str) -> Result<DirectoryLock, StoreError> {
    let path = dir.join("lock");
    let failed = |e: io::Error| StoreError::storage(format!("locking {}", path.display()), e);
    let mut file = open_private(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Where a lock also forbids reading, the holder stays unnamed.
            let _ = Read::by_ref(&mut file).take(4096).read_to_string(&mut text);
            return Err(StoreError::Locked { holder: parse_holder(&text) });
        }
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    let one_line = |s: &str| s.replace(['\n', '\r'], " ");
    let text =
        format!("pid {}\ncommand {}\nstarted {}\n", std::process::id(), one_line(command), one_line(now));
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(DirectoryLock { _file: file })
}

fn parse_holder(text: &str) -> Holder {
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    Holder {
        pid: field("pid").and_then(|s| s.parse().ok()),
        command: field("command").map(str::to_owned),
        started: field("started").map(str::to_owned),
    }
}

/// Opens for reading and writing; makes the file if needed; closes it to other users.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    close_to_others(path, 0o600)?;
    Ok(file)
}

#[cfg(unix)]
fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Makes new names in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_from_any_text() {
        let full = parse_holder("pid 7\ncommand serve --port 1\nstarted 2026-11-22T08:00:00Z\n");
        assert_eq!(full.to_string(), "process 7, `serve --port 1`, since 2026-11-22T08:00:00Z");
        assert_eq!(parse_holder("pid 7\n").to_string(), "process 7");
        for torn in ["", "pid", "pid x", "\u{0}\u{0}"] {
            assert_eq!(parse_holder(torn).to_string(), "a process that did not leave its name");
        }
    }
}
