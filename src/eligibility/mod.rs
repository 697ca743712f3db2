//! Criteria to verdicts with evidence: eligible, ineligible or undetermined.
