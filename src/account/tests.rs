//! Accounts, throttling, sessions and signatures over a real store.
