//! Sixty-four callers draw at once; a small form of `examples/draws` in every run of the tests. The large one
//! with `TRIALBRIDGE_DRAWS=1087`.

#[path = "../examples/draws/crowd.rs"]
mod crowd;

use crowd::{Crowd, PLANNED, WHO};
use std::sync::atomic::Ordering;

#[test]
fn many_callers_take_every_list_in_order_and_nobody_twice() {
    let trials = std::env::var("TRIALBRIDGE_DRAWS").ok().and_then(|n| n.parse().ok()).unwrap_or(80);
    let folder = tempfile::tempdir().expect("a folder");
    let crowd = Crowd::new(&folder.path().join("data"), trials);
    let counts = crowd.storm(64);
    crowd.check(&counts);
    (0..trials).for_each(|trial| crowd.check_balance(trial));
    // A fifth was undone, and some were repeated and doubled: or the storm was none.
    let of = |n: &std::sync::atomic::AtomicUsize| n.load(Ordering::Relaxed);
    assert!(of(&counts.rolled_back) * 6 >= trials * WHO, "{counts:?}");
    assert!(of(&counts.replayed) > trials && of(&counts.duplicates) > trials, "{counts:?}");
    // Whoever came too late stays without, and whoever drew stays with what was drawn.
    let late: Vec<usize> = (0..WHO).filter(|who| crowd.draw(0, *who).is_err()).collect();
    assert_eq!(late.len(), 1);
    assert_eq!(crowd.draw(0, late[0]).expect_err("used up").code(), "list-exhausted");
    assert_eq!(crowd.store.allocations("T0").expect("read").len(), PLANNED);
}
