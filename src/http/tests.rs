//! x y z for now a place
