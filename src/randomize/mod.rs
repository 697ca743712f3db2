//! Allocation lists: (scheme, seed, position) to arm; sealing, commitment.
