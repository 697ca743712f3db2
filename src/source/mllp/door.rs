//! Who is inside: counts connections, of all peers and of each, and never lets in one too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
pub struct Door {
    most: usize,
    most_of_peer: usize,
    inside: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection that was let in. Dropping it makes room for another.
pub struct Pass {
    door: Arc<Door>,
    peer: IpAddr,
}

impl Door {
    pub fn new(most: usize, most_of_peer: usize) -> Door {
        Door { most, most_of_peer, inside: Mutex::default() }
    }

    /// Lets one more connection in.
    ///
    /// # Errors
    /// A fixed word that says which limit is reached.
    pub fn enter(self: &Arc<Door>, peer: IpAddr) -> Result<Pass, &'static str> {
        // Counts stay true when a holder panics: each change is one step.
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = inside.values().sum();
        let own = inside.get(&peer).copied().unwrap_or_default();
        if own >= self.most_of_peer {
            return Err("too-many-of-peer");
        }
        if all >= self.most {
            return Err("too-many-connections");
        }
        inside.insert(peer, own + 1);
        metrics::gauge!("trialbridge_mllp_connections").set((all + 1) as f64);
        Ok(Pass { door: Arc::clone(self), peer })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = inside.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                inside.remove(&self.peer);
            }
        }
        metrics::gauge!("trialbridge_mllp_connections").set(inside.values().sum::<usize>() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_waits_outside_until_somebody_leaves() {
        let door = Arc::new(Door::new(3, 2));
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().expect("an address"));
        let first = door.enter(one).expect("room");
        let second = door.enter(one).expect("room");
        assert_eq!(door.enter(one).err(), Some("too-many-of-peer"));
        let third = door.enter(other).expect("room");
        assert_eq!(door.enter(other).err(), Some("too-many-connections"));
        drop(first);
        assert!(door.enter(other).is_ok(), "and is dropped at once");
        let again = door.enter(one).expect("room");
        drop((second, third, again));
        assert!(door.inside.lock().expect("not poisoned").is_empty());
    }
}
