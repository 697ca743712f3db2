//! A synthetic hospital: an honest in-memory FHIR server and about sixty invented patients.
