//! One list, made by an independent program in Python, byte for byte.

use super::super::{
    digest::{Digest, Hex, hex_array, to_hex},
    seal::{Order, SealedSeed, leaf, salt},
    stream::Stream,
    *,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct KnownAnswer {
    inputs: Inputs,
    expected: Expected,
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
    total: u32,
}

#[derive(Deserialize)]
struct Expected {
    words: Vec<String>,
    blocks: Vec<String>,
    first_salt: String,
    first_leaf: Digest,
    commitment: Digest,
    key_id: String,
    slots_hash: Digest,
    last_slot: SealedSlot,
    sealed_seed: SealedSeed,
}

#[test]
fn the_known_answer_is_drawn_up_and_sealed_byte_for_byte() {
    let text = include_str!("../../../fixtures/randomize/known-answer.json");
    let KnownAnswer { inputs, expected } = serde_json::from_str(text).expect("the known answer");
    let seed = Seed::from_hex(&inputs.seed).expect("a seed");
    let key = SealKey::from_hex(&inputs.key).expect("a key");
    let nonce_seed = hex_array(&inputs.nonce_seed).expect("a nonce seed");
    let arms = Arms::new(inputs.arms.clone()).expect("arms");
    let scheme = Scheme::PermutedBlocks { sizes: inputs.sizes };

    let mut stream = Stream::new(&seed);
    let words: Vec<String> = (0..4).map(|_| format!("{:08x}", stream.word())).collect();
    assert_eq!(words, expected.words);

    let slots = generate(&scheme, &arms, inputs.total, &seed).expect("a list");
    let mut blocks: Vec<String> = Vec::new();
    for slot in &slots {
        blocks.resize(slot.block as usize, String::new());
        blocks[slot.block as usize - 1] += &slot.arm.to_string();
    }
    assert_eq!(blocks, expected.blocks);
    assert!(slots.iter().map(|slot| slot.position).eq(1..=92));

    let first_salt = salt(&seed, 1);
    assert_eq!(to_hex(first_salt.expose()), expected.first_salt);
    let first_arm = &inputs.arms[slots[0].arm];
    assert_eq!(leaf(&inputs.list, 1, &first_salt, first_arm), expected.first_leaf);

    let order = Order {
        id: &inputs.list,
        trial: &inputs.trial,
        definition: hex_array(&inputs.definition).map(Digest).expect("a hash"),
        scheme: &scheme,
        arms: &arms,
        total: inputs.total,
    };
    let list = seal(&order, &seed, &key, &nonce_seed).expect("a sealed list");
    assert_eq!(list.header.commitment, expected.commitment);
    assert_eq!(list.header.key_id, expected.key_id);
    assert_eq!(list.slots.last(), Some(&expected.last_slot));
    assert_eq!(list.sealed_seed, expected.sealed_seed);
    let lines: String = list.slots.iter().map(line).collect();
    assert_eq!(Digest::of(lines.as_bytes()), expected.slots_hash);
}

/// Position, nonce, ciphertext, proof: as the Python program writes them before it hashes them.
fn line(slot: &SealedSlot) -> String {
    let SealedSlot { position, nonce: Hex(nonce), ciphertext: Hex(ciphertext), proof } = slot;
    let proof: Vec<String> = proof.iter().map(Digest::to_string).collect();
    format!("{position} {} {} {}\n", to_hex(nonce), to_hex(ciphertext), proof.join(","))
}
