//! The recipe of a list as bytes: what is sealed so that the list can be drawn up again.
//!
//! The length is the same for every recipe: it tells neither how many block sizes there are nor how
//! long the arms' names are. Reading takes only what writing gives.

use super::{arms::Arms, scheme::Scheme, secret::Seed};
use zeroize::Zeroizing;

/// Seed, scheme and arms: with the total in the header, all that a list follows from.
pub(crate) struct Recipe {
    pub seed: Seed,
    pub scheme: Scheme,
    pub arms: Arms,
}

const NAME_BYTES: usize = 1 + Arms::LONGEST;
const SIZES_BYTES: usize = 1 + 4 * Scheme::MOST_SIZES;

/// Scheme tag, seed, sizes with their number, arms with their number.
pub(crate) const RECIPE_BYTES: usize = 1 + 32 + SIZES_BYTES + 1 + NAME_BYTES * Arms::MOST;

impl Recipe {
    /// The scheme has been checked: it has at most [`Scheme::MOST_SIZES`] sizes.
    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; RECIPE_BYTES]> {
        let mut bytes = Zeroizing::new([0; RECIPE_BYTES]);
        let (kind, numbers) = self.scheme.to_parts();
        bytes[0] = kind;
        bytes[1..33].copy_from_slice(self.seed.expose());
        let (size_bytes, arm_bytes) = bytes[33..].split_at_mut(SIZES_BYTES);
        // Both numbers are at most 16, by `Scheme::check` and by the construction of `Arms`.
        size_bytes[0] = numbers.len() as u8;
        for (place, size) in size_bytes[1..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&size.to_be_bytes());
        }
        arm_bytes[0] = self.arms.names().len() as u8;
        for (place, name) in arm_bytes[1..].chunks_exact_mut(NAME_BYTES).zip(self.arms.names()) {
            put_name(place, name);
        }
        bytes
    }
}

/// Reads a recipe; `None` where these are not the bytes of one.
pub(crate) fn read(bytes: &[u8; RECIPE_BYTES]) -> Option<Recipe> {
    let (&kind, rest) = bytes.split_first()?;
    let (seed, rest) = rest.split_first_chunk::<32>()?;
    let (size_bytes, arm_bytes) = rest.split_at_checked(SIZES_BYTES)?;
    let (&count, numbers) = size_bytes.split_first()?;
    let numbers: Vec<u32> = numbers
        .as_chunks::<4>()
        .0
        .iter()
        .take(count.into())
        .map(|number| u32::from_be_bytes(*number))
        .collect();
    let (&count, names) = arm_bytes.split_first()?;
    let names: Option<Vec<&str>> = names.chunks_exact(NAME_BYTES).take(count.into()).map(read_name).collect();
    let recipe = Recipe {
        seed: Seed::new(*seed),
        scheme: Scheme::from_parts(kind, &numbers)?,
        arms: Arms::new(names?).ok()?,
    };
    (*recipe.to_bytes() == *bytes).then_some(recipe)
}

/// Writes a name's length and the name; what follows in `place` stays zero.
pub(crate) fn put_name(place: &mut [u8], name: &str) {
    // At most 127 bytes, by the construction of `Arms`.
    place[0] = name.len() as u8;
    place[1..=name.len()].copy_from_slice(name.as_bytes());
}

/// Reads what [`put_name`] wrote; `None` where it is not a name followed by zeros.
pub(crate) fn read_name(place: &[u8]) -> Option<&str> {
    let (&length, rest) = place.split_first()?;
    let (name, zeros) = rest.split_at_checked(length.into())?;
    if zeros.iter().any(|&byte| byte != 0) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(sizes: Vec<u32>, names: &[&str]) -> Recipe {
        Recipe {
            seed: Seed::new([5; 32]),
            scheme: Scheme::PermutedBlocks { sizes },
            arms: Arms::new(names.iter().copied()).expect("arms in a test"),
        }
    }

    #[test]
    fn a_recipe_is_read_back_as_it_was_written() {
        let longest = "x".repeat(Arms::LONGEST);
        let many: Vec<String> = (0..Arms::MOST).map(|i| format!("arm {i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for written in [
            recipe(vec![4, 6], &["single", "double"]),
            recipe(vec![4], &["ä", &longest]),
            recipe((2..18).map(|i| i * 16).collect(), &many),
        ] {
            let found = read(&written.to_bytes()).expect("a recipe");
            assert_eq!(found.seed.expose(), written.seed.expose());
            assert_eq!(found.scheme, written.scheme);
            assert!(found.arms == written.arms);
        }
    }

    #[test]
    fn a_name_is_read_only_where_zeros_follow_it() {
        let table: [(&[u8], Option<&str>); 6] = [
            (b"\x02ab\0\0", Some("ab")),
            (b"\x02ab", Some("ab")),
            (b"\x02ab\0\x01", None),
            (b"\x03ab", None),
            (b"\x01\xff\0", None),
            (b"", None),
        ];
        for (bytes, name) in table {
            assert_eq!(read_name(bytes), name, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_writing_does_not_give_are_refused() {
        let good = recipe(vec![4, 6], &["single", "double"]).to_bytes();
        // Place, byte: unknown scheme, sizes that are not there, a third size, too many arms, one arm,
        // a longer name, something behind the last arm.
        let last = RECIPE_BYTES - 1;
        for (place, byte) in
            [(0, 2), (33, 17), (33, 1), (45, 1), (98, 17), (98, 1), (99, 7), (99, 200), (last, 1)]
        {
            let mut bytes = *good;
            bytes[place] = byte;
            assert!(read(&bytes).is_none(), "byte {place} = {byte}");
        }
        assert!(read(&good).is_some());
    }
}
