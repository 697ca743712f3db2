//! A fault of this program must cost one document, and never show what it holds.
//!
//! The message of a panic may quote what was being read; so the hook tells its place and nothing else.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the standard report of a panic by one without its message. For the whole program, once.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "?".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
        tracing::error!(event = "panic", place, "a fault of this program");
        PLACE.with(|cell| *cell.borrow_mut() = Some(place));
    }));
}

/// Runs something; a panic in it is an error that names the place.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    PLACE.with(|cell| cell.borrow_mut().take());
    // What the work had in its hands is dropped, and nothing else shares it.
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| PLACE.with(|cell| cell.borrow_mut().take()).unwrap_or_else(|| "?".to_owned()))
}
