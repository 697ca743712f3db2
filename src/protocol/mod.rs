//! The trial definition: read from TOML, compiled, checked.
