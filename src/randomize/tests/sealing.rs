//! Seals: what they hide, what they give back, and that no altered byte goes unseen.

use super::{
    super::{
        digest::{Digest, Hex},
        seal::{Order, Place},
        *,
    },
    blocks_of, two_arms,
};

const KEY: [u8; 32] = [3; 32];
const SEED: [u8; 32] = [11; 32];
const NONCE_SEED: [u8; 32] = [29; 32];

fn key() -> SealKey {
    SealKey::new(KEY)
}

fn sealed(id: &str, arms: &Arms, total: u32) -> SealedList {
    let scheme = blocks_of(&[6, 4]);
    let definition = Digest::of(b"definition");
    let order = Order { id, trial: "NCT06242405", definition, scheme: &scheme, arms, total };
    seal(&order, &Seed::new(SEED), &key(), &NONCE_SEED).expect("a sealed list")
}

fn damaged(place: Place) -> SealError {
    SealError::Damaged { list: "main".to_owned(), place }
}

fn uncommitted(list: &SealedList, place: Place) -> SealError {
    SealError::Uncommitted { list: "main".to_owned(), place, commitment: list.header.commitment }
}

#[test]
fn every_slot_opens_to_its_arm_and_proves_it() {
    let arms = two_arms();
    let list = sealed("main", &arms, 92);
    let slots = generate(&blocks_of(&[4, 6]), &arms, 92, &Seed::new(SEED)).expect("a list");
    assert_eq!(list.slots.len(), 92);
    for (slot, stored) in slots.iter().zip(&list.slots) {
        let opened = open_slot(&list.header, stored, &key()).expect("a slot");
        assert_eq!(opened.position, slot.position);
        assert!(opened.arm.expose() == arms.names()[slot.arm]);
        let Opened { position, arm, salt, proof } = &opened;
        assert_eq!(verify_allocation(&list.header, *position, arm.expose(), salt, proof), Ok(()));

        // Another arm, another place, another salt, another list: not what was committed to.
        let other = &arms.names()[1 - slot.arm];
        let place = Place::Slot(*position);
        assert_eq!(
            verify_allocation(&list.header, *position, other, salt, proof),
            Err(uncommitted(&list, place))
        );
        for position in [0, position + 1, u32::MAX] {
            assert!(verify_allocation(&list.header, position, arm.expose(), salt, proof).is_err());
        }
        let salt_of_none = Salt::new([0; 32]);
        assert!(verify_allocation(&list.header, *position, arm.expose(), &salt_of_none, proof).is_err());
        let elsewhere = Header { id: "other".to_owned(), ..list.header.clone() };
        assert!(verify_allocation(&elsewhere, *position, arm.expose(), salt, proof).is_err());
    }
    assert_eq!(verify_sealed(&list, &key()), Ok(()));
}

#[test]
fn reveal_gives_back_all_that_was_sealed() {
    let arms = two_arms();
    let list = sealed("main", &arms, 92);
    let revealed = reveal(&list, &key()).expect("the list");
    assert_eq!(revealed.seed.expose(), &SEED);
    assert!(revealed.scheme == blocks_of(&[6, 4]) && revealed.arms == arms);
    assert!(generate(&revealed.scheme, &arms, 92, &revealed.seed).as_ref() == Ok(&revealed.slots));

    let verify = |seed: [u8; 32], sizes: &[u32], arms: &Arms| {
        verify_list(&list.header, &Seed::new(seed), &blocks_of(sizes), arms).map(drop)
    };
    let other = Err(uncommitted(&list, Place::List));
    assert_eq!(verify(SEED, &[4, 6], &arms), Ok(()));
    assert_eq!(verify([12; 32], &[4, 6], &arms), other, "another seed");
    assert_eq!(verify(SEED, &[4], &arms), other, "other block sizes");
    for altered in [
        Header { scheme: "alternation".to_owned(), ..list.header.clone() },
        Header { arms: 3, ..list.header.clone() },
        Header { total: 90, ..list.header.clone() },
        Header { id: "mine".to_owned(), ..list.header.clone() },
    ] {
        let found = verify_list(&altered, &Seed::new(SEED), &blocks_of(&[4, 6]), &arms);
        assert!(matches!(found, Err(SealError::Uncommitted { .. })), "{altered:?}");
    }
    let swapped = Arms::new(["double infusion", "single infusion"]).expect("two arms");
    assert_eq!(verify(SEED, &[4, 6], &swapped), other, "arms exchanged");
    assert!(matches!(verify(SEED, &[2], &arms), Err(SealError::Scheme(_))));
}

/// Every byte of nonce, ciphertext and proof, in its lowest, its highest and all of its bits; and the
/// lengths.
#[test]
fn every_altered_byte_of_a_slot_is_found() {
    let list = sealed("main", &two_arms(), 20);
    let slot = &list.slots[10];
    let check = |altered: SealedSlot, what: String| {
        assert_ne!(&altered, slot, "{what}");
        assert!(open_slot(&list.header, &altered, &key()).is_err(), "{what}");
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
        ("ciphertext shorter", |s| s.ciphertext.0.truncate(175)),
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
        assert_eq!(reveal(altered, &key()).err(), Some(damaged(Place::SealedSeed)));
        assert_eq!(verify_sealed(altered, &key()), Err(damaged(Place::SealedSeed)));
    };
    let (nonce, ciphertext) = (list.sealed_seed.nonce.0.len(), list.sealed_seed.ciphertext.0.len());
    for i in 0..nonce {
        let mut altered = list.clone();
        altered.sealed_seed.nonce.0[i] ^= 1;
        found(&altered);
    }
    // The authentication runs over all bytes alike: one byte in each stretch of 17, and all of the tag.
    for i in (0..ciphertext).step_by(17).chain(ciphertext - 16..ciphertext) {
        let mut altered = list.clone();
        altered.sealed_seed.ciphertext.0[i] ^= 1;
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
    assert_eq!(verify_sealed(&relabelled, &key()), Err(damaged(Place::Slot(4))));

    let mut reordered = list.clone();
    reordered.slots.swap(3, 4);
    assert_eq!(verify_sealed(&reordered, &key()), Err(damaged(Place::Slot(4))));

    let mut repeated = list.clone();
    repeated.slots[4] = list.slots[3].clone();
    assert_eq!(verify_sealed(&repeated, &key()), Err(damaged(Place::Slot(5))));

    let mut missing = list.clone();
    missing.slots.pop();
    assert_eq!(verify_sealed(&missing, &key()), Err(damaged(Place::List)));
    let mut more = list.clone();
    more.slots.push(list.slots[0].clone());
    assert_eq!(verify_sealed(&more, &key()), Err(damaged(Place::List)));

    // A slot of another list under the same key.
    let foreign = sealed("other", &two_arms(), 20).slots.swap_remove(7);
    assert_eq!(open_slot(&list.header, &foreign, &key()).err(), Some(damaged(Place::Slot(8))));
}

#[test]
fn every_altered_field_of_the_header_closes_the_list() {
    let list = sealed("main", &two_arms(), 20);
    type Edit = fn(&mut Header);
    let edits: [(&str, Edit); 10] = [
        ("format", |h| h.format.push('2')),
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
        edit(&mut altered.header);
        assert!(open_slot(&altered.header, &list.slots[0], &key()).is_err(), "{field}");
        assert!(reveal(&altered, &key()).is_err(), "{field}");
    }
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let list = sealed("main", &two_arms(), 20);
    let mut other = KEY;
    other[31] ^= 1;
    let wrong = SealError::WrongKey { list: "main".to_owned(), expected: list.header.key_id.clone() };
    let other = SealKey::new(other);
    assert_eq!(open_slot(&list.header, &list.slots[0], &other).err(), Some(wrong.clone()));
    assert_eq!(reveal(&list, &other).err(), Some(wrong));

    // Whoever also writes the other key's id into the header still opens nothing.
    let mut forged = list.clone();
    forged.header.key_id = seal::key_id(&other);
    assert_eq!(open_slot(&forged.header, &list.slots[0], &other).err(), Some(damaged(Place::Slot(1))));
}

#[test]
fn nothing_about_an_arm_can_be_read_from_a_sealed_list() {
    // Names of very different length, and canaries that nothing else contains.
    let arms = Arms::new(["zq", &"canary-arm-".repeat(11)]).expect("two arms");
    let list = sealed("main", &arms, 92);
    assert!(list.slots.iter().all(|slot| slot.ciphertext.0.len() == 176 && slot.nonce.0.len() == 24));
    let mut nonces: Vec<&Hex> = list.slots.iter().map(|slot| &slot.nonce).collect();
    nonces.push(&list.sealed_seed.nonce);
    nonces.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(nonces.windows(2).all(|pair| pair[0] != pair[1]), "a nonce is used once");
    // The seed's length tells nothing of sizes or names either.
    let other = sealed("main", &two_arms(), 20);
    assert_eq!(list.sealed_seed.ciphertext.0.len(), other.sealed_seed.ciphertext.0.len());

    let json = serde_json::to_string(&list).expect("a sealed list");
    let printed = format!("{list:?} {arms:?} {:?}", reveal(&list, &key()).expect("the list"));
    for text in [&json, &printed] {
        let bytes = [b"canary".as_slice(), &SEED, &KEY].map(digest::to_hex);
        for hidden in
            ["zq", "canary", "sizes", "[6, 4]", "[4, 6]"].into_iter().chain(bytes.iter().map(String::as_str))
        {
            assert!(!text.contains(hidden), "{hidden}");
        }
    }
    let opened = open_slot(&list.header, &list.slots[0], &key()).expect("a slot");
    let printed = format!("{opened:?}");
    assert!(!printed.contains("zq") && !printed.contains("canary"), "{printed}");
    assert!(!printed.contains(&format!("{:?}", opened.salt.expose())));
    assert_eq!(serde_json::from_str::<SealedList>(&json).ok(), Some(list));
}

#[test]
fn a_list_without_a_name_is_not_sealed() {
    let scheme = blocks_of(&[4, 6]);
    let arms = two_arms();
    let definition = Digest::of(b"definition");
    let order = |id, trial, total| Order { id, trial, definition, scheme: &scheme, arms: &arms, total };
    let sealed = |order: Order<'_>| seal(&order, &Seed::new(SEED), &key(), &NONCE_SEED).err();
    assert_eq!(sealed(order("", "T", 92)), Some(SealError::Nameless { what: "an id" }));
    assert_eq!(
        sealed(order("main", "", 92)),
        Some(SealError::Nameless { what: "the identifier of its trial" })
    );
    assert!(matches!(sealed(order("main", "T", 91)), Some(SealError::Scheme(_))));
}

#[test]
fn another_nonce_seed_or_seed_gives_other_bytes() {
    let (scheme, arms) = (blocks_of(&[4, 6]), two_arms());
    let definition = Digest::of(b"definition");
    let order = Order { id: "main", trial: "T", definition, scheme: &scheme, arms: &arms, total: 20 };
    let sealed = |seed: u8, nonce: u8| {
        seal(&order, &Seed::new([seed; 32]), &key(), &[nonce; 32]).expect("a sealed list")
    };
    let first = sealed(1, 1);
    assert_eq!(first, sealed(1, 1), "the same inputs give the same bytes");
    let again = sealed(1, 2);
    assert_eq!(first.header, again.header, "the commitment does not depend on the nonce seed");
    let other = sealed(2, 1);
    assert_ne!(first.header.commitment, other.header.commitment);
    for (i, slot) in first.slots.iter().enumerate() {
        assert_ne!(slot.nonce, again.slots[i].nonce);
        // A nonce seed used twice by mistake: still no nonce twice.
        assert_ne!(slot.nonce, other.slots[i].nonce);
    }
}
