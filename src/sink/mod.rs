//! Where results go: a reconciler that makes the hospital's resources agree, idempotently.
