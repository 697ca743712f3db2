//! `Record` to facts in canonical units and gaps that say what could not be used, and why.
