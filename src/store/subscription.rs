//! The rows of Subscriptions: what we hold at a server, and how far its notifications have come.

use super::rows::{Word, words};
use crate::sequence::Observed;
use std::fmt;
use std::ops::RangeInclusive;

words! {
    SubscriptionKind {
        /// R4: criteria, no counters.
        RestHook = "rest-hook",
        /// R4 and R4B with the backport, R5: a topic, counters, heartbeats.
        Topic = "topic",
    }
}
words! {
    /// What a notification brings.
    SubscriptionPayload { None = "none", IdOnly = "id-only", Full = "full" }
}
words! {
    /// How the Subscription stands, as far as we know.
    SubscriptionState {
        /// Here, but not yet at the server.
        Planned = "planned",
        Requested = "requested",
        Active = "active",
        /// The server gave up delivering.
        Error = "error",
        Off = "off",
        /// By us. Its row stays, so that a server that goes on sending is told so.
        Deleted = "deleted",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// The last part of the endpoint.
    pub id: String,
    /// Base URL, as the pull names its source.
    pub server: String,
    pub kind: SubscriptionKind,
    /// `R4`, `R4B` or `R5`.
    pub release: String,
    /// Criteria or topic.
    pub watches: String,
    pub payload: SubscriptionPayload,
    pub endpoint: String,
    pub secret_sha256: String,
    pub heartbeat_seconds: Option<u32>,
    pub created_at: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: String,
    pub server: String,
    pub remote_id: Option<String>,
    pub kind: SubscriptionKind,
    pub release: String,
    pub watches: String,
    pub payload: SubscriptionPayload,
    pub endpoint: String,
    pub secret_sha256: String,
    pub heartbeat_seconds: Option<u32>,
    pub created_at: String,
    pub state: SubscriptionState,
    pub handshake_at: Option<String>,
    pub last_heard_at: Option<String>,
    pub last_heartbeat_at: Option<String>,
    pub complete_to: u64,
    pub highest: u64,
    /// What the server has spoken of and did not come.
    pub missing: Vec<RangeInclusive<u64>>,
    pub gap_since: Option<String>,
    pub renumbered_at: Option<String>,
    pub silent_since: Option<String>,
    pub pull_wanted_at: Option<String>,
    pub repaired_at: Option<String>,
}

/// What a notification said, without what it brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub at: String,
    pub handshake: bool,
    pub heartbeat: bool,
    pub since_start: Option<u64>,
    pub events: Vec<Observed>,
    /// How the server says that the Subscription stands.
    pub state: Option<SubscriptionState>,
    /// Type and id of what has to be read, each with the number of its event; 0 where events have no
    /// numbers. What an event that was known already asks for is not asked for again.
    pub wanted: Vec<(u64, String, String)>,
    /// Something changed that nothing was said of.
    pub pull: bool,
    /// It is an answer to our question, not a delivery.
    pub asked: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Numbers that were not known before.
    pub new: Vec<u64>,
    pub missing: Vec<RangeInclusive<u64>>,
    /// A number meant two events, and that was not known before.
    pub renumbered: bool,
    /// The server speaks of fewer events than it did: a late delivery, or it counts anew.
    pub behind: bool,
}

/// A resource that a notification named without bringing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub subscription: String,
    pub resource_type: String,
    pub resource_id: String,
    /// How often it was asked for.
    pub attempts: i64,
}

/// One thing that changes in a Subscription besides what is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// The server has it, under this id.
    Posted {
        remote_id: String,
    },
    State(SubscriptionState),
    /// Nothing comes any more.
    Silent {
        at: String,
    },
    /// The server counts anew.
    Renumbered {
        at: String,
    },
    PullWanted {
        at: String,
    },
    /// All events that were missed came after all.
    Repaired {
        at: String,
    },
    /// Everything there was at `started` has been read again, and with it all events up to `through`.
    Reconciled {
        started: String,
        through: u64,
        at: String,
    },
    /// As `Reconciled`, and the server's count begins anew after `complete_to`.
    NewEpoch {
        complete_to: u64,
        at: String,
    },
}
