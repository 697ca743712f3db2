//! The one durable place: inbox, records, decisions, allocations, outbox, audit.
