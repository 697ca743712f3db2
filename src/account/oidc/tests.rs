//! The identity provider, played by a small server on loopback.
