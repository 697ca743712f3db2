//! The stream of numbers that a list is drawn from: ChaCha20 words, numbers below a bound, shuffles.
//!
//! Bound and shuffle are defined here rather than taken from a library, because libraries change
//! theirs between versions and a list must come out the same for ever. The stream gives numbers to
//! nothing but the list: no salt, nonce or key is drawn from it.

use super::secret::Seed;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use std::num::NonZeroU32;

/// The key stream of ChaCha20 (20 rounds) as 32-bit words.
///
/// The key is the seed; block counter 64 bits from 0, nonce 64 bits, all zero. The words of a block
/// are taken in order, each as the little-endian number of its four bytes.
// # Source
// > "A 256-bit key, treated as a concatenation of eight 32-bit little-endian integers."
// RFC 8439, section 2.3. RFC 8439 has a counter of 32 bits and a nonce of 96; with the nonce all zero
// and fewer than 2^32 blocks, as here, both layouts give the same stream.
pub struct Stream(ChaCha20Rng);

impl Stream {
    pub fn new(seed: &Seed) -> Self {
        // The generator keeps its own copy of the key and does not wipe it, so a stream lives only as
        // long as one call of `generate`.
        Stream(ChaCha20Rng::from_seed(*seed.expose()))
    }

    /// The next word.
    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number from 0 to `n` - 1, each equally likely. Takes at least one word, also for `n` = 1.
    pub fn below(&mut self, n: NonZeroU32) -> u32 {
        loop {
            if let Some(number) = within(self.word(), n) {
                return number;
            }
        }
    }

    /// Fisher-Yates: for i from the last index down to 1, swaps items i and `below(i + 1)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let n = u32::try_from(i + 1).ok().and_then(NonZeroU32::new);
            let j = self.below(n.expect("a block holds at most Scheme::MOST_SLOTS items"));
            items.swap(i, j as usize);
        }
    }
}

/// `word` mod `n`, or nothing when the word lies in the incomplete stretch at the top:
/// at or above floor(2^32 / n) * n, where the small remainders would come once too often.
fn within(word: u32, n: NonZeroU32) -> Option<u32> {
    let limit = (1u64 << 32) / u64::from(n.get()) * u64::from(n.get());
    (u64::from(word) < limit).then(|| word % n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("a bound in a test")
    }

    #[test]
    fn known_words() {
        // The same in rand_chacha 0.3, 0.9 and 0.10, chacha20 0.10 and the Python of docs/randomization.md.
        let mut stream = Stream::new(&Seed::new([7; 32]));
        let words = [stream.word(), stream.word(), stream.word(), stream.word()];
        assert_eq!(words, [0x7892_00f4, 0x41f6_aa57, 0xba61_f514, 0x7079_b3ac]);

        // RFC 8439 appendix A.1, test vectors 1 and 2: the zero key, blocks 0 and 1.
        let mut stream = Stream::new(&Seed::new([0; 32]));
        let words: Vec<u32> = (0..32).map(|_| stream.word()).collect();
        assert_eq!(words[..4], [0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653]);
        assert_eq!(words[16..20], [0xbee7_079f, 0x7a38_5155, 0x7c97_ba98, 0x0d08_2d73]);
    }

    #[test]
    fn the_incomplete_stretch_is_refused() {
        // word, n, result
        let table = [
            (0, 1, Some(0)),
            (u32::MAX, 1, Some(0)),
            (u32::MAX, 2, Some(1)),
            (4_294_967_294, 3, Some(2)),
            (4_294_967_295, 3, None),
            (4_294_967_291, 6, Some(5)),
            (4_294_967_292, 6, None),
            (4_294_967_295, 6, None),
            (2_147_483_648, 2_147_483_649, Some(2_147_483_648)),
            (2_147_483_649, 2_147_483_649, None),
            (u32::MAX - 1, u32::MAX, Some(u32::MAX - 1)),
            (u32::MAX, u32::MAX, None),
        ];
        for (word, bound, expected) in table {
            assert_eq!(within(word, n(bound)), expected, "{word} below {bound}");
        }
    }

    #[test]
    fn a_refused_word_is_followed_by_the_next() {
        // With this bound about half of all words are refused.
        let bound = n(2_147_483_649);
        let seed = Seed::new([7; 32]);
        let mut words = Stream::new(&seed);
        let expected: Vec<u32> =
            std::iter::repeat_with(|| words.word()).filter(|w| *w < bound.get()).take(50).collect();
        let mut stream = Stream::new(&seed);
        assert_eq!((0..50).map(|_| stream.below(bound)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_shuffle_goes_down_from_the_last() {
        let seed = Seed::new([7; 32]);
        let mut by_hand: Vec<u32> = (0..8).collect();
        let mut stream = Stream::new(&seed);
        for i in (1..8u32).rev() {
            let j = stream.below(n(i + 1));
            by_hand.swap(i as usize, j as usize);
        }
        let mut shuffled: Vec<u32> = (0..8).collect();
        Stream::new(&seed).shuffle(&mut shuffled);
        assert_eq!(shuffled, by_hand);

        let mut stream = Stream::new(&seed);
        stream.shuffle::<u32>(&mut []);
        stream.shuffle(&mut [1]);
        assert_eq!(stream.word(), 0x7892_00f4, "nothing to shuffle takes no word");
    }
}
