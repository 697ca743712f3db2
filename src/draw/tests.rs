//! Random operations on a real store, against a plain model of lists, keys, strata and closings.
//!
//! A case is one trial (blocks in one stratum, blocks in two strata, minimization) and a few dozen
//! operations: draws, retries, doubled requests, attempts that are undone by a missing key, a check that
//! panics or an audit that cannot be written, data that come in, closings, marks, restarts. After each the
//! store must have answered as the model says; now and then, and at the end, everything is opened.

use super::list::plan_hash;
use super::*;
use crate::access::{Disclosure, Masking};
use crate::protocol::Definition;
use crate::protocol::document::SiteFile;
use crate::protocol::rule::Rule;
use crate::randomize::plan::{Past, assign};
use crate::randomize::seal::{self, Entropy, Order};
use crate::randomize::{Content, Ephemeral, Plan, Scheme, Seed};
use crate::store::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const AT: &str = "2026-11-22T08:00:00.000Z";
const DAY: &str = "2026-11-22";
const SUBJECTS: usize = 11;
const TOTAL: u32 = 8;

/// The three kinds of list.
const KINDS: [&str; 3] = [
    "scheme = \"permuted-blocks\"\nblock_sizes = [4]\n",
    "scheme = \"permuted-blocks\"\nblock_sizes = [4]\n[[allocation.factor]]\nname = \"sex\"\nvariable = \"sex\"\nlevels = [\"female\", \"male\"]\n",
    "scheme = \"minimization\"\nprobability = \"0.8\"\ndistance = \"range\"\n[[allocation.factor]]\nname = \"sex\"\nvariable = \"sex\"\nlevels = [\"female\", \"male\"]\n",
];

#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    /// The service has no key to the list.
    NoKey,
    /// The check panics behind everything that was read.
    Panics,
    /// The audit entry cannot be written.
    Unaudited,
    /// The decision is not the one that was signed for.
    SeenOther,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Draw { subject: usize, key: usize, way: Way },
    Arrives { subject: usize },
    Judge { subject: usize },
    Close,
    Reopen,
    Mark { subject: usize },
    Restart,
}

/// The chain of the audit log, which can be told that no entry follows the one with this number. What is
/// there already is left to be proved.
struct Breakable {
    chain: AuditChain,
    ends_at: AtomicU64,
}

/// Entries follow without end.
const ENDLESS: u64 = u64::MAX;

impl Chain for Breakable {
    fn next(&self, previous: Option<(u64, &str)>, entry: &NewAudit) -> (u64, String, String) {
        let ends = self.ends_at.load(Ordering::Relaxed);
        match previous.is_some_and(|(sequence, _)| sequence == ends) {
            // A number that no row can have.
            true => (u64::MAX, String::new(), String::new()),
            false => self.chain.next(previous, entry),
        }
    }

    fn anchor(&self) -> Option<&dyn Anchor> {
        None
    }
}

struct World {
    dir: TempDir,
    chain: Arc<Breakable>,
    store: Option<SqliteStore>,
    trial: Arc<Trial>,
    plan: Plan,
    key: SealKey,
}

/// What should have happened.
#[derive(Default)]
struct Model {
    drawn: Vec<Taken>,
    marked: BTreeSet<usize>,
    dirty: BTreeSet<usize>,
    is_closed: bool,
    events: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Taken {
    subject: usize,
    key: String,
    stratum: i64,
    position: i64,
}

fn name(subject: usize) -> String {
    format!("Patient/{subject}")
}

fn signature(meaning: &str) -> NewSignature {
    NewSignature {
        actor: "Dr Li".into(),
        printed_name: "Li".into(),
        role: "investigator".into(),
        meaning: meaning.into(),
        subject: None,
        record: "{}".into(),
        method: SignatureMethod::Password,
        at: AT.into(),
    }
}

fn trial(kind: usize) -> Trial {
    let mut definition = Definition::shipped();
    let sources = definition.files.iter_mut().map(|file| {
        let text = file.text.replace("total = 92", &format!("total = {TOTAL}"));
        let text = text.replace(
            "scheme = \"permuted-blocks\"\nblock_sizes = [4, 6]\ndecision_valid_days = 1\n",
            KINDS[kind],
        );
        (file.name.clone(), text)
    });
    let definition = Definition::read(sources.collect()).expect("a definition");
    Trial::compile(&definition, &SiteFile::default()).expect("a trial")
}

impl World {
    fn new(kind: usize) -> World {
        let trial = trial(kind);
        let plan = trial.plan().expect("a plan");
        assert_eq!((plan.total, plan.factors.len()), (TOTAL, kind.min(1)), "the definition was changed");
        let chain = Arc::new(Breakable { chain: AuditChain::unanchored(), ends_at: AtomicU64::new(ENDLESS) });
        let mut world = World {
            dir: tempfile::tempdir().expect("a folder"),
            chain,
            store: None,
            trial: Arc::new(trial),
            plan,
            key: SealKey::new([3; 32]),
        };
        world.restart();
        world.store().put_allocation_list(world.list()).expect("a list");
        (0..SUBJECTS).for_each(|subject| world.judge(subject));
        world
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().expect("open")
    }

    fn restart(&mut self) {
        self.store = None;
        let chain = Arc::clone(&self.chain) as Arc<dyn Chain>;
        self.store = Some(SqliteStore::open(self.dir.path(), "test", AT, chain).expect("opened"));
    }

    fn list(&self) -> NewAllocationList {
        let order = Order {
            id: "list-1",
            trial: &self.trial.study.id,
            definition: self.trial.hash.parse().expect("a hash"),
            plan: &self.plan,
            imported: None,
            statisticians: &[],
        };
        let entropy =
            Entropy { seed: Seed::new([5; 32]), nonce_seed: [6; 32], ephemeral: Ephemeral::new([7; 32]) };
        let sealed = seal::seal(&order, &self.key, &entropy).expect("sealed");
        let slot = |slot: &seal::SealedSlot| NewSlot {
            stratum: slot.stratum.into(),
            position: slot.position.into(),
            sealed: serde_json::to_vec(slot).expect("JSON"),
        };
        NewAllocationList {
            id: "list-1".into(),
            trial: self.trial.study.id.clone(),
            definition: self.trial.hash.clone(),
            plan: list_hash(&self.trial).expect("a plan"),
            commitment: sealed.public.header.commitment.to_string(),
            total: TOTAL.into(),
            created_at: AT.into(),
            json: serde_json::to_string(&sealed.public).expect("JSON"),
            slots: sealed.slots.iter().map(slot).collect(),
            signature: signature("allocation-list"),
            audit: NewAudit {
                at: AT.into(),
                actor: "S".into(),
                role: "statistician".into(),
                action: "allocation.generate".into(),
                subject: None,
                detail: "{}".into(),
            },
        }
    }

    fn judge(&self, subject: usize) {
        let name = name(subject);
        let change = self.store().dirty(100).expect("read").into_iter().find(|d| d.subject == name);
        let consents = self.trial.criteria.iter().filter(|c| matches!(c.rule, Rule::Consent));
        let criteria: Vec<_> = consents.map(|c| json!({"id": c.id, "verdict": "met"})).collect();
        assert!(!criteria.is_empty(), "the trial asks for consent");
        let sex = if subject.is_multiple_of(2) { "female" } else { "male" };
        let json =
            json!({"decision": "eligible", "criteria": criteria, "variables": {"sex": {"value": sex}}});
        let decision = NewDecision {
            subject: name,
            as_of: DAY.into(),
            decided_at: AT.into(),
            decision: "eligible".into(),
            deciding: vec![],
            definition: self.trial.hash.clone(),
            input: format!("sha256:input-{subject}"),
            json: json.to_string(),
            facts: vec![],
            gaps: vec![],
            change: change.map(|d| d.change),
            records: 0,
            reads: Vec::new(),
            outbox: vec![],
        };
        self.store().put_decision(decision).expect("decided");
    }

    fn stratum(&self, subject: usize) -> i64 {
        if self.plan.is_stratified() { (subject % 2) as i64 } else { 0 }
    }

    /// The word for how a draw ended: `new`, `replayed`, or the code of what stood in the way.
    fn draw(&self, subject: usize, key: &str, way: Way) -> String {
        let seen = if let Way::SeenOther = way {
            "sha256:other".to_owned()
        } else {
            format!("sha256:input-{subject}")
        };
        if let Way::Panics = way {
            let request = AllocationRequest {
                idempotency_key: key.to_owned(),
                trial: self.trial.study.id.clone(),
                subject: name(subject),
                seen: Some(seen),
                signature: signature("randomize"),
                at: AT.into(),
                outbox: vec![],
            };
            let trial = Arc::clone(&self.trial);
            let check: Check = Box::new(move |snapshot, desk| {
                let place =
                    check::place(snapshot, &trial, DAY.parse().expect("a day"), &Foreseen::default())?;
                desk.slot(place.stratum)?;
                panic!("a fault in a check")
            });
            return word(self.store().allocate(request, check));
        }
        let asked = Asked {
            subject: name(subject),
            idempotency_key: key.to_owned(),
            seen: Some(seen),
            signature: NewSignature { subject: Some(name(subject)), ..signature("randomize") },
            now: AT.parse().expect("an instant"),
            today: DAY.parse().expect("a day"),
        };
        let missing = Refusal { code: "no-key".into(), text: "no key".into() };
        let seal_key = if let Way::NoKey = way { Err(missing) } else { Ok(self.key.clone()) };
        if let Way::Unaudited = way {
            let head = self.store().audit_head().expect("read").expect("an entry");
            self.chain.ends_at.store(head.sequence, Ordering::Relaxed);
        }
        let drawn = draw(self.store(), &self.trial, seal_key, asked);
        self.chain.ends_at.store(ENDLESS, Ordering::Relaxed);
        word(drawn)
    }

    fn allocation(&self, subject: usize) -> Option<Allocation> {
        self.store().allocation_of(&self.trial.study.id, &name(subject)).expect("read")
    }

    /// Everything stored is what the model says, everything that can be checked holds.
    fn check(&self, model: &Model) {
        let (store, id) = (self.store(), &self.trial.study.id);
        let all = store.allocations(id).expect("read");
        let stored: Vec<Taken> = all
            .iter()
            .map(|a| Taken {
                subject: a.subject.strip_prefix("Patient/").and_then(|n| n.parse().ok()).expect("a subject"),
                key: a.idempotency_key.clone(),
                stratum: a.stratum,
                position: a.position,
            })
            .collect();
        assert_eq!(stored, model.drawn);
        assert_eq!(
            all.iter().map(|a| a.number).collect::<Vec<_>>(),
            (1..=all.len() as i64).collect::<Vec<_>>()
        );
        assert_eq!(store.verify().expect("verified").findings, []);
        assert_eq!(unproved(store, id), Ok(vec![]));
        assert_eq!(store.signatures(None).expect("read").len(), 1 + all.len() + model.events);
        assert_eq!(store.outbox(None, 100).expect("read").len(), all.len());
        let audited = store.audit_entries(0, 10_000).expect("read");
        assert_eq!(audited.iter().filter(|e| e.entry.action == "allocate").count(), all.len());
        self.check_arms(&all);
    }

    /// Every arm is the one that the list, drawn up anew, gives in this order.
    fn check_arms(&self, all: &[Allocation]) {
        let list = self.store().allocation_list(&self.trial.study.id).expect("read").expect("a list");
        let public: seal::Public = serde_json::from_str(&list.json).expect("the public part");
        let places = seal::reveal(&public, &self.key).expect("revealed").places;
        let masking = Masking { write_back: Disclosure::Disclose, ..Masking::strictest() };
        let opener = Opener::new(self.store(), &self.trial, &self.key);
        let (mut past, mut ahead): (Vec<Past>, [i64; 2]) = (Vec::new(), [0; 2]);
        for a in all {
            let place = places
                .iter()
                .find(|p| (i64::from(p.stratum), i64::from(p.position)) == (a.stratum, a.position))
                .expect("a place");
            let subject: usize = a.subject["Patient/".len()..].parse().expect("a subject");
            let levels: Vec<usize> = self.plan.factors.iter().map(|_| subject % 2).collect();
            let arm = assign(&self.plan, &place.content, &levels, &past).expect("an arm");
            if let Content::Arm(_) = place.content {
                ahead[a.stratum as usize] += if arm == 0 { 1 } else { -1 };
                assert!(ahead[a.stratum as usize].abs() <= 2, "more than half a block apart");
            }
            past.push(Past { levels, arm });
            let now = AT.parse().expect("an instant");
            // Both ways: with what was worked out before, and from nothing.
            let told = opener.disclose(&masking, a, Viewer::WriteBack, now).expect("told");
            let alone = disclose(self.store(), &self.trial, &self.key, &masking, a, Viewer::WriteBack, now);
            assert_eq!(told.expose(), self.plan.arms.names()[arm]);
            assert!(alone.expect("told") == told);
        }
    }
}

fn word(drawn: Result<AllocationOutcome, AllocateError>) -> String {
    match drawn {
        Ok(outcome) if outcome.replayed => "replayed".to_owned(),
        Ok(_) => "new".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

impl Model {
    /// How a draw has to end.
    fn draw(&mut self, world: &World, subject: usize, key: &str, way: Way) -> String {
        let word = self.decided(world, subject, key, way);
        if word == "new" {
            let stratum = world.stratum(subject);
            self.drawn.push(Taken { subject, key: key.to_owned(), stratum, position: self.next(stratum) });
        }
        word.to_owned()
    }

    fn next(&self, stratum: i64) -> i64 {
        self.drawn.iter().filter(|t| t.stratum == stratum).count() as i64 + 1
    }

    fn decided(&self, world: &World, subject: usize, key: &str, way: Way) -> &'static str {
        match self.drawn.iter().find(|t| t.key == key) {
            Some(taken) if taken.subject == subject => return "replayed",
            Some(_) => return "key-reuse",
            None => {}
        }
        let length = i64::from(world.plan.length().expect("a list"));
        let next = self.next(world.stratum(subject));
        match way {
            _ if self.drawn.iter().any(|t| t.subject == subject) => "duplicate",
            Way::SeenOther => "record-changed",
            _ if self.is_closed => "trial-closed",
            _ if self.dirty.contains(&subject) => "stale-eligibility",
            _ if self.drawn.len() >= TOTAL as usize || next > length => "list-exhausted",
            Way::NoKey => "no-key",
            // What a fault of ours is called outside, so that nobody takes it for a refusal.
            Way::Panics | Way::Unaudited => "storage-failed",
            Way::Plain => "new",
        }
    }
}

/// Does one thing, to the store and to the model, and compares the answers.
fn step(world: &mut World, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Draw { subject, key, way } => {
            let key = format!("key {key}");
            let expected = model.draw(world, subject, &key, way);
            assert_eq!(world.draw(subject, &key, way), expected, "{operation:?}");
        }
        Operation::Arrives { subject } => {
            world.store().mark_dirty(vec![name(subject)], AT).expect("marked");
            model.dirty.insert(subject);
        }
        Operation::Judge { subject } => {
            world.judge(subject);
            model.dirty.remove(&subject);
        }
        Operation::Close | Operation::Reopen => {
            let closes = matches!(operation, Operation::Close);
            let said = match closes {
                true => close(world.store(), &world.trial, "r", signature("close")),
                false => reopen(world.store(), &world.trial, "r", signature("reopen")),
            };
            assert_eq!(said.is_ok(), model.is_closed != closes);
            model.events += usize::from(said.is_ok());
            model.is_closed = closes;
        }
        Operation::Mark { subject } => {
            let Some(allocation) = world.allocation(subject) else {
                return assert!(model.drawn.iter().all(|t| t.subject != subject));
            };
            let said = mark_in_error(world.store(), &world.trial, &allocation, "r", signature("mark"));
            assert_eq!(said.is_ok(), model.marked.insert(subject));
            model.events += usize::from(said.is_ok());
        }
        Operation::Restart => {
            world.restart();
            world.check(model);
        }
    }
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let ways = prop_oneof![
        12 => Just(Way::Plain),
        1 => Just(Way::NoKey),
        1 => Just(Way::Panics),
        1 => Just(Way::Unaudited),
        1 => Just(Way::SeenOther),
    ];
    let subject = 0..SUBJECTS;
    // A key of one's own most of the time; else one of a few that others use as well.
    let draw = (0..SUBJECTS, ways, prop::option::weighted(0.2, 0..SUBJECTS))
        .prop_map(|(subject, way, other)| Operation::Draw { subject, key: other.unwrap_or(subject), way });
    let operation = prop_oneof![
        16 => draw,
        1 => subject.clone().prop_map(|subject| Operation::Arrives { subject }),
        2 => subject.clone().prop_map(|subject| Operation::Judge { subject }),
        1 => Just(Operation::Close),
        2 => Just(Operation::Reopen),
        1 => subject.prop_map(|subject| Operation::Mark { subject }),
        1 => Just(Operation::Restart),
    ];
    prop::collection::vec(operation, 1..40)
}

#[test]
fn the_store_does_what_a_plain_model_does() {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let seen = std::cell::RefCell::new(BTreeSet::new());
    TestRunner::new(config)
        .run(&(0..KINDS.len(), operations()), |(kind, operations)| {
            let (mut world, mut model) = (World::new(kind), Model::default());
            for operation in operations {
                step(&mut world, &mut model, operation);
            }
            world.check(&model);
            seen.borrow_mut().insert((kind, model.drawn.len().min(6)));
            Ok(())
        })
        .expect("the model and the store agree");
    assert!(seen.borrow().iter().filter(|(_, drawn)| *drawn == 6).count() > 0, "no case went far: {seen:?}");
}

#[test]
fn a_list_is_used_up_in_every_kind_of_trial() {
    for kind in 0..KINDS.len() {
        let (mut world, mut model) = (World::new(kind), Model::default());
        for subject in 0..SUBJECTS {
            step(&mut world, &mut model, Operation::Draw { subject, key: subject, way: Way::Plain });
        }
        assert_eq!(model.drawn.len(), TOTAL as usize);
        step(&mut world, &mut model, Operation::Restart);
    }
}

#[test]
fn a_plan_is_told_from_every_other() {
    let plan = |kind| trial(kind).plan().expect("a plan");
    let hashes: BTreeSet<String> = (0..KINDS.len()).map(|kind| plan_hash(&plan(kind))).collect();
    assert_eq!(hashes.len(), KINDS.len());
    let of = |sizes: &[u32]| {
        plan_hash(&Plan { scheme: Scheme::PermutedBlocks { sizes: sizes.to_vec() }, ..plan(0) })
    };
    assert_eq!(of(&[4, 6]), of(&[6, 4]), "their order means nothing");
    assert_ne!(of(&[4]), of(&[4, 6]));
    assert_ne!(plan_hash(&Plan { total: 12, ..plan(0) }), plan_hash(&plan(0)));
}

#[test]
fn a_factor_that_is_not_known_refuses_the_draw_by_its_name() {
    let world = World::new(1);
    let mut decision = world.store().latest_decision("Patient/0").expect("read").expect("decided");
    decision.json = decision.json.replace("female", "unheard-of");
    let new = NewDecision {
        subject: decision.subject,
        as_of: decision.as_of,
        decided_at: decision.decided_at,
        decision: decision.decision,
        deciding: decision.deciding,
        definition: decision.definition,
        input: decision.input,
        json: decision.json,
        facts: vec![],
        gaps: vec![],
        change: None,
        records: 0,
        reads: Vec::new(),
        outbox: vec![],
    };
    world.store().put_decision(new).expect("decided");
    assert_eq!(world.draw(0, "k", Way::Plain), "stratum-unknown");
    let refused = consider(world.store(), &world.trial, "Patient/0", DAY.parse().expect("a day"));
    let text = refused.expect_err("refused").to_string();
    assert!(text.contains("`sex`") && !text.contains("unheard-of"), "{text}");
}

#[test]
fn who_may_not_see_an_arm_is_told_nothing_and_leaves_no_entry() {
    use crate::access::Role;
    let world = World::new(0);
    assert_eq!(world.draw(0, "k", Way::Plain), "new");
    let allocation = world.allocation(0).expect("allocated");
    let entries = || world.store().audit_entries(0, 1000).expect("read").len();
    let before = entries();
    let look = |masking: &Masking, viewer: Viewer<'_>| {
        let now = AT.parse().expect("an instant");
        disclose(world.store(), &world.trial, &world.key, masking, &allocation, viewer, now)
    };
    let strict = Masking::strictest();
    for role in [Role::Coordinator, Role::Investigator, Role::Monitor, Role::Administrator, Role::Operator] {
        assert!(
            matches!(look(&strict, Viewer::Person { actor: "x", role }), Err(NoArm::NotPermitted)),
            "{role}"
        );
    }
    assert!(matches!(look(&strict, Viewer::WriteBack), Err(NoArm::NotPermitted)));
    assert_eq!(entries(), before);
    for (looks, role) in [Role::Pharmacist, Role::Statistician].into_iter().enumerate() {
        let arm = look(&strict, Viewer::Person { actor: "x", role }).expect("shown");
        assert!(world.plan.arms.names().iter().any(|name| name == arm.expose()));
        assert_eq!(entries(), before + looks + 1);
    }
    let last = world.store().audit_head().expect("read").expect("an entry").entry;
    assert_eq!((last.action.as_str(), last.role.as_str()), ("arm.disclose", "statistician"));
    // A row that is not the stored one is not opened.
    let other = Allocation { position: 2, ..allocation.clone() };
    let now = AT.parse().expect("an instant");
    let viewer = Viewer::Person { actor: "x", role: Role::Pharmacist };
    let found = disclose(world.store(), &world.trial, &world.key, &strict, &other, viewer, now);
    assert!(matches!(found, Err(NoArm::Exchanged { .. })));
}
