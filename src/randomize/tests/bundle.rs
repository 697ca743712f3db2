//! The public bundle and the revealed list: what they hold, and that every altered field is found.
//!
//! The bundles are fixtures as well, which the Python program of `docs/randomization.md` verifies.

use super::super::{
    bundle::{Allocated, Bundle, Fault, RevealedList, reveal, revealed_list, verify, verify_revealed},
    digest::{Digest, Hex},
    *,
};
use super::{blocks_of, two_arms};
use std::collections::BTreeMap;

const SECRET: [u8; 32] = [41; 32];

fn factor(name: &str, levels: &[&str]) -> Factor {
    Factor { name: name.into(), levels: levels.iter().map(|&level| level.to_owned()).collect() }
}

fn minimization() -> Scheme {
    Scheme::Minimization {
        distance: Distance::Variance,
        probability: "0.8".parse().expect("a probability"),
        weights: vec!["1".parse().expect("a weight"), "0.5".parse().expect("a weight")],
    }
}

fn plan(name: &str) -> Plan {
    let (scheme, factors, total) = match name {
        "stratified" => (blocks_of(&[4, 6]), vec![factor("sex", &["female", "male"])], 20),
        "minimization" => {
            let factors =
                vec![factor("sex", &["female", "male"]), factor("meld", &["<15", ">=15", "unknown"])];
            (minimization(), factors, 30)
        }
        _ => (Scheme::Imported { equal: true }, Vec::new(), 12),
    };
    Plan { scheme, arms: two_arms(), factors, total }
}

/// A list of which the first dozen are allocated, to participants with levels in turn.
fn bundled(name: &str) -> (Bundle, SealedList) {
    let plan = plan(name);
    let arms = [0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1];
    let imported: Vec<Place> = (1..)
        .zip(arms)
        .map(|(position, arm)| Place { stratum: 0, position, block: 0, content: Content::Arm(arm) })
        .collect();
    let id = format!("fixture-{name}");
    let key = SealKey::new([3; 32]);
    let statisticians = [StatisticianKey::of(&StatisticianSecret::new(SECRET))];
    let order = Order {
        id: &id,
        trial: "NCT06242405",
        definition: Digest::of(b"definition"),
        plan: &plan,
        imported: (name == "imported").then_some(&imported),
        statisticians: &statisticians,
    };
    let entropy =
        Entropy { seed: Seed::new([17; 32]), nonce_seed: [29; 32], ephemeral: Ephemeral::new([53; 32]) };
    let list = seal(&order, &key, &entropy).expect("a sealed list");
    let mut used = [0; 2];
    let mut allocations = Vec::new();
    for number in 1..=12u32 {
        let level = |factor: usize| (number as usize * (factor + 1) + number as usize / 3) % 2;
        let stratum = if name == "stratified" { level(0) } else { 0 };
        used[stratum] += 1;
        let levels: BTreeMap<String, String> = plan
            .factors
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name.clone(), f.levels[level(i)].clone()))
            .collect();
        let stored = list.slots.iter().find(|s| (s.stratum as usize, s.position) == (stratum, used[stratum]));
        let opened = open_slot(&list.public.header, stored.expect("a slot"), &key).expect("opened");
        allocations.push(Allocated {
            number,
            id: format!("A-{number:04}"),
            stratum: opened.stratum,
            position: opened.position,
            at: format!("2026-03-{number:02}T08:00:00.000Z"),
            definition: Digest::of(if number < 8 { b"definition" } else { b"amended" }),
            levels,
            leaf: Some(opened.leaf),
            proof: opened.proof,
        });
    }
    let bundle = Bundle {
        header: list.public.header.clone(),
        slots: list.slots.clone(),
        sealed_recipes: list.public.sealed_recipes.clone(),
        definitions: vec![Digest::of(b"amended")],
        allocations,
    };
    (bundle, list)
}

fn opened(bundle: &Bundle) -> RevealedList {
    reveal(bundle, &StatisticianSecret::new(SECRET)).expect("a revealed list")
}

/// A copy through its text, as a file is read.
fn copied(list: &RevealedList) -> RevealedList {
    serde_json::from_str(&serde_json::to_string(list).expect("JSON")).expect("a revealed list")
}

#[test]
fn what_is_exported_is_verified_revealed_and_verified_again() {
    for name in ["stratified", "minimization", "imported"] {
        let (bundle, list) = bundled(name);
        let slots = bundle.slots.len();
        let found = verify(&bundle, Some(bundle.header.commitment), Some(bundle.header.definition));
        assert_eq!(found.map(|v| (v.slots, v.allocations)), Ok((slots, 12)), "{name}");
        let revealed = opened(&bundle);
        assert_eq!(verify_revealed(&bundle, &copied(&revealed)), Ok(()), "{name}");
        // The service's key gives the same.
        let by_key = seal::reveal(&list.public, &SealKey::new([3; 32])).expect("revealed");
        let by_key = revealed_list(&bundle, &by_key).expect("a revealed list");
        let text = serde_json::to_string(&revealed).expect("JSON");
        assert_eq!(serde_json::to_string(&by_key).expect("JSON"), text);

        // Nothing hidden is in the bundle, and the same bundle has the same bytes.
        let public = serde_json::to_string(&bundle).expect("JSON");
        assert_eq!(serde_json::to_string(&bundled(name).0).expect("JSON"), public);
        let salts = revealed.slots.iter().map(|slot| digest::to_hex(&slot.salt.0));
        let seed = digest::to_hex(&revealed.seed.0);
        for hidden in salts.chain([seed, "infusion".into(), "sizes".into(), "0.8".into(), "draw".into()]) {
            assert!(!public.contains(&hidden), "{name}: {hidden}");
        }
        fixture(&format!("bundle-{name}"), &format!("{{\"bundle\":{public}}}\n"));
        fixture(&format!("revealed-{name}"), &format!("{text}\n"));
    }
}

/// Compares with a fixture; `TRIALBRIDGE_WRITE_FIXTURES=1` makes one that is not there yet.
fn fixture(name: &str, text: &str) {
    let path = format!("{}/fixtures/randomize/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TRIALBRIDGE_WRITE_FIXTURES").is_some() && !std::path::Path::new(&path).exists() {
        std::fs::write(&path, text).expect("a fixture is written");
    }
    assert!(std::fs::read_to_string(&path).expect("the fixture") == text, "{name} is another one now");
}

#[test]
fn minimization_is_replayed_with_the_levels_of_everybody_before() {
    let (mut bundle, _) = bundled("minimization");
    let plan = plan("minimization");
    // All levels of a factor with three.
    for (a, level) in bundle.allocations.iter_mut().zip(plan.factors[1].levels.iter().cycle()) {
        a.levels.insert("meld".into(), level.clone());
    }
    let revealed = opened(&bundle);
    let mut past: Vec<Past> = Vec::new();
    for (a, shown) in bundle.allocations.iter().zip(&revealed.allocations) {
        let levels: Vec<usize> = plan
            .factors
            .iter()
            .map(|f| f.levels.iter().position(|l| *l == a.levels[&f.name]).expect("a level"))
            .collect();
        let Hex(seed) = revealed.slots[a.position as usize - 1].draw.as_ref().expect("a seed");
        let seed = Seed::new(seed.as_slice().try_into().expect("32 bytes"));
        let arm = assign(&plan, &Content::Draw(seed), &levels, &past).expect("an arm");
        assert_eq!(shown.arm, plan.arms.names()[arm]);
        past.push(Past { levels, arm });
    }
    let arms: std::collections::BTreeSet<&str> =
        revealed.allocations.iter().map(|a| a.arm.as_str()).collect();
    assert_eq!(arms.len(), 2, "both arms came up");
}

#[test]
fn every_altered_field_of_a_bundle_is_found() {
    let (bundle, _) = bundled("stratified");
    let zero = Digest([0; 32]);
    let (last, found) = (bundle.slots[39].clone(), bundle.header.commitment);
    type Edit<'a> = &'a dyn Fn(&mut Bundle);
    let a = |i: usize| bundle.allocations[i].clone();
    let at = |i: usize| (a(i).stratum, a(i).position);
    let edits: [(Edit<'_>, Fault); 18] = [
        (&|b| b.slots.truncate(39), Fault::Slot { stratum: 1, position: 20 }),
        (&|b| b.slots.push(last.clone()), Fault::Slot { stratum: 1, position: 20 }),
        (&|b| b.slots.swap(2, 3), Fault::Slot { stratum: 0, position: 3 }),
        (&|b| b.slots[5].ciphertext.0.push(0), Fault::Length { stratum: 0, position: 6 }),
        (&|b| b.sealed_recipes.clear(), Fault::Recipes),
        (&|b| b.sealed_recipes[0].key.push('0'), Fault::Recipes),
        (&|b| drop(b.allocations.remove(3)), Fault::Number { expected: 4, found: 5 }),
        (&|b| b.allocations.swap(3, 4), Fault::Number { expected: 4, found: 5 }),
        (&|b| b.allocations[6].id = a(2).id, Fault::Twice { number: 7 }),
        (
            &|b| b.allocations[0].position = 2,
            Fault::Position { number: 1, stratum: at(0).0, expected: 1, found: 2 },
        ),
        (&|b| b.allocations[4].leaf = Some(zero), Fault::Proof { number: 5 }),
        (&|b| b.allocations[4].leaf = a(5).leaf, Fault::Proof { number: 5 }),
        (&|b| b.allocations[4].leaf = None, Fault::Proof { number: 5 }),
        (&|b| b.allocations[4].proof[0] = zero, Fault::Proof { number: 5 }),
        (&|b| b.definitions.clear(), Fault::Unsigned { number: 8, found: Digest::of(b"amended") }),
        (
            &|b| {
                let other = if at(1).0 == 0 { "male" } else { "female" };
                b.allocations[1].levels.insert("sex".into(), other.into());
            },
            Fault::Levels { number: 2 },
        ),
        (&|b| b.allocations[1].levels.clear(), Fault::Levels { number: 2 }),
        (&|b| drop(b.allocations[1].levels.insert("age".into(), "old".into())), Fault::Levels { number: 2 }),
    ];
    for (edit, fault) in edits {
        let mut altered = bundle.clone();
        edit(&mut altered);
        assert_eq!(verify(&altered, None, None), Err(fault.clone()), "{fault}");
        assert!(reveal(&altered, &StatisticianSecret::new(SECRET)).is_err(), "{fault}");
    }
    assert_eq!(verify(&bundle, Some(zero), None), Err(Fault::Commitment { found, expected: zero }));
    let definition = bundle.header.definition;
    assert_eq!(
        verify(&bundle, None, Some(zero)),
        Err(Fault::Definition { found: definition, expected: zero })
    );
    let stranger = StatisticianSecret::new([1; 32]);
    assert!(matches!(reveal(&bundle, &stranger), Err(Fault::Seal(SealError::NotSealedTo { .. }))));
}

#[test]
fn every_altered_field_of_a_revealed_list_is_found() {
    for name in ["stratified", "minimization", "imported"] {
        let (bundle, _) = bundled(name);
        let revealed = opened(&bundle);
        let other = |arm: &str| match arm {
            "single infusion" => "double infusion".to_owned(),
            _ => "single infusion".to_owned(),
        };
        type Edit<'a> = &'a dyn Fn(&mut RevealedList);
        let edits: [(&str, Edit<'_>); 16] = [
            ("schema", &|r| r.schema.push('2')),
            ("list", &|r| r.list.push('x')),
            ("commitment", &|r| r.commitment.0[0] ^= 1),
            ("seed", &|r| r.seed.0[31] ^= 1),
            ("a shorter seed", &|r| r.seed.0.truncate(31)),
            ("scheme", &|r| r.scheme = Scheme::Complete),
            ("arms exchanged", &|r| r.arms.reverse()),
            ("an arm renamed", &|r| r.arms[0].push('x')),
            ("total", &|r| r.total += 1),
            ("factors", &|r| r.factors.clear()),
            ("a slot less", &|r| drop(r.slots.pop())),
            ("slots exchanged", &|r| r.slots.swap(0, 1)),
            ("salt", &|r| r.slots[2].salt.0[0] ^= 1),
            ("an allocation less", &|r| drop(r.allocations.pop())),
            ("the arm of an allocation", &|r| r.allocations[7].arm = other(&r.allocations[7].arm)),
            ("the id of an allocation", &|r| r.allocations[7].id.push('x')),
        ];
        for (what, edit) in edits {
            let mut altered = copied(&revealed);
            edit(&mut altered);
            // Nothing of an imported list follows from the order of the arms, and it has no factors to drop.
            let nothing = matches!((name, what), ("imported", "arms exchanged" | "factors"));
            assert_eq!(verify_revealed(&bundle, &altered).is_err(), !nothing, "{name}: {what}");
        }
        let mut altered = copied(&revealed);
        match altered.slots[4].arm.clone() {
            Some(arm) => altered.slots[4].arm = Some(other(&arm)),
            None => altered.slots[4].draw = Some(Hex(vec![0; 32])),
        }
        assert!(verify_revealed(&bundle, &altered).is_err(), "{name}: what a slot held");
    }
}
