//! Seals: what they hide, what they give back, and that no altered byte goes unseen.

use super::{
    super::{
        digest::{Digest, Hex},
        seal::{FactorLevels, Origin, Part, Stratum},
        statistician::SealedRecipe,
        *,
    },
    blocks_of, two_arms,
};

const KEY: [u8; 32] = [3; 32];
const SEED: [u8; 32] = [11; 32];
const NONCE_SEED: [u8; 32] = [29; 32];
const SECRET: [u8; 32] = [41; 32];

fn key() -> SealKey {
    SealKey::new(KEY)
}

fn secret() -> StatisticianSecret {
    StatisticianSecret::new(SECRET)
}

fn entropy(seed: u8, nonce: u8) -> Entropy {
    Entropy { seed: Seed::new([seed; 32]), nonce_seed: [nonce; 32], ephemeral: Ephemeral::new([53; 32]) }
}

fn plan(arms: &Arms, total: u32) -> Plan {
    Plan { scheme: blocks_of(&[6, 4]), arms: arms.clone(), factors: Vec::new(), total }
}

/// Two sites and two sexes: four strata.
fn stratified(arms: &Arms, total: u32) -> Plan {
    let factor = |name: &str, levels: [&str; 2]| Factor {
        name: name.into(),
        levels: levels.map(str::to_owned).into(),
    };
    let factors = vec![factor("site", ["north", "south"]), factor("sex", ["female", "male"])];
    Plan { factors, ..plan(arms, total) }
}

fn sealed_as(
    id: &str,
    plan: &Plan,
    imported: Option<&[Place]>,
    statisticians: &[StatisticianKey],
) -> SealedList {
    let definition = Digest::of(b"definition");
    let order = Order { id, trial: "NCT06242405", definition, plan, imported, statisticians };
    seal(&order, &key(), &entropy(SEED[0], NONCE_SEED[0])).expect("a sealed list")
}

fn sealed(id: &str, arms: &Arms, total: u32) -> SealedList {
    sealed_as(id, &plan(arms, total), None, &[StatisticianKey::of(&secret())])
}

/// The slot of a list with one stratum.
fn slot(position: u32) -> Part {
    Part::Slot { stratum: 0, position }
}

fn damaged(part: Part) -> SealError {
    SealError::Damaged { list: "main".to_owned(), part }
}

fn uncommitted(list: &SealedList, part: Part) -> SealError {
    SealError::Uncommitted { list: "main".to_owned(), part, commitment: list.public.header.commitment }
}

#[test]
fn every_slot_opens_to_its_arm_and_proves_it() {
    let arms = two_arms();
    let plan = stratified(&arms, 24);
    let list = sealed_as("main", &plan, None, &[]);
    let header = &list.public.header;
    let places = draw_up(&plan, &Seed::new(SEED)).expect("a list");
    assert_eq!((list.slots.len(), places.len(), header.slots()), (96, 96, 96));
    assert_eq!(header.total, 24);
    let labels: Vec<&str> = header.strata.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels, plan.strata());
    for (place, stored) in places.iter().zip(&list.slots) {
        let opened = open_slot(header, stored, &key()).expect("a slot");
        let Opened { stratum, position, held, salt, leaf, proof } = &opened;
        let at = (*stratum, *position);
        assert_eq!(at, (place.stratum, place.position));
        assert_eq!(held.content(&arms).as_ref(), Some(&place.content));
        let verify = |at, held: &Held, salt: &Salt| verify_allocation(header, at, held, salt, proof);
        assert_eq!(verify(at, held, salt), Ok(()));
        assert_eq!(verify_leaf(header, at.0, at.1, *leaf, proof), Ok(()));

        // Another arm, another place, another salt, another list: not what was committed to.
        let part = Part::Slot { stratum: at.0, position: at.1 };
        let other = arms.names().iter().find(|&name| *name != arm_of(held)).expect("two arms");
        for other in [other.as_str(), "", "single"] {
            assert_eq!(verify(at, &Held::Arm(Arm::new(other)), salt), Err(uncommitted(&list, part)));
        }
        let draw = Held::Draw(Seed::new([0; 32]));
        assert_eq!(verify(at, &draw, salt), Err(uncommitted(&list, part)));
        let elsewhere =
            [(at.0, 0), (at.0, at.1 + 1), (at.0, u32::MAX), ((at.0 + 1) % 4, at.1), (4, at.1), (u32::MAX, 1)];
        for at in elsewhere {
            assert!(verify(at, held, salt).is_err(), "{at:?}");
            assert!(verify_leaf(header, at.0, at.1, *leaf, proof).is_err(), "{at:?}");
        }
        assert!(verify(at, held, &Salt::new([0; 32])).is_err());
        let elsewhere = Header { id: "other".to_owned(), ..header.clone() };
        assert!(verify_allocation(&elsewhere, at, held, salt, proof).is_err());
    }
    assert_eq!(verify_sealed(&list, &key()), Ok(()));
}

fn arm_of(held: &Held) -> String {
    match held {
        Held::Arm(arm) => arm.expose().to_owned(),
        Held::Draw(_) => panic!("an arm is expected"),
    }
}

#[test]
fn a_slot_that_holds_a_seed_gives_it_back() {
    let arms = two_arms();
    let ratio = |text: &str| text.parse().expect("a decimal");
    let scheme = Scheme::Minimization {
        distance: Distance::Range,
        probability: ratio("0.8"),
        weights: vec!["1".parse().expect("a weight"), "0.5".parse().expect("a weight")],
    };
    let plan = Plan { scheme, ..stratified(&arms, 30) };
    let list = sealed_as("main", &plan, None, &[StatisticianKey::of(&secret())]);
    let header = &list.public.header;
    assert_eq!((header.strata.len(), header.factors.len(), list.slots.len()), (1, 2, 30));
    let length = list.slots[0].ciphertext.0.len();
    assert_eq!(length, sealed("main", &arms, 20).slots[0].ciphertext.0.len(), "as long as an arm");
    let places = draw_up(&plan, &Seed::new(SEED)).expect("a list");
    for (place, stored) in places.iter().zip(&list.slots) {
        let opened = open_slot(header, stored, &key()).expect("a slot");
        assert_eq!(opened.held.content(&arms).as_ref(), Some(&place.content));
        let Held::Draw(seed) = &opened.held else { panic!("a seed is expected") };
        // An arm whose name is those digits is not that seed.
        let name = Held::Arm(Arm::new(&digest::to_hex(seed.expose())));
        let at = (place.stratum, place.position);
        assert_eq!(verify_allocation(header, at, &opened.held, &opened.salt, &opened.proof), Ok(()));
        assert!(verify_allocation(header, at, &name, &opened.salt, &opened.proof).is_err());
    }
    assert_eq!(verify_sealed(&list, &key()), Ok(()));
    let revealed = reveal_to(header, &list.public.sealed_recipes, &secret()).expect("the list");
    assert!(revealed.plan == plan && revealed.places == places);
}

#[test]
fn every_scheme_is_sealed_revealed_and_told_by_its_name_only() {
    let arms = two_arms();
    let probability = "0.6667".parse().expect("a probability");
    for scheme in [Scheme::Complete, Scheme::Efron { probability }, Scheme::BigStick { limit: 3 }] {
        let plan = Plan { scheme, ..stratified(&arms, 12) };
        let list = sealed_as("main", &plan, None, &[StatisticianKey::of(&secret())]);
        let revealed = reveal_to(&list.public.header, &list.public.sealed_recipes, &secret());
        assert!(revealed.expect("the list").plan == plan);
        let json = serde_json::to_string(&list).expect("a list");
        assert_eq!(list.public.header.scheme, plan.scheme.public_name());
        assert!(!json.contains("0.6667") && !json.contains("limit"), "{}", plan.scheme.public_name());
        let other = sealed("main", &arms, 20);
        assert_eq!(list.public.sealed_seed.ciphertext.0.len(), other.public.sealed_seed.ciphertext.0.len());
    }
}

#[test]
fn a_slots_bytes_are_read_only_as_they_were_written() {
    let version = header::Version::V2;
    let salt = layout::salt(version, &Seed::new(SEED), 0, 1);
    let bytes = layout::slot_bytes(&salt, &Held::Draw(Seed::new([0xab; 32])));
    assert_eq!(bytes.len(), layout::slot_length(version));
    assert!(matches!(layout::read_slot_bytes(version, &bytes), Some((_, Held::Draw(_)))));
    // An unknown kind; a longer text, a shorter one; no digits; something behind the text.
    for (at, byte) in [(32, 2), (33, 128), (33, 65), (33, 63), (34, b'G'), (160, 1)] {
        let mut altered = bytes.clone();
        altered[at] = byte;
        assert!(layout::read_slot_bytes(version, &altered).is_none(), "byte {at} = {byte}");
    }
    assert!(layout::read_slot_bytes(version, &bytes[..31]).is_none());
    assert!(layout::read_slot_bytes(version, &bytes[..32]).is_none());
}

#[test]
fn reveal_gives_back_all_that_was_sealed() {
    let arms = two_arms();
    let plan = stratified(&arms, 24);
    let list = sealed_as("main", &plan, None, &[StatisticianKey::of(&secret())]);
    let header = &list.public.header;
    let by_key = reveal(&list.public, &key()).expect("the list");
    let by_secret = reveal_to(header, &list.public.sealed_recipes, &secret()).expect("the list");
    let drawn = draw_up(&plan, &Seed::new(SEED)).expect("a list");
    for revealed in [by_key, by_secret] {
        assert_eq!(revealed.seed.expose(), &SEED);
        assert!(revealed.plan == plan);
        assert!(revealed.places == drawn);
    }

    let verify = |seed: [u8; 32], plan: &Plan| verify_list(header, &Seed::new(seed), plan, None).map(drop);
    let other = Err(uncommitted(&list, Part::List));
    assert_eq!(verify(SEED, &plan), Ok(()));
    assert_eq!(verify([12; 32], &plan), other, "another seed");
    assert_eq!(verify(SEED, &Plan { scheme: blocks_of(&[4]), ..plan.clone() }), other, "other block sizes");
    for altered in [
        Header { scheme: "alternation".to_owned(), ..header.clone() },
        Header { arms: 3, ..header.clone() },
        Header { total: 20, ..header.clone() },
        Header { id: "mine".to_owned(), ..header.clone() },
        Header { origin: Origin::Imported, ..header.clone() },
        Header { factors: Vec::new(), ..header.clone() },
        Header { strata: vec![Stratum { label: String::new(), slots: 96 }], ..header.clone() },
    ] {
        let found = verify_list(&altered, &Seed::new(SEED), &plan, None);
        assert!(matches!(found, Err(SealError::Uncommitted { .. })), "{altered:?}");
    }
    let swapped = Arms::new(["double infusion", "single infusion"]).expect("two arms");
    assert_eq!(verify(SEED, &Plan { arms: swapped, ..plan.clone() }), other, "arms exchanged");
    assert!(matches!(
        verify(SEED, &Plan { scheme: blocks_of(&[2]), ..plan.clone() }),
        Err(SealError::Scheme(_))
    ));
}

#[test]
fn an_imported_list_is_sealed_as_it_came() {
    let arms = two_arms();
    let plan = stratified(&arms, 4);
    let place = |stratum, position, arm| Place { stratum, position, block: 0, content: Content::Arm(arm) };
    // Strata of different length; one is empty.
    let places = vec![place(0, 1, 1), place(0, 2, 1), place(1, 1, 0), place(3, 1, 0), place(3, 2, 1)];
    let list = sealed_as("main", &plan, Some(&places), &[StatisticianKey::of(&secret())]);
    let header = &list.public.header;
    assert_eq!(header.origin, Origin::Imported);
    assert_eq!(header.strata.iter().map(|s| s.slots).collect::<Vec<_>>(), [2, 1, 0, 2]);
    assert_eq!(verify_sealed(&list, &key()), Ok(()));
    let revealed = reveal_to(header, &list.public.sealed_recipes, &secret()).expect("the list");
    assert!(revealed.places == places);
    assert!(verify_list(header, &revealed.seed, &plan, Some(&places)).is_ok());
    let mut other = places.clone();
    other[4].content = Content::Arm(0);
    assert!(verify_list(header, &revealed.seed, &plan, Some(&other)).is_err());
    assert!(verify_list(header, &revealed.seed, &plan, None).is_err());

    let order = |places: &[Place]| {
        let definition = Digest::of(b"definition");
        let order = Order {
            id: "main",
            trial: "T",
            definition,
            plan: &plan,
            imported: Some(places),
            statisticians: &[],
        };
        seal(&order, &key(), &entropy(1, 1)).err()
    };
    let refused = |stratum, position| Some(SealError::Imported { part: Part::Slot { stratum, position } });
    assert_eq!(order(&[place(0, 2, 0)]), refused(0, 2));
    assert_eq!(order(&[place(0, 1, 0), place(0, 1, 0)]), refused(0, 1));
    assert_eq!(order(&[place(1, 1, 0), place(0, 1, 0)]), refused(0, 1));
    assert_eq!(order(&[place(0, 1, 2)]), refused(0, 1));
    assert!(order(&[place(4, 1, 0)]).is_some());
    assert_eq!(order(&[]), Some(SealError::Imported { part: Part::List }));
}

#[test]
fn the_recipe_opens_with_each_statisticians_key_and_no_other() {
    let arms = two_arms();
    let second = StatisticianSecret::new([42; 32]);
    let keys = [StatisticianKey::of(&secret()), StatisticianKey::of(&second)];
    let list = sealed_as("main", &plan(&arms, 20), None, &keys);
    let header = &list.public.header;
    let recipes = &list.public.sealed_recipes;
    assert_eq!(header.statisticians, keys.map(|key| key.id()));
    for secret in [&secret(), &second] {
        assert!(reveal_to(header, recipes, secret).is_ok());
    }
    let stranger = StatisticianSecret::new([43; 32]);
    let found = StatisticianKey::of(&stranger).id();
    let refused = SealError::NotSealedTo { list: "main".into(), found };
    assert_eq!(reveal_to(header, recipes, &stranger).err(), Some(refused));
    assert!(matches!(reveal_to(header, &[], &second), Err(SealError::NotSealedTo { .. })));
    // A recipe put under another's name opens nothing.
    let renamed: Vec<SealedRecipe> = vec![SealedRecipe { key: keys[1].id(), ..recipes[0].clone() }];
    assert_eq!(reveal_to(header, &renamed, &second).err(), Some(damaged(Part::SealedRecipe)));
    for i in (0..recipes[0].ciphertext.0.len()).step_by(997) {
        let mut altered = recipes.clone();
        altered[0].ciphertext.0[i] ^= 1;
        assert_eq!(reveal_to(header, &altered, &secret()).err(), Some(damaged(Part::SealedRecipe)));
    }
    let definition = Digest::of(b"definition");
    let plan = plan(&arms, 20);
    let twice = [keys[0], keys[0]];
    let order =
        Order { id: "main", trial: "T", definition, plan: &plan, imported: None, statisticians: &twice };
    assert_eq!(seal(&order, &key(), &entropy(1, 1)).err(), Some(SealError::Recipient { id: keys[0].id() }));
}

/// Every byte of nonce, ciphertext and proof, in its lowest, its highest and all of its bits; and the
/// lengths.
#[test]
fn every_altered_byte_of_a_slot_is_found() {
    let list = sealed("main", &two_arms(), 20);
    let slot = &list.slots[10];
    let check = |altered: SealedSlot, what: String| {
        assert_ne!(&altered, slot, "{what}");
        assert!(open_slot(&list.public.header, &altered, &key()).is_err(), "{what}");
        let mut whole = list.clone();
        whole.slots[10] = altered;
        assert!(verify_sealed(&whole, &key()).is_err(), "{what}");
    };
    for mask in [0x01, 0x80, 0xff] {
        for i in 0..slot.nonce.0.len() {
            let mut altered = slot.clone();
            altered.nonce.0[i] ^= mask;
            check(altered, format!("nonce byte {i}"));
        }
        for i in 0..slot.ciphertext.0.len() {
            let mut altered = slot.clone();
            altered.ciphertext.0[i] ^= mask;
            check(altered, format!("ciphertext byte {i}"));
        }
        for (node, i) in (0..slot.proof.len()).flat_map(|node| (0..32).map(move |i| (node, i))) {
            let mut altered = slot.clone();
            altered.proof[node].0[i] ^= mask;
            check(altered, format!("proof hash {node} byte {i}"));
        }
    }
    type Edit = fn(&mut SealedSlot);
    let edits: [(&str, Edit); 9] = [
        ("nonce shorter", |s| s.nonce.0.truncate(23)),
        ("nonce longer", |s| s.nonce.0.push(0)),
        ("ciphertext shorter", |s| s.ciphertext.0.truncate(176)),
        ("ciphertext longer", |s| s.ciphertext.0.push(0)),
        ("ciphertext empty", |s| s.ciphertext = Hex(Vec::new())),
        ("proof shorter", |s| s.proof.truncate(1)),
        ("proof longer", |s| s.proof.push(Digest([0; 32]))),
        ("position", |s| s.position += 1),
        ("no position", |s| s.position = 0),
    ];
    for (what, edit) in edits {
        let mut altered = slot.clone();
        edit(&mut altered);
        check(altered, what.to_owned());
    }
}

#[test]
fn every_altered_byte_of_the_sealed_seed_is_found() {
    let list = sealed("main", &two_arms(), 20);
    let found = |altered: &SealedList| {
        assert_eq!(reveal(&altered.public, &key()).err(), Some(damaged(Part::SealedSeed)));
        assert_eq!(verify_sealed(altered, &key()), Err(damaged(Part::SealedSeed)));
    };
    let (nonce, ciphertext) =
        (list.public.sealed_seed.nonce.0.len(), list.public.sealed_seed.ciphertext.0.len());
    for i in 0..nonce {
        let mut altered = list.clone();
        altered.public.sealed_seed.nonce.0[i] ^= 1;
        found(&altered);
    }
    // The authentication runs over all bytes alike: one byte in each stretch of 17, and all of the tag.
    for i in (0..ciphertext).step_by(17).chain(ciphertext - 16..ciphertext) {
        let mut altered = list.clone();
        altered.public.sealed_seed.ciphertext.0[i] ^= 1;
        found(&altered);
    }
}

#[test]
fn slots_that_are_exchanged_repeated_or_missing_are_found() {
    let list = sealed("main", &two_arms(), 20);
    let mut relabelled = list.clone();
    relabelled.slots.swap(3, 4);
    relabelled.slots[3].position = 4;
    relabelled.slots[4].position = 5;
    assert_eq!(verify_sealed(&relabelled, &key()), Err(damaged(slot(4))));

    let mut reordered = list.clone();
    reordered.slots.swap(3, 4);
    assert_eq!(verify_sealed(&reordered, &key()), Err(damaged(slot(4))));

    let mut repeated = list.clone();
    repeated.slots[4] = list.slots[3].clone();
    assert_eq!(verify_sealed(&repeated, &key()), Err(damaged(slot(5))));

    let mut missing = list.clone();
    missing.slots.pop();
    assert_eq!(verify_sealed(&missing, &key()), Err(damaged(Part::List)));
    let mut more = list.clone();
    more.slots.push(list.slots[0].clone());
    assert_eq!(verify_sealed(&more, &key()), Err(damaged(Part::List)));

    // A slot of another list under the same key.
    let foreign = sealed("other", &two_arms(), 20).slots.swap_remove(7);
    assert_eq!(open_slot(&list.public.header, &foreign, &key()).err(), Some(damaged(slot(8))));
}

#[test]
fn every_altered_field_of_the_header_closes_the_list() {
    let list = sealed("main", &two_arms(), 20);
    type Edit = fn(&mut Header);
    let edits: [(&str, Edit); 18] = [
        ("format", |h| h.format.push('2')),
        ("format of version 1", |h| h.format = seal::FORMAT_V1.to_owned()),
        ("origin", |h| h.origin = Origin::Imported),
        ("no stratum", |h| h.strata.clear()),
        ("label", |h| h.strata[0].label.push('x')),
        ("slots", |h| h.strata[0].slots += 1),
        ("stratum", |h| h.strata.push(Stratum { label: String::new(), slots: 0 })),
        ("factor", |h| h.factors.push(FactorLevels { name: "a".to_owned(), levels: Vec::new() })),
        ("statistician", |h| h.statisticians.clear()),
        ("id", |h| h.id = "mine".to_owned()),
        ("trial", |h| h.trial = "NCT00000000".to_owned()),
        ("definition", |h| h.definition.0[0] ^= 1),
        ("scheme", |h| h.scheme = "alternation".to_owned()),
        ("arms", |h| h.arms = 3),
        ("total", |h| h.total = 18),
        ("commitment", |h| h.commitment.0[31] ^= 1),
        ("key id", |h| h.key_id = "0000000000000000".to_owned()),
        ("no key id", |h| h.key_id.clear()),
    ];
    for (field, edit) in edits {
        let mut altered = list.clone();
        edit(&mut altered.public.header);
        assert!(open_slot(&altered.public.header, &list.slots[0], &key()).is_err(), "{field}");
        assert!(reveal(&altered.public, &key()).is_err(), "{field}");
        let recipes = &list.public.sealed_recipes;
        assert!(reveal_to(&altered.public.header, recipes, &secret()).is_err(), "{field}");
    }
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let list = sealed("main", &two_arms(), 20);
    let mut other = KEY;
    other[31] ^= 1;
    let wrong = SealError::WrongKey { list: "main".to_owned(), expected: list.public.header.key_id.clone() };
    let other = SealKey::new(other);
    assert_eq!(open_slot(&list.public.header, &list.slots[0], &other).err(), Some(wrong.clone()));
    assert_eq!(reveal(&list.public, &other).err(), Some(wrong));

    // Whoever also writes the other key's id into the header still opens nothing.
    let mut forged = list.clone();
    forged.public.header.key_id = layout::key_id(&other);
    assert_eq!(open_slot(&forged.public.header, &list.slots[0], &other).err(), Some(damaged(slot(1))));
}

#[test]
fn nothing_about_an_arm_can_be_read_from_a_sealed_list() {
    // Names of very different length, and canaries that nothing else contains.
    let arms = Arms::new(["zq", &"canary-arm-".repeat(11)]).expect("two arms");
    let list = sealed("main", &arms, 92);
    assert!(list.slots.iter().all(|slot| slot.ciphertext.0.len() == 177 && slot.nonce.0.len() == 24));
    let mut nonces: Vec<&Hex> = list.slots.iter().map(|slot| &slot.nonce).collect();
    nonces.push(&list.public.sealed_seed.nonce);
    nonces.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(nonces.windows(2).all(|pair| pair[0] != pair[1]), "a nonce is used once");
    // The seed's length tells nothing of sizes or names either.
    let other = sealed("main", &two_arms(), 20);
    assert_eq!(list.public.sealed_seed.ciphertext.0.len(), other.public.sealed_seed.ciphertext.0.len());

    let json = serde_json::to_string(&list).expect("a sealed list");
    let printed = format!("{list:?} {arms:?} {:?}", reveal(&list.public, &key()).expect("the list"));
    for text in [&json, &printed] {
        let bytes = [b"canary".as_slice(), &SEED, &KEY, &SECRET].map(digest::to_hex);
        for hidden in
            ["zq", "canary", "sizes", "[6, 4]", "[4, 6]"].into_iter().chain(bytes.iter().map(String::as_str))
        {
            assert!(!text.contains(hidden), "{hidden}");
        }
    }
    let opened = open_slot(&list.public.header, &list.slots[0], &key()).expect("a slot");
    let printed = format!("{opened:?}");
    assert!(!printed.contains("zq") && !printed.contains("canary"), "{printed}");
    assert!(!printed.contains(&format!("{:?}", opened.salt.expose())));
    assert_eq!(serde_json::from_str::<SealedList>(&json).ok(), Some(list));
}

#[test]
fn an_arm_that_the_definition_does_not_have_has_no_index() {
    let list = sealed("main", &two_arms(), 20);
    let opened = open_slot(&list.public.header, &list.slots[0], &key()).expect("a slot");
    let renamed = Arms::new(["A", "B"]).expect("two arms");
    assert_eq!(opened.held.content(&renamed), None);
}

#[test]
fn a_list_without_a_name_is_not_sealed() {
    let arms = two_arms();
    let definition = Digest::of(b"definition");
    let sealed = |id: &str, trial: &str, total| {
        let plan = plan(&arms, total);
        let order = Order { id, trial, definition, plan: &plan, imported: None, statisticians: &[] };
        seal(&order, &key(), &entropy(1, 1)).err()
    };
    assert_eq!(sealed("", "T", 92), Some(SealError::Nameless { what: "an id" }));
    assert_eq!(sealed("main", "", 92), Some(SealError::Nameless { what: "the identifier of its trial" }));
    assert!(matches!(sealed("main", "T", 91), Some(SealError::Scheme(_))));
}

#[test]
fn another_nonce_seed_or_seed_gives_other_bytes() {
    let plan = plan(&two_arms(), 20);
    let definition = Digest::of(b"definition");
    let statisticians = [StatisticianKey::of(&secret())];
    let order = Order {
        id: "main",
        trial: "T",
        definition,
        plan: &plan,
        imported: None,
        statisticians: &statisticians,
    };
    let sealed = |seed: u8, nonce: u8| seal(&order, &key(), &entropy(seed, nonce)).expect("a sealed list");
    let first = sealed(1, 1);
    assert_eq!(first, sealed(1, 1), "the same inputs give the same bytes");
    let again = sealed(1, 2);
    assert_eq!(first.public.header, again.public.header, "the commitment does not depend on the nonce seed");
    let other = sealed(2, 1);
    assert_ne!(first.public.header.commitment, other.public.header.commitment);
    assert_ne!(first.public.sealed_recipes[0].enc, other.public.sealed_recipes[0].enc);
    for (i, slot) in first.slots.iter().enumerate() {
        assert_ne!(slot.nonce, again.slots[i].nonce);
        // A nonce seed used twice by mistake: still no nonce twice.
        assert_ne!(slot.nonce, other.slots[i].nonce);
    }
}

#[test]
fn a_damaged_part_is_named_as_a_reader_counts() {
    let table = [
        (Part::Header, "the header"),
        (Part::Slot { stratum: 0, position: 7 }, "slot 7 of stratum 1"),
        (Part::SealedSeed, "the sealed seed"),
        (Part::SealedRecipe, "the recipe sealed to the statistician"),
        (Part::List, "the list drawn up from the seed"),
    ];
    for (part, name) in table {
        let told = SealError::Damaged { list: "list-1".into(), part }.to_string();
        assert!(told.contains(name) && told.contains("list-1"), "{told}");
    }
}
