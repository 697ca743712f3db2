//! Clinical scores, one file a score: values or ranges, with their inputs.
