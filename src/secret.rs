//! A secret in memory: it never shows itself in `Debug`, and its bytes are overwritten when it goes.

use std::fmt;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// A password or token. There is no `Display`; [`Secret::expose`] is the one way to its text.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// Reads a secret from a file, without the line end that editors add.
    ///
    /// # Errors
    /// A sentence that names the file and the cause, never its content.
    pub fn from_file(path: &Path) -> Result<Secret, String> {
        let text = Zeroizing::new(
            std::fs::read_to_string(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))?,
        );
        let trimmed = text.trim_end_matches(['\r', '\n']);
        if trimmed.is_empty() {
            return Err(format!("{}: the file is empty, a secret was expected", path.display()));
        }
        Ok(Secret::new(trimmed.to_owned()))
    }

    /// The text itself, for the one place that puts it into a request header.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// No key in PEM is larger.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Reads a private key file that nobody but its owner can read.
///
/// # Errors
/// A sentence that names the file, the cause and the remedy, never the content.
pub fn private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |e: std::io::Error| format!("{}: cannot be read: {e}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Of the open file, not of its name: nobody can exchange it in between.
        if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
            return Err(format!("{}: the key file can be read by others; chmod 600", path.display()));
        }
    }
    // As large as it may become: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES as usize));
    file.take(MAX_KEY_BYTES).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}
