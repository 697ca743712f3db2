//! A file that is there whole or not at all: written beside its place as `NAME.part`, and renamed when
//! all of it is on disk.
//!
//! Invariant: whoever finds `NAME` finds the whole of one run. A run that fails takes its `.part` away; one
//! that is killed leaves it, and the next run writes over it.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before [`WholeFile::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// None where the place is no file: a pipe or a device is written as it is.
    part: Option<PathBuf>,
    target: PathBuf,
}

impl WholeFile {
    /// Begins to write. A link is followed, and the permissions of a file that is replaced are kept.
    ///
    /// # Errors
    /// Where `NAME.part` cannot be made, or another run is writing it.
    pub fn create(path: &Path) -> io::Result<WholeFile> {
        let old = fs::metadata(path).ok();
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(WholeFile { file, part: None, target: path.to_owned() });
        }
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = OsString::from(
            target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?,
        );
        name.push(".part");
        let part = target.with_file_name(name);
        let file = File::options().write(true).create(true).truncate(false).open(&part)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, &part) => {}
            Ok(()) | Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another run is writing it"));
            }
            // A file system without locks: two runs at once are then not told apart.
            Err(TryLockError::Error(_)) => {}
        }
        file.set_len(0)?;
        if let Some(old) = old {
            file.set_permissions(old.permissions())?;
        }
        Ok(WholeFile { file, part: Some(part), target })
    }

    /// Puts the file in its place, once it is on disk.
    ///
    /// # Errors
    /// Where the disk refuses it; what stood in the place before still stands there.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        self.file.sync_all()?;
        fs::rename(part, &self.target)?;
        self.part = None;
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // Nobody can be told here, and a `.part` says of itself that it is not whole.
            let _ = fs::remove_file(part);
        }
    }
}

/// Is it still this file that stands there? Between opening and locking, the run that held the lock may
/// have renamed it to its place.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder can be listed");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn until_it_is_whole_the_old_one_stands() {
        let folder = folder();
        let place = folder.path().join("rows.csv");
        fs::write(&place, "old").expect("a file");
        // What a killed run left behind is longer than what comes now.
        fs::write(folder.path().join("rows.csv.part"), "left behind by a run that was killed")
            .expect("a file");
        let mut file = WholeFile::create(&place).expect("a new file");
        file.write_all(b"new").expect("written");
        assert_eq!(fs::read_to_string(&place).expect("the old file"), "old");
        assert_eq!(names(folder.path()), ["rows.csv", "rows.csv.part"]);
        file.commit().expect("renamed");
        assert_eq!(fs::read_to_string(&place).expect("the new file"), "new");
        assert_eq!(names(folder.path()), ["rows.csv"]);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = folder();
        let place = folder.path().join("rows.csv");
        let mut file = WholeFile::create(&place).expect("a new file");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(names(folder.path()), [""; 0]);
        let missing = WholeFile::create(&folder.path().join("no/rows.csv"));
        assert_eq!(missing.expect_err("no such folder").kind(), io::ErrorKind::NotFound);
        assert!(WholeFile::create(folder.path()).is_err(), "a folder is no file");
    }

    #[test]
    fn two_runs_do_not_write_the_same_file() {
        let folder = folder();
        let place = folder.path().join("rows.csv");
        let mut first = WholeFile::create(&place).expect("a new file");
        first.write_all(b"first").expect("written");
        let second = WholeFile::create(&place).expect_err("the first is writing");
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
        first.commit().expect("renamed");
        assert_eq!(fs::read_to_string(&place).expect("the file"), "first");
        WholeFile::create(&place).expect("the first is done").commit().expect("renamed");
        assert_eq!(fs::read_to_string(&place).expect("the file"), "");
    }

    #[cfg(unix)]
    #[test]
    fn links_permissions_and_devices() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = folder();
        let (real, link) = (folder.path().join("real.csv"), folder.path().join("link.csv"));
        fs::write(&real, "old").expect("a file");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).expect("permissions");
        symlink(&real, &link).expect("a link");
        let mut file = WholeFile::create(&link).expect("a new file");
        file.write_all(b"new").expect("written");
        file.commit().expect("renamed");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink(), "the link is a link still");
        assert_eq!(fs::read_to_string(&real).expect("the file"), "new");
        assert_eq!(fs::metadata(&real).expect("the file").permissions().mode() & 0o777, 0o600);
        let mut nothing = WholeFile::create(Path::new("/dev/null")).expect("a device");
        nothing.write_all(b"rows").expect("written");
        nothing.commit().expect("nothing to rename");
    }
}
