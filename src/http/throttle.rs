//! How many requests a second one caller may send. Whoever sends more waits; nobody else notices.

use super::auth::Caller;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Callers that were not heard of for a while are forgotten every so many requests.
const PRUNED_EVERY: u32 = 4096;

type Buckets<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// A bucket of tokens for each caller: by name, or by address where callers have no names. It holds
/// what may be sent in one second and fills within a second.
pub struct Throttle {
    names: Buckets<Arc<str>>,
    addresses: Buckets<IpAddr>,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl Throttle {
    /// `None` for 0: no limit.
    pub fn new(max_per_second: u32) -> Option<Throttle> {
        let quota = Quota::per_second(NonZeroU32::new(max_per_second)?);
        Some(Throttle {
            names: RateLimiter::hashmap(quota),
            addresses: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        })
    }

    /// Takes one token of a caller's.
    ///
    /// # Errors
    /// Whole seconds, at least one, after which the caller may come again: for 429 and `Retry-After`.
    pub fn check(&self, caller: Option<&Caller>, address: IpAddr) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % PRUNED_EVERY == PRUNED_EVERY - 1 {
            self.names.retain_recent();
            self.addresses.retain_recent();
        }
        match caller {
            Some(caller) => take(&self.names, &caller.name, &self.clock),
            None => take(&self.addresses, &address, &self.clock),
        }
        .map_err(|wait| {
            metrics::counter!("trialbridge_http_refused_total", "reason" => "too-many-requests").increment(1);
            wait.as_secs() + 1
        })
    }
}

fn take<K: Hash + Eq + Clone>(buckets: &Buckets<K>, key: &K, clock: &DefaultClock) -> Result<(), Duration> {
    buckets.check_key(key).map_err(|refused| refused.wait_time_from(clock.now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_waits_and_the_others_do_not() {
        // One a second: no test is slow enough to be given a third.
        let throttle = Throttle::new(1).expect("a limit");
        let [lab, ward] = ["lab", "ward"].map(|name| Caller { name: name.into() });
        let [here, there] = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        assert_eq!(throttle.check(Some(&lab), here), Ok(()));
        let refused = (0..50).filter(|_| throttle.check(Some(&lab), here) == Err(1)).count();
        assert!(refused >= 45, "{refused}");
        assert_eq!(throttle.check(Some(&ward), here), Ok(()));
        assert_eq!(throttle.check(None, here), Ok(()));
        assert_eq!(throttle.check(None, there), Ok(()));
        assert!(Throttle::new(0).is_none());
    }

    #[test]
    fn the_number_of_buckets_stays_small() {
        let throttle = Throttle::new(1_000_000_000).expect("a limit");
        for n in 0..3 * PRUNED_EVERY {
            let _ = throttle.check(None, IpAddr::from(n.to_be_bytes()));
        }
        assert!(throttle.addresses.len() <= PRUNED_EVERY as usize + 1, "{}", throttle.addresses.len());
    }
}
