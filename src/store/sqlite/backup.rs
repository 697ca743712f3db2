//! A consistent copy of the database, made while others read and write.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::Backup;
use super::{PATIENCE, hex, lock, trouble};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The copy appears under its name only when it is complete and on disk.
pub(super) fn backup(database: &Path, to: &Path) -> Result<Backup> {
    let doing = || format!("writing the backup {}", to.display());
    if to.exists() {
        return Err(StoreError::conflict(
            "backup-exists",
            format!("{} exists already; a backup never replaces a file", to.display()),
        ));
    }
    let mut partial = OsString::from(to.as_os_str());
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let result = copy(database, &partial, to, &doing);
    if result.is_err() {
        // What is left of it is of no use, and may be the reason that the disk is full.
        let _ = fs::remove_file(&partial);
    }
    result
}

fn copy(database: &Path, partial: &Path, to: &Path, doing: &dyn Fn() -> String) -> Result<Backup> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::StorageFull => StoreError::Full { doing: doing() },
        _ => StoreError::storage(doing(), e),
    };
    // SQLite writes into an empty file, which is ours alone from the start.
    lock::open_private(partial).and_then(|file| file.set_len(0)).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(trouble(doing()))?;
    connection.busy_timeout(PATIENCE).map_err(trouble(doing()))?;
    let name = partial.to_str().ok_or_else(|| StoreError::storage(doing(), "the path is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(trouble(doing()))?;
    drop(connection);

    let copy = Connection::open_with_flags(partial, flags).map_err(trouble(doing()))?;
    let state: String =
        copy.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0)).map_err(trouble(doing()))?;
    drop(copy);
    if state != "ok" {
        return Err(StoreError::Corrupt { doing: doing(), cause: state });
    }
    let (bytes, sha256) = sync_and_hash(partial).map_err(failed)?;
    fs::rename(partial, to).map_err(failed)?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    lock::sync_directory(parent).map_err(failed)?;
    Ok(Backup { path: to.to_owned(), bytes, sha256 })
}

fn sync_and_hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
}
