//! Tests over whole lists.
