//! What memory should not hold: a temporary file without a name, readable by nobody else, gone with the
//! program however it ends.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A file that is made when it is first needed.
pub struct Spill<'d> {
    folder: &'d Path,
    file: Option<File>,
    written: u64,
}

impl<'d> Spill<'d> {
    pub fn new(folder: &'d Path) -> Self {
        Spill { folder, file: None, written: 0 }
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends `bytes` and returns where they lie.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(self.folder)?),
        };
        file.write_all(bytes)?;
        let from = self.written;
        self.written += bytes.len() as u64;
        Ok((from, self.written))
    }

    /// Reads a piece again.
    pub fn section(&self, (at, to): (u64, u64)) -> io::Result<Section> {
        let file = self.file.as_ref().expect("there is a piece only of what was written");
        Ok(Section { file: file.try_clone()?, at, to })
    }
}

/// A piece of a file. Clones of one file share their position, so each reading begins with a seek.
pub struct Section {
    file: File,
    at: u64,
    to: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let left = usize::try_from(self.to - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..left])?;
        self.at += read as u64;
        Ok(read)
    }
}
