//! Whole lists, made by an independent program in Python, byte for byte.

use super::super::{
    digest::{Digest, Hex, hex_array, to_hex},
    stream::Stream,
    *,
};
use serde::Deserialize;

/// The list of version 1 as earlier releases stored it, and what it follows from.
#[derive(Deserialize)]
struct Stored {
    public: Public,
    slots: Vec<SealedSlot>,
}

#[derive(Deserialize)]
struct KnownAnswer<I, E> {
    inputs: I,
    expected: E,
}

#[derive(Deserialize)]
struct InputsV1 {
    seed: String,
    key: String,
    list: String,
    sizes: Vec<u32>,
    arms: Vec<String>,
    total: u32,
}

#[derive(Deserialize)]
struct ExpectedV1 {
    words: Vec<String>,
    blocks: Vec<String>,
    commitment: Digest,
    key_id: String,
    slots_hash: Digest,
    last_slot: SealedSlot,
}

#[test]
fn a_list_stored_by_an_earlier_release_opens_and_verifies() {
    let text = include_str!("../../../fixtures/randomize/known-answer.json");
    let KnownAnswer::<InputsV1, ExpectedV1> { inputs, expected } =
        serde_json::from_str(text).expect("the known answer");
    let text = include_str!("../../../fixtures/randomize/sealed-list-v1.json");
    let Stored { public, slots } = serde_json::from_str(text).expect("the stored list");
    let seed = Seed::from_hex(&inputs.seed).expect("a seed");
    let key = SealKey::from_hex(&inputs.key).expect("a key");
    let arms = Arms::new(inputs.arms.clone()).expect("arms");
    let scheme = Scheme::PermutedBlocks { sizes: inputs.sizes };

    let mut stream = Stream::new(&seed);
    let words: Vec<String> = (0..4).map(|_| format!("{:08x}", stream.word())).collect();
    assert_eq!(words, expected.words);
    let drawn = generate(&scheme, &arms, inputs.total, &seed).expect("a list");
    let mut blocks: Vec<String> = Vec::new();
    for slot in &drawn {
        blocks.resize(slot.block as usize, String::new());
        blocks[slot.block as usize - 1] += &slot.arm.to_string();
    }
    assert_eq!(blocks, expected.blocks);

    // The fixture is the list of the known answer.
    let header = &public.header;
    assert_eq!((&header.commitment, &header.key_id), (&expected.commitment, &expected.key_id));
    assert_eq!(slots.last(), Some(&expected.last_slot));
    let lines: String = slots.iter().map(|slot| line(slot, false)).collect();
    assert_eq!(Digest::of(lines.as_bytes()), expected.slots_hash);

    for (slot, stored) in drawn.iter().zip(&slots) {
        let opened = open_slot(header, stored, &key).expect("a slot");
        assert_eq!((opened.stratum, opened.position), (0, slot.position));
        assert_eq!(opened.held.content(&arms), Some(Content::Arm(slot.arm)));
        let (held, proof) = (Held::Arm(Arm::new(&arms.names()[slot.arm])), &opened.proof);
        assert_eq!(verify_allocation(header, (0, slot.position), &held, &opened.salt, proof), Ok(()));
        assert_eq!(verify_leaf(header, 0, slot.position, opened.leaf, proof), Ok(()));
    }
    let revealed = reveal(&public, &key).expect("the recipe");
    assert_eq!(revealed.seed.expose(), seed.expose());
    assert!(revealed.plan == Plan { scheme, arms: arms.clone(), factors: Vec::new(), total: 92 });
    assert_eq!(revealed.places.len(), 92);
    assert_eq!(header.id, inputs.list);
    let list = SealedList { public, slots };
    assert_eq!(verify_sealed(&list, &key), Ok(()));

    // What version 2 added cannot be slipped into a header whose seals are not bound to it.
    type Edit = fn(&mut Header);
    let edits: [Edit; 5] = [
        |h| h.origin = seal::Origin::Imported,
        |h| h.strata.push(seal::Stratum { label: String::new(), slots: 92 }),
        |h| h.factors.push(seal::FactorLevels { name: "site".into(), levels: vec!["a".into()] }),
        |h| h.statisticians.push("00".repeat(16)),
        |h| h.format = seal::FORMAT.to_owned(),
    ];
    for edit in edits {
        let mut altered = list.public.header.clone();
        edit(&mut altered);
        assert!(matches!(
            open_slot(&altered, &list.slots[0], &key),
            Err(SealError::Damaged { part: seal::Part::Header, .. })
        ));
    }
    let mut moved = list.slots[0].clone();
    moved.stratum = 1;
    assert!(open_slot(&list.public.header, &moved, &key).is_err());
}

#[derive(Deserialize)]
struct Inputs {
    seed: String,
    key: String,
    nonce_seed: String,
    definition: String,
    list: String,
    trial: String,
    sizes: Vec<u32>,
    arms: Vec<String>,
    factors: Vec<InputFactor>,
    total: u32,
    statistician: String,
}

#[derive(Deserialize)]
struct InputFactor {
    name: String,
    levels: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    first_salt: String,
    first_leaf: Digest,
    header: Header,
    slots_hash: Digest,
    last_slot: SealedSlot,
    sealed_seed_hash: Digest,
}

#[test]
fn the_known_answer_is_drawn_up_and_sealed_byte_for_byte() {
    let text = include_str!("../../../fixtures/randomize/known-answer-v2.json");
    let KnownAnswer::<Inputs, Expected> { inputs, expected } =
        serde_json::from_str(text).expect("the known answer");
    let seed = Seed::from_hex(&inputs.seed).expect("a seed");
    let key = SealKey::from_hex(&inputs.key).expect("a key");
    let factors = inputs.factors.into_iter().map(|f| Factor { name: f.name, levels: f.levels });
    let plan = Plan {
        scheme: Scheme::PermutedBlocks { sizes: inputs.sizes },
        arms: Arms::new(inputs.arms.clone()).expect("arms"),
        factors: factors.collect(),
        total: inputs.total,
    };

    let order = Order {
        id: &inputs.list,
        trial: &inputs.trial,
        definition: hex_array(&inputs.definition).map(Digest).expect("a hash"),
        plan: &plan,
        imported: None,
        statisticians: &[inputs.statistician.parse().expect("a public key")],
    };
    let entropy = Entropy {
        seed,
        nonce_seed: hex_array(&inputs.nonce_seed).expect("a nonce seed"),
        ephemeral: Ephemeral::new([77; 32]),
    };
    let list = seal(&order, &key, &entropy).expect("a sealed list");
    assert_eq!(list.public.header, expected.header);
    let first = open_slot(&list.public.header, &list.slots[0], &key).expect("a slot");
    assert_eq!(to_hex(first.salt.expose()), expected.first_salt);
    assert_eq!(first.leaf, expected.first_leaf);
    assert_eq!(list.slots.last(), Some(&expected.last_slot));
    let lines: String = list.slots.iter().map(|slot| line(slot, true)).collect();
    assert_eq!(Digest::of(lines.as_bytes()), expected.slots_hash);
    let sealed = &list.public.sealed_seed;
    let sealed = format!("{} {}\n", to_hex(&sealed.nonce.0), to_hex(&sealed.ciphertext.0));
    assert_eq!(Digest::of(sealed.as_bytes()), expected.sealed_seed_hash);
}

/// Stratum from version 2 on, position, nonce, ciphertext, proof: as the Python program writes them before
/// it hashes them.
fn line(slot: &SealedSlot, stratum: bool) -> String {
    let SealedSlot { position, nonce: Hex(nonce), ciphertext: Hex(ciphertext), proof, .. } = slot;
    let proof: Vec<String> = proof.iter().map(Digest::to_string).collect();
    let prefix = if stratum { format!("{} ", slot.stratum) } else { String::new() };
    format!("{prefix}{position} {} {} {}\n", to_hex(nonce), to_hex(ciphertext), proof.join(","))
}
