//! A Merkle tree over the leaves of a list: one hash stands for all slots, and a short proof shows
//! that one slot was among them.
//!
//! The tree is that of RFC 6962 (Certificate Transparency), so that any verifier of such logs can
//! check a proof. Leaves come in already hashed, with their 0x00 mark; see `seal::leaf`.
// # Source
// > "MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))"
// RFC 6962, section 2.1, where k is the largest power of two smaller than n.

use super::digest::Digest;

/// The root over at least one leaf; the hash of nothing over none, as RFC 6962 has it.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// The hashes beside the path from leaf `index` (from 0) to the root, lowest first; `None` where
/// there is no such leaf.
pub fn proof(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, beside) =
        if index < k { (proof(left, index)?, root(right)) } else { (proof(right, index - k)?, root(left)) };
    path.push(beside);
    Some(path)
}

/// The root that `leaf` at `index` of `count` leaves gives with this proof; `None` where the proof is
/// too long or too short for that place. The caller compares it with the root it trusts.
// # Source
// RFC 9162, section 2.1.3.2, "Verifying an Inclusion Proof".
pub fn root_from_proof(leaf: Digest, index: u64, count: u64, proof: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, count - 1, leaf);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(*beside, hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(hash, *beside);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

fn node(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Digest::of(&bytes)
}

/// The largest power of two smaller than `count`, which is at least 2.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomize::digest::from_hex;

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|i| Digest::of(&[0, i])).collect()
    }

    #[test]
    fn roots_of_the_certificate_transparency_test_data() {
        // The reference implementation's test leaves (certificate-transparency, merkle_tree_test.cc).
        let data = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let hashed: Vec<Digest> = data
            .iter()
            .map(|hex| Digest::of(&[vec![0], from_hex(hex).expect("hex in a test")].concat()))
            .collect();
        for (i, expected) in roots.iter().enumerate() {
            assert_eq!(root(&hashed[..=i]).to_string(), format!("sha256:{expected}"), "{} leaves", i + 1);
        }
    }

    #[test]
    fn every_proof_gives_the_root_and_only_in_its_own_place() {
        for count in 1..=33u8 {
            let leaves = leaves(count);
            let expected = root(&leaves);
            for (i, leaf) in leaves.iter().enumerate() {
                let path = proof(&leaves, i).expect("a leaf of the tree");
                for place in 0..u64::from(count) + 2 {
                    let found = root_from_proof(*leaf, place, u64::from(count), &path);
                    assert_eq!(
                        found == Some(expected),
                        place == i as u64,
                        "{count} leaves, {i} shown as {place}"
                    );
                }
                let longer = [path.as_slice(), &[expected]].concat();
                assert_eq!(root_from_proof(*leaf, i as u64, u64::from(count), &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(root_from_proof(*leaf, i as u64, u64::from(count), shorter), None);
                }
            }
            assert_eq!(proof(&leaves, usize::from(count)), None);
        }
        assert_eq!(proof(&[], 0), None);
        assert_eq!(root_from_proof(Digest::of(b""), 0, 0, &[]), None);
    }
}
