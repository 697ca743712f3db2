//! The path from the inbox to a decision, on a real store.
