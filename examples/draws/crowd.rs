//! Many callers who draw at once for many trials in one database: for the test, the measurement and the
//! benchmark alike.

use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trialbridge::draw::{self, Asked};
use trialbridge::protocol::document::SiteFile;
use trialbridge::protocol::rule::Rule;
use trialbridge::protocol::{Definition, Trial};
use trialbridge::randomize::seal::{self, Entropy, Order};
use trialbridge::randomize::{Ephemeral, SealKey, Seed};
use trialbridge::store::{
    AllocateError, AllocationOutcome, AuditChain, FileAnchor, NewAllocationList, NewAudit, NewDecision,
    NewSignature, NewSlot, Refusal, SignatureMethod, SqliteStore, Store,
};

/// Participants of each trial, and slots of its list.
pub const PLANNED: usize = 92;
/// One more than there are slots.
pub const WHO: usize = PLANNED + 1;
/// The greatest imbalance on the way through blocks of 4 and 6.
const IMBALANCE: i64 = 3;
const AT: &str = "2026-11-22T08:00:00.000Z";
const DAY: &str = "2026-11-22";

/// Trials with their sealed lists, and everybody eligible in all of them.
pub struct Crowd {
    pub store: Arc<dyn Store>,
    pub trials: Vec<Arc<Trial>>,
    key: SealKey,
    now: DateTime<Utc>,
    today: NaiveDate,
}

/// What became of the attempts.
#[derive(Debug, Default)]
pub struct Counts {
    pub attempts: AtomicUsize,
    pub allocated: AtomicUsize,
    pub replayed: AtomicUsize,
    pub rolled_back: AtomicUsize,
    pub duplicates: AtomicUsize,
    pub exhausted: AtomicUsize,
}

/// How an attempt is made.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    /// Everything is checked, the slot is read, and then the transaction is undone.
    Undone,
    OtherKey,
}

impl Crowd {
    pub fn new(folder: &Path, trials: usize) -> Crowd {
        // As in an installation: every commit is anchored in a file beside the data, and waits for it.
        let data = folder.join("data");
        let chain = Arc::new(AuditChain::anchored(Arc::new(FileAnchor::new(&folder.join("anchor")))));
        let store = SqliteStore::open(&data, "draws", AT, chain).expect("a store");
        let crowd = Crowd {
            store: Arc::new(store),
            trials: (0..trials).map(trial).collect(),
            key: SealKey::new([7; 32]),
            now: AT.parse().expect("an instant"),
            today: DAY.parse().expect("a day"),
        };
        let Some(first) = crowd.trials.first() else { return crowd };
        for who in 0..WHO {
            crowd.store.put_decision(eligible(first, who)).expect("a decision");
        }
        for (n, trial) in crowd.trials.iter().enumerate() {
            crowd.store.put_allocation_list(list(trial, n, &crowd.key)).expect("a list");
        }
        crowd
    }

    /// One draw, under a key of the participant's own.
    pub fn draw(&self, trial: usize, who: usize) -> Result<AllocationOutcome, AllocateError> {
        self.attempt(trial, who, Way::Plain)
    }

    fn attempt(&self, trial: usize, who: usize, way: Way) -> Result<AllocationOutcome, AllocateError> {
        let name = subject(who);
        let signature = signature(&name);
        let other = if let Way::OtherKey = way { "again" } else { "first" };
        let asked = Asked {
            idempotency_key: format!("{trial} {name} {other}"),
            subject: name,
            seen: Some(format!("sha256:input-{who}")),
            signature,
            now: self.now,
            today: self.today,
        };
        let key = match way {
            Way::Undone => Err(Refusal { code: "undone".into(), text: "undone on purpose".into() }),
            _ => Ok(self.key.clone()),
        };
        draw::draw(&*self.store, &self.trials[trial], key, asked)
    }

    /// Everybody for every trial from so many threads: a fifth of the attempts is undone first, a tenth is
    /// repeated under the same key, a tenth under another. The order is shuffled, and the same every time.
    pub fn storm(&self, threads: usize) -> Counts {
        let tasks = self.trials.len() * WHO;
        let order = shuffled(tasks);
        let (next, counts) = (AtomicUsize::new(0), Counts::default());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(task) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.participant(task / WHO, task % WHO, &counts);
                    }
                });
            }
        });
        counts
    }

    fn participant(&self, trial: usize, who: usize, counts: &Counts) {
        let count = |what: &AtomicUsize| {
            counts.attempts.fetch_add(1, Ordering::Relaxed);
            what.fetch_add(1, Ordering::Relaxed);
        };
        let dice = (trial * 31 + who * 17) % 10;
        if dice < 2 {
            match self.attempt(trial, who, Way::Undone).expect_err("undone").code() {
                "undone" | "list-exhausted" => count(&counts.rolled_back),
                other => panic!("an attempt that is undone ends as {other}"),
            }
        }
        let made = match self.draw(trial, who) {
            Ok(outcome) => {
                assert!(!outcome.replayed, "nobody drew for this participant before");
                count(&counts.allocated);
                outcome.allocation
            }
            Err(error) => {
                assert_eq!(error.code(), "list-exhausted", "{error}");
                return count(&counts.exhausted);
            }
        };
        if dice == 5 {
            let again = self.draw(trial, who).expect("replayed");
            assert!(again.replayed && again.allocation == made);
            count(&counts.replayed);
        }
        if dice == 6 {
            let error = self.attempt(trial, who, Way::OtherKey).expect_err("allocated already");
            assert_eq!(error.code(), "duplicate");
            assert!(error.to_string().contains(&made.id), "{error}");
            count(&counts.duplicates);
        }
    }

    /// Everything that must hold afterwards, of every trial.
    pub fn check(&self, counts: &Counts) {
        let of = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        assert_eq!(of(&counts.allocated), self.trials.len() * PLANNED, "every slot is taken once");
        assert_eq!(of(&counts.exhausted), self.trials.len(), "one participant a trial comes too late");
        for trial in &self.trials {
            let id = &trial.study.id;
            let all = self.store.allocations(id).expect("read");
            let places: Vec<(i64, i64, i64)> =
                all.iter().map(|a| (a.number, a.stratum, a.position)).collect();
            let expected: Vec<(i64, i64, i64)> = (1..=PLANNED as i64).map(|n| (n, 0, n)).collect();
            assert_eq!(places, expected, "{id}: in list order, without a hole");
            assert_eq!(all.iter().map(|a| &a.subject).collect::<BTreeSet<_>>().len(), PLANNED, "{id}");
            assert_eq!(draw::unproved(&*self.store, id), Ok(Vec::new()), "{id}: every proof holds");
        }
        assert_eq!(self.store.verify().expect("verified").findings, []);
    }

    /// The arms of one trial, opened: their running imbalance never exceeds half of the greatest block.
    pub fn check_balance(&self, trial: usize) {
        let trial = &self.trials[trial];
        let (mut ahead, mut worst) = (0i64, 0i64);
        let list = self.store.allocation_list(&trial.study.id).expect("read").expect("a list");
        let public: seal::Public = serde_json::from_str(&list.json).expect("the public part");
        let slots = self.store.sealed_slots(&list.id).expect("read");
        for slot in slots.iter().take(self.store.allocations(&trial.study.id).expect("read").len()) {
            let slot = serde_json::from_slice(slot).expect("a slot");
            let opened = seal::open_slot(&public.header, &slot, &self.key).expect("opened");
            let trialbridge::randomize::Held::Arm(arm) = opened.held else { panic!("a list of blocks") };
            ahead += if arm.expose() == trial.arms[0].name { 1 } else { -1 };
            worst = worst.max(ahead.abs());
        }
        assert!(worst <= IMBALANCE && ahead == 0, "{worst} apart on the way, {ahead} at the end");
    }
}

pub fn subject(who: usize) -> String {
    format!("Patient/{who}")
}

fn signature(subject: &str) -> NewSignature {
    NewSignature {
        actor: "Dr Li".into(),
        printed_name: "Li".into(),
        role: "investigator".into(),
        meaning: "randomize".into(),
        subject: Some(subject.to_owned()),
        record: "{}".into(),
        method: SignatureMethod::Password,
        at: AT.into(),
    }
}

/// The shipped trial under a number of its own.
fn trial(number: usize) -> Arc<Trial> {
    let mut trial = Trial::compile(&Definition::shipped(), &SiteFile::default()).expect("the shipped trial");
    trial.study.id = format!("T{number}");
    Arc::new(trial)
}

fn eligible(trial: &Trial, who: usize) -> NewDecision {
    let consents = trial.criteria.iter().filter(|c| matches!(c.rule, Rule::Consent));
    let criteria: Vec<serde_json::Value> =
        consents.map(|c| serde_json::json!({"id": c.id, "verdict": "met"})).collect();
    NewDecision {
        subject: subject(who),
        as_of: DAY.into(),
        decided_at: AT.into(),
        decision: "eligible".into(),
        deciding: Vec::new(),
        definition: trial.hash.clone(),
        input: format!("sha256:input-{who}"),
        json: serde_json::json!({"decision": "eligible", "criteria": criteria}).to_string(),
        facts: Vec::new(),
        gaps: Vec::new(),
        change: None,
        records: 0,
        reads: Vec::new(),
        outbox: Vec::new(),
    }
}

fn list(trial: &Trial, number: usize, key: &SealKey) -> NewAllocationList {
    let plan = trial.plan().expect("a plan");
    let id = format!("list-{number}");
    let order = Order {
        id: &id,
        trial: &trial.study.id,
        definition: trial.hash.parse().expect("a hash"),
        plan: &plan,
        imported: None,
        statisticians: &[],
    };
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let entropy = Entropy { seed: Seed::new(seed), nonce_seed: seed, ephemeral: Ephemeral::new(seed) };
    let sealed = seal::seal(&order, key, &entropy).expect("a list");
    let slot = |slot: &seal::SealedSlot| NewSlot {
        stratum: slot.stratum.into(),
        position: slot.position.into(),
        sealed: serde_json::to_vec(slot).expect("a slot is JSON"),
    };
    NewAllocationList {
        id: id.clone(),
        trial: trial.study.id.clone(),
        definition: trial.hash.clone(),
        plan: draw::list_hash(trial).expect("a plan"),
        commitment: sealed.public.header.commitment.to_string(),
        total: plan.total.into(),
        created_at: AT.into(),
        json: serde_json::to_string(&sealed.public).expect("a header is JSON"),
        slots: sealed.slots.iter().map(slot).collect(),
        signature: NewSignature { subject: None, meaning: "allocation-list".into(), ..signature("") },
        audit: NewAudit {
            at: AT.into(),
            actor: "statistician".into(),
            role: "statistician".into(),
            action: "allocation.generate".into(),
            subject: None,
            detail: "{}".into(),
        },
    }
}

/// The numbers below `count` in an order that looks like none: Fisher and Yates with a fixed multiplier.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for i in (1..count).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    order
}
