//! Where the end of the audit chain is kept outside the database.
//!
//! Whoever can change the database can write a chain that is good in itself; he cannot make it end in a
//! head that was written down elsewhere. An anchor is only written to behind its end, and only after the
//! commit that it tells of.

use super::rows::words;
use super::{Refusal, Word};
use crate::audit::anchor::{self, Line};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An end of the chain as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorHead {
    pub sequence: u64,
    pub hash: String,
    /// UTC, RFC 3339.
    pub at: String,
}

/// A place outside the database that heads are written to.
pub trait Anchor: Send + Sync {
    /// Which place, for people: the path of a file.
    fn place(&self) -> String;
    /// The newest head that was written to its end. None: there is nothing, or not even a place.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn last(&self) -> io::Result<Option<AnchorHead>>;
    /// Writes a head behind the last one, making the place if needed. `durable`: returns when it is on disk.
    ///
    /// # Errors
    /// It was not written, or only in part.
    fn append(&self, head: &AnchorHead, durable: bool) -> io::Result<()>;
}

words! {
    /// What is wrong between the chain and its anchor. As long as it is, nobody is randomized.
    AnchorFault {
        /// The chain ends before the head that was written down.
        CutOff = "audit-cut-off",
        /// The chain holds another entry where that head was.
        Forked = "audit-forked",
        /// There was an anchor, and it is gone.
        Missing = "anchor-missing",
        /// This copy of the data was never anchored here.
        Elsewhere = "anchor-elsewhere",
        Unreadable = "anchor-unreadable",
        /// The newest heads could not be written.
        Unwritten = "anchor-unwritten",
    }
}

impl AnchorFault {
    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            AnchorFault::CutOff => {
                "the audit log ends before an entry that the anchor knows: its end was cut off, or an older \
                 copy restored"
            }
            AnchorFault::Forked => {
                "the audit log holds another entry than the one that the anchor knows: it was rewritten, or \
                 belongs to another copy"
            }
            AnchorFault::Missing => "the anchor of the audit log is gone",
            AnchorFault::Elsewhere => "this copy of the data has no anchor of its own: it was made elsewhere",
            AnchorFault::Unreadable => "the anchor of the audit log cannot be read",
            AnchorFault::Unwritten => "the end of the audit log could not be written to its anchor",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            AnchorFault::CutOff | AnchorFault::Forked => {
                "find out what happened; restore the newest copy, or sign for it with `trialbridge audit accept`"
            }
            AnchorFault::Missing | AnchorFault::Elsewhere => {
                "put the anchor file back, or declare this copy the one that counts with `trialbridge audit \
                 accept`"
            }
            AnchorFault::Unreadable | AnchorFault::Unwritten => {
                "make the file of [audit] anchor_file readable and writable for the service, outside the data \
                 directory"
            }
        }
    }

    /// Does it tell that entries were lost or changed? The others are a matter of files.
    pub fn is_evidence(self) -> bool {
        matches!(self, AnchorFault::CutOff | AnchorFault::Forked | AnchorFault::Missing)
    }
}

/// How the chain and its anchor stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorStatus {
    /// None: this store has no anchor.
    pub place: Option<String>,
    pub last: Option<AnchorHead>,
    pub fault: Option<AnchorFault>,
}

impl AnchorStatus {
    /// The reason for which nobody is randomized, if there is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let fault = self.fault?;
        let place = self.place.as_deref().unwrap_or_default();
        Some(Refusal {
            code: "audit-unanchored".to_owned(),
            text: format!("{} ({}, {place})", fault.meaning(), fault.word()),
        })
    }
}

/// Bytes from the end of the file that are looked at for the last head: many times the longest line.
const TAIL: u64 = 4096;

/// A file with a head a line; see [`anchor`].
#[derive(Debug)]
pub struct FileAnchor {
    path: PathBuf,
}

impl FileAnchor {
    pub fn new(path: &Path) -> FileAnchor {
        // The place is compared with the one it had before.
        FileAnchor { path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
    }
}

impl Anchor for FileAnchor {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn last(&self) -> io::Result<Option<AnchorHead>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let length = file.metadata()?.len();
        let mut from = length.saturating_sub(TAIL);
        loop {
            let mut tail = Vec::new();
            file.seek(SeekFrom::Start(from))?;
            Read::by_ref(&mut file).take(length - from).read_to_end(&mut tail)?;
            // The first line of a part may be cut in front.
            let whole =
                if from == 0 { Some(0) } else { tail.iter().position(|b| *b == b'\n').map(|i| i + 1) };
            if let Some(line) = whole.and_then(|start| anchor::last(tail.get(start..)?)) {
                let Line { head, at } = line;
                return Ok(Some(AnchorHead { sequence: head.sequence, hash: head.hash.to_string(), at }));
            }
            if from == 0 {
                return Ok(None);
            }
            // Damage: the last line that can be read lies further in front.
            from = 0;
        }
    }

    fn append(&self, head: &AnchorHead, durable: bool) -> io::Result<()> {
        let line = format!("{} {} {}\n", head.sequence, head.hash, head.at);
        // What could not be read again must not be written.
        let is_line = line.trim_end_matches('\n').parse::<Line>().is_ok();
        if !is_line {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head is not one of an audit chain"));
        }
        let is_new = !self.path.exists();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        // A line that was torn is ended first, so that it spoils no other.
        let torn = match file.metadata()?.len() {
            0 => false,
            _ => {
                let mut end = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut end)?;
                end != *b"\n"
            }
        };
        let text = if torn { format!("\n{line}") } else { line };
        file.write_all(text.as_bytes())?;
        if durable || is_new {
            file.sync_data()?;
        }
        if is_new {
            sync_folder(&self.path)?;
        }
        Ok(())
    }
}

/// Makes the name of a new file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { fs::metadata(folder).map(drop) }
}

/// An anchor for tests, which can be told to fail.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct MemoryAnchor {
    pub heads: std::sync::Mutex<Vec<(AnchorHead, bool)>>,
    pub fails: std::sync::atomic::AtomicBool,
}

#[cfg(test)]
impl Anchor for MemoryAnchor {
    fn place(&self) -> String {
        "memory".to_owned()
    }
    fn last(&self) -> io::Result<Option<AnchorHead>> {
        Ok(self.heads.lock().expect("no panic").last().map(|(head, _)| head.clone()))
    }
    fn append(&self, head: &AnchorHead, durable: bool) -> io::Result<()> {
        if self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::Error::other("told to fail"));
        }
        self.heads.lock().expect("no panic").push((head.clone(), durable));
        Ok(())
    }
}

impl fmt::Display for AnchorHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sequence, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> AnchorHead {
        let hash = format!("sha256:{sequence:064x}");
        AnchorHead { sequence, hash, at: "2026-03-01T08:00:00Z".into() }
    }

    #[test]
    fn the_last_head_is_found_whatever_the_end_looks_like() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("anchor");
        let anchor = FileAnchor::new(&path);
        assert!(anchor.last().expect("nothing is no error").is_none());
        anchor.append(&head(1), true).expect("written");
        for n in 2..=100 {
            anchor.append(&head(n), false).expect("written");
        }
        assert_eq!(anchor.last().expect("read"), Some(head(100)), "beyond one look at the tail");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let whole = fs::read(&path).expect("read");
        for (cut, expected) in [(1, 99), (40, 99), (0, 100)] {
            fs::write(&path, &whole[..whole.len() - cut]).expect("written");
            assert_eq!(anchor.last().expect("read"), Some(head(expected)), "cut by {cut}");
        }
        // The torn line stays and is ended; the next one is whole.
        fs::write(&path, &whole[..whole.len() - 30]).expect("written");
        anchor.append(&head(101), false).expect("written");
        assert_eq!(anchor.last().expect("read"), Some(head(101)));
        // Blocks that a power cut left empty.
        fs::write(&path, [whole.as_slice(), &[0; 9000]].concat()).expect("written");
        assert_eq!(anchor.last().expect("read"), Some(head(100)));
        fs::write(&path, "").expect("written");
        assert!(anchor.last().expect("read").is_none());
    }

    #[test]
    fn what_is_no_head_is_not_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("anchor");
        let anchor = FileAnchor::new(&path);
        for wrong in [
            AnchorHead { hash: "plain".into(), ..head(1) },
            AnchorHead { at: "today".into(), ..head(1) },
            AnchorHead { at: "2026-03-01T08:00:00Z\n1 x".into(), ..head(1) },
        ] {
            assert!(anchor.append(&wrong, true).is_err(), "{wrong:?}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_fault_has_its_own_word_sentence_and_remedy() {
        for fault in AnchorFault::ALL {
            let status = AnchorStatus { place: Some("/a".into()), last: None, fault: Some(*fault) };
            let refusal = status.refusal().expect("refused");
            assert_eq!(refusal.code, "audit-unanchored");
            assert!(refusal.text.contains(fault.word()) && refusal.text.contains("/a"), "{}", refusal.text);
            assert!(!fault.remedy().is_empty());
        }
        assert!(AnchorStatus { place: None, last: None, fault: None }.refusal().is_none());
    }
}
