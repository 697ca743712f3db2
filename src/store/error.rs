//! What can go wrong in the store. A message names the thing, the effect and the remedy; it never
//! repeats a stored value.

use std::fmt;

/// Who holds the lock of a data directory, as far as the lock file tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    pub pid: Option<u32>,
    pub command: Option<String>,
    /// UTC, RFC 3339.
    pub started: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command, &self.started) {
            (Some(pid), Some(command), Some(started)) => {
                write!(f, "process {pid}, `{command}`, since {started}")
            }
            (Some(pid), _, _) => write!(f, "process {pid}"),
            _ => f.write_str("a process that did not leave its name"),
        }
    }
}

/// Why the store did not do what it was asked. Nothing of a failed operation is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory open for writing.
    #[error("the data directory is in use by {holder}; stop it, or choose another data directory")]
    Locked { holder: Holder },
    /// No space left. What was acknowledged is safe, reads continue, writes resume once there is space.
    #[error("no space left while {doing}; nothing was stored: free space and send again")]
    Full { doing: String },
    /// More writes wait than can be held. Nothing of this one was done.
    #[error("the store is busy; nothing was stored: send again in a moment")]
    Busy,
    /// The storage failed. Nothing of the operation was acknowledged.
    #[error("storage failed while {doing}: {cause}; nothing was acknowledged: check the disk and send again")]
    Storage { doing: String, cause: String },
    /// The database is damaged.
    #[error("the database is damaged, found while {doing}: {cause}; stop, keep a copy, restore a backup")]
    Corrupt { doing: String, cause: String },
    /// The database is not one this program can open.
    #[error("{cause}")]
    Schema { cause: String },
    /// The request contradicts what is stored.
    #[error("{message}")]
    Conflict {
        /// Fixed word for programs, such as `duplicate` or `list-exhausted`.
        code: &'static str,
        message: String,
        /// Id of the row that stands in the way, if there is one.
        existing: Option<String>,
    },
    /// There is no such row.
    #[error("there is no {what}")]
    NotFound { what: String },
}

impl StoreError {
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        StoreError::Conflict { code, message: message.into(), existing: None }
    }

    pub fn not_found(what: impl Into<String>) -> Self {
        StoreError::NotFound { what: what.into() }
    }

    pub fn storage(doing: impl Into<String>, cause: impl fmt::Display) -> Self {
        StoreError::Storage { doing: doing.into(), cause: cause.to_string() }
    }

    /// Fixed word for logs, answers and monitors.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Locked { .. } => "locked",
            StoreError::Full { .. } => "disk-full",
            StoreError::Busy => "busy",
            StoreError::Storage { .. } => "storage-failed",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::Schema { .. } => "schema",
            StoreError::Conflict { code, .. } => code,
            StoreError::NotFound { .. } => "not-found",
        }
    }

    /// True when the same request may succeed later without anyone changing it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Locked { .. }
                | StoreError::Full { .. }
                | StoreError::Busy
                | StoreError::Storage { .. }
        )
    }
}

/// The caller's own reason not to allocate, found on the snapshot inside the transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// Fixed word, such as `stale-eligibility` or `no-consent`.
    pub code: String,
    pub text: String,
}

/// Why nobody was allocated. No slot was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AllocateError {
    pub fn code(&self) -> &str {
        match self {
            AllocateError::Refused(refusal) => &refusal.code,
            AllocateError::Store(error) => error.code(),
        }
    }
}
