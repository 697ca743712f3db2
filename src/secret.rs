//! A secret in memory: it never shows itself in `Debug`, and its bytes are overwritten when it goes.

use std::fmt;
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
