//! The numbered events of one sender: which came, which are missing, and whether the numbers can be
//! believed.
//!
//! Pure: it knows no sender, no clock and no store. Never guesses that an event came, and never
//! starts to count anew by itself: both are told by whoever made sure.
//!
//! Invariant: the state depends on the set of what was noted, not on its order or repetition.
//!
//! # Source
//! Subscriptions R5 Backport IG, "Missing Event":
//! > "the client tracks the `eventsSinceSubscriptionStart` of each received notification (per
//! > `Subscription`). When the client received event 23, they were aware that the last notification it
//! > received was a single notification for event 21."

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How far apart the times of one event may lie before it is another event: servers that repeat a
/// delivery may stamp it again.
const SAME_EVENT_MILLIS: i64 = 60_000;

/// An event as one notification tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observed {
    /// From 1.
    pub number: u64,
    /// When it happened, as milliseconds since 1970 UTC, if the sender says.
    pub at: Option<i64>,
    /// What it is about, if the sender says.
    pub focus: Option<String>,
}

/// All that was told of one number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub focus: Option<String>,
    pub first_at: Option<i64>,
    pub last_at: Option<i64>,
}

/// The state of one sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    /// Every number up to here came or was settled otherwise.
    pub complete_to: u64,
    /// The highest number that the sender has spoken of.
    pub highest: u64,
    /// One number meant two events: the sender counts anew.
    pub renumbered: bool,
    pub events: BTreeMap<u64, Seen>,
}

impl Track {
    /// Takes in what a notification says. `since_start` counts all events there were. Returns the
    /// numbers that were not known before.
    pub fn note(&mut self, since_start: Option<u64>, events: &[Observed]) -> Vec<u64> {
        let mut new = Vec::new();
        for event in events {
            self.highest = self.highest.max(event.number);
            let known = self.events.contains_key(&event.number);
            if !known && event.number > self.complete_to {
                new.push(event.number);
            }
            let seen = self.events.entry(event.number).or_default();
            self.renumbered |= seen.add(event);
        }
        self.highest = self.highest.max(since_start.unwrap_or(0));
        self.advance();
        new
    }

    /// Everything up to `through` is accounted for, however it was.
    pub fn settle(&mut self, through: u64) {
        self.complete_to = self.complete_to.max(through);
        self.highest = self.highest.max(through);
        self.advance();
    }

    /// What the sender has spoken of and did not come, in order.
    pub fn missing(&self) -> Vec<RangeInclusive<u64>> {
        let mut missing = Vec::new();
        let Some(mut next) = self.complete_to.checked_add(1) else { return missing };
        for number in self.events.range(next..).map(|(n, _)| *n) {
            if number > next {
                missing.push(next..=number - 1);
            }
            let Some(after) = number.checked_add(1) else { return missing };
            next = after;
        }
        if self.highest >= next {
            missing.push(next..=self.highest);
        }
        missing
    }

    fn advance(&mut self) {
        while let Some(next) = self.complete_to.checked_add(1)
            && self.events.contains_key(&next)
        {
            self.complete_to = next;
        }
    }
}

impl Seen {
    /// Adds one telling; true if it cannot be the same event.
    fn add(&mut self, told: &Observed) -> bool {
        let other = match (&self.focus, &told.focus) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        // The smallest of those told, so that the order does not matter.
        self.focus = match (self.focus.take(), &told.focus) {
            (Some(before), Some(now)) => Some(before.min(now.clone())),
            (before, now) => before.or_else(|| now.clone()),
        };
        self.first_at = [self.first_at, told.at].into_iter().flatten().min();
        self.last_at = [self.last_at, told.at].into_iter().flatten().max();
        let apart = match (self.first_at, self.last_at) {
            (Some(first), Some(last)) => last.saturating_sub(first) > SAME_EVENT_MILLIS,
            _ => false,
        };
        other || apart
    }
}

/// `22` or `22-25, 30`.
pub fn in_words(ranges: &[RangeInclusive<u64>]) -> String {
    let one = |r: &RangeInclusive<u64>| match (r.start(), r.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// How many numbers there are in all.
pub fn count(ranges: &[RangeInclusive<u64>]) -> u64 {
    ranges.iter().fold(0, |sum, r| sum.saturating_add((r.end() - r.start()).saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(number: u64) -> Observed {
        Observed { number, at: None, focus: None }
    }

    fn about(number: u64, focus: &str) -> Observed {
        Observed { focus: Some(focus.into()), ..event(number) }
    }

    fn at(number: u64, millis: i64) -> Observed {
        Observed { at: Some(millis), ..event(number) }
    }

    fn noted(events: &[u64]) -> Track {
        let mut track = Track::default();
        for number in events {
            track.note(None, &[event(*number)]);
        }
        track
    }

    #[test]
    fn a_jump_opens_a_gap() {
        for (events, complete_to, missing) in [
            (&[][..], 0, ""),
            (&[1], 1, ""),
            (&[1, 2, 3], 3, ""),
            (&[1, 2, 5], 2, "3-4"),
            (&[1, 3, 2, 2, 3], 3, ""),
            (&[3], 0, "1-2"),
            (&[1, 3, 5, 9], 1, "2, 4, 6-8"),
            (&[5, 4, 3, 2, 1], 5, ""),
        ] {
            let track = noted(events);
            assert_eq!(
                (track.complete_to, in_words(&track.missing()).as_str()),
                (complete_to, missing),
                "{events:?}"
            );
            assert!(!track.renumbered);
        }
        // 21 was the last, 23 comes.
        let mut track = noted(&[]);
        track.settle(20);
        track.note(Some(21), &[event(21)]);
        track.note(Some(23), &[event(23)]);
        assert_eq!(in_words(&track.missing()), "22");
        assert_eq!(track.note(Some(22), &[event(22)]), [22]);
        assert_eq!(track.missing(), []);
    }

    #[test]
    fn a_heartbeat_tells_of_events_that_did_not_come() {
        let mut track = noted(&[1, 2]);
        assert!(track.note(Some(4), &[]).is_empty());
        assert_eq!(in_words(&track.missing()), "3-4");
        assert_eq!(count(&track.missing()), 2);
        track.note(Some(2), &[]);
        assert_eq!(track.highest, 4, "a late heartbeat takes nothing back");
    }

    #[test]
    fn an_event_is_applied_once() {
        let mut track = Track::default();
        assert_eq!(track.note(Some(1), &[about(1, "Observation/a")]), [1]);
        let before = track.clone();
        assert!(track.note(Some(1), &[about(1, "Observation/a")]).is_empty());
        assert_eq!(track, before);
    }

    #[test]
    fn a_number_that_means_two_events_is_noticed() {
        for (first, second, renumbered) in [
            (about(1, "Observation/a"), about(1, "Observation/b"), true),
            (about(1, "Observation/a"), about(1, "Observation/a"), false),
            (about(1, "Observation/a"), event(1), false),
            (at(1, 0), at(1, SAME_EVENT_MILLIS), false),
            (at(1, 0), at(1, SAME_EVENT_MILLIS + 1), true),
            (at(1, 0), at(2, SAME_EVENT_MILLIS + 1), false),
        ] {
            for pair in [[&first, &second], [&second, &first]] {
                let mut track = Track::default();
                for event in pair {
                    track.note(None, std::slice::from_ref(event));
                }
                assert_eq!(track.renumbered, renumbered, "{pair:?}");
            }
        }
    }

    #[test]
    fn what_was_settled_is_not_missing() {
        let mut track = noted(&[1, 5, 7]);
        track.settle(5);
        assert_eq!((track.complete_to, in_words(&track.missing()).as_str()), (5, "6"));
        track.settle(2);
        assert_eq!(track.complete_to, 5);
        track.settle(u64::MAX);
        assert_eq!(track.missing(), []);
    }

    fn notification() -> impl Strategy<Value = (Option<u64>, Vec<Observed>)> {
        let focus = prop::option::of(prop::sample::select(vec!["a".to_owned(), "b".to_owned()]));
        let observed = (1..12u64, prop::option::of(0..100_000i64), focus)
            .prop_map(|(number, at, focus)| Observed { number, at, focus });
        (prop::option::of(0..15u64), prop::collection::vec(observed, 0..4))
    }

    proptest! {
        #[test]
        fn the_set_decides_not_the_order(
            (told, shuffled) in prop::collection::vec(notification(), 0..12).prop_flat_map(|told| {
                let twice: Vec<_> = told.iter().chain(&told).cloned().collect();
                (Just(told), Just(twice).prop_shuffle())
            })
        ) {
            let all = |told: &[(Option<u64>, Vec<Observed>)]| {
                let mut track = Track::default();
                for (since, events) in told {
                    track.note(*since, events);
                }
                track
            };
            let track = all(&told);
            prop_assert_eq!(&track, &all(&shuffled));
            // Every number is accounted for exactly once.
            let missing: Vec<u64> = track.missing().into_iter().flatten().collect();
            for number in 1..=track.highest {
                prop_assert!(track.events.contains_key(&number) != missing.contains(&number));
            }
        }
    }
}
