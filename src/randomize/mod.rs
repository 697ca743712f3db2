//! Allocation lists: (plan, seed, position), or with minimization (plan, seed, position, participants so far),
//! to arm; sealing, commitment.
//!
//! A list is drawn up once from a 32-byte seed, committed to by a Merkle root, and kept slot by
//! slot under a key that lives outside the data directory, so that one draw opens one slot.
//! `docs/randomization.md` describes every byte, with a program that replays a list in Python.
//!
//! Nothing here reads a clock, a random source or a file: seed, key and nonce seed are passed in.
//! Nothing here prints an arm, a salt, a seed or a key: the types that hold them have a `Debug`
//! that says so, and no `Display`. Errors name positions and lists, never an arm.
//!
//! Invariant: the same scheme, arms, total and seed give the same list in every release, for ever.
//! `fixtures/randomize/known-answer.json` holds one such list.

pub mod arms;
mod blocks;
pub mod bundle;
mod coin;
pub mod digest;
pub mod exact;
mod header;
pub mod import;
mod layout;
pub mod merkle;
pub mod minimize;
pub mod plan;
mod recipe;
pub mod scheme;
pub mod seal;
pub mod secret;
pub mod simulate;
pub mod statistician;
pub mod stream;
mod study;

#[cfg(test)]
mod tests;

pub use arms::{Arms, ArmsError};
pub use digest::Digest;
pub use exact::{Probability, Weight};
pub use plan::{AssignError, Content, Factor, Past, Place, Plan, assign, draw_up};
pub use scheme::{Distance, Scheme, SchemeError, Slot, generate};
pub use seal::{
    Entropy, Header, Opened, Order, Public, Revealed, SealError, SealedList, SealedSlot, open_slot, reveal,
    reveal_to, seal, verify_allocation, verify_leaf, verify_list, verify_sealed,
};
pub use secret::{Arm, Ephemeral, Held, Salt, SealKey, Seed, StatisticianSecret};
pub use statistician::{SealedRecipe, StatisticianKey};
