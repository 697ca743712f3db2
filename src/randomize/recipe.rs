//! The recipe of a list as bytes: what is sealed so that the list can be drawn up again.
//!
//! Version 2 is JSON, so that whoever opens it can read it without this program, followed by zeros. Its
//! length tells nothing: generated lists fill [`ROOM`] bytes, imported ones a multiple of it that follows
//! from how many slots there are. Reading takes only what writing gives.
//!
//! Version 1, a layout of fixed places for permuted blocks in one stratum, is read and no longer written.

use super::{
    arms::Arms,
    digest::{Hex, hex_array, to_hex},
    header::{Header, Origin, Version},
    layout::read_name,
    plan::{Content, Factor, Place, Plan},
    scheme::Scheme,
    secret::Seed,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Everything that a list follows from.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Of an imported list it gives the salts only.
    pub seed: Seed,
    pub plan: Plan,
    /// The list itself where it was imported, in order of stratum and position.
    pub imported: Option<Vec<Place>>,
}

/// The bytes that the recipe of a generated list fills.
pub(crate) const ROOM: usize = 16 * 1024;
const FORMAT: &str = "trialbridge/recipe/v2";

/// The JSON of a recipe, in this order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    seed: Hex,
    scheme: Scheme,
    arms: Vec<String>,
    factors: Vec<WrittenFactor>,
    total: u32,
    /// One text a stratum, five hexadecimal digits a place: block (4), arm (1).
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFactor {
    name: String,
    levels: Vec<String>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.seed.0.zeroize();
        self.imported.zeroize();
    }
}

const PLACE_DIGITS: usize = 5;

impl Recipe {
    pub(crate) fn origin(&self) -> Origin {
        if self.imported.is_some() { Origin::Imported } else { Origin::Generated }
    }

    /// The JSON and zeros; `None` where names of arms and factors leave no room, or a place of an imported
    /// list has no spelling.
    pub(crate) fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let strata = self.plan.strata().len();
        let imported = match &self.imported {
            None => None,
            Some(places) => Some(written_places(places, strata)?),
        };
        let written = Written {
            format: FORMAT.to_owned(),
            seed: Hex(self.seed.expose().to_vec()),
            scheme: self.plan.scheme.clone(),
            arms: self.plan.arms.names().to_vec(),
            factors: self
                .plan
                .factors
                .iter()
                .map(|f| WrittenFactor { name: f.name.clone(), levels: f.levels.clone() })
                .collect(),
            total: self.plan.total,
            imported,
        };
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let places: usize = written.imported.iter().flatten().map(|text| text.len() + 3).sum();
        let room = ROOM * (1 + places.div_ceil(ROOM));
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * room));
        serde_json::to_writer(&mut *bytes, &written).ok()?;
        if bytes.len() > room {
            return None;
        }
        bytes.resize(room, 0);
        Some(bytes)
    }
}

/// Reads what was sealed with a list of this header; `None` where these are not the bytes of a recipe.
pub(crate) fn read(header: &Header, version: Version, bytes: &[u8]) -> Option<Recipe> {
    match version {
        Version::V1 => read_v1(header, bytes),
        Version::V2 => read_v2(bytes),
    }
}

fn read_v2(bytes: &[u8]) -> Option<Recipe> {
    let end = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    let written: Written = serde_json::from_slice(&bytes[..end]).ok()?;
    if written.format != FORMAT {
        return None;
    }
    let plan = Plan {
        scheme: written.scheme.clone(),
        arms: Arms::new(written.arms.clone()).ok()?,
        factors: written
            .factors
            .iter()
            .map(|f| Factor { name: f.name.clone(), levels: f.levels.clone() })
            .collect(),
        total: written.total,
    };
    let imported = match &written.imported {
        None => None,
        Some(strata) => Some(read_places(strata)?),
    };
    let seed = Seed::new(written.seed.0.as_slice().try_into().ok()?);
    let recipe = Recipe { seed, plan, imported };
    (recipe.to_bytes()?.as_slice() == bytes).then_some(recipe)
}

fn written_places(places: &[Place], strata: usize) -> Option<Vec<String>> {
    let mut texts = vec![String::new(); strata];
    for text in &mut texts {
        text.reserve_exact(PLACE_DIGITS * places.len());
    }
    for place in places {
        let text = texts.get_mut(place.stratum as usize)?;
        let (block, Content::Arm(arm)) = (u16::try_from(place.block).ok()?, &place.content) else {
            return None;
        };
        text.push_str(&to_hex(&block.to_be_bytes()));
        // A digit has room for `Arms::MOST`.
        text.push(char::from_digit(u32::try_from(*arm).ok()?, 16)?);
    }
    Some(texts)
}

fn read_places(strata: &[String]) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for (stratum, text) in (0..).zip(strata) {
        let (digits, rest) = text.as_bytes().as_chunks::<PLACE_DIGITS>();
        if !rest.is_empty() {
            return None;
        }
        for (position, place) in (1..).zip(digits) {
            let place = std::str::from_utf8(place).ok()?;
            let (block, arm) = place.split_at_checked(4)?;
            let block = u16::from_be_bytes(hex_array(block)?);
            let arm = arm.chars().next()?.to_digit(16)?;
            let content = Content::Arm(arm as usize);
            places.push(Place { stratum, position, block: block.into(), content });
        }
    }
    Some(places)
}

const PERMUTED_BLOCKS_V1: u8 = 1;
const NAME_BYTES_V1: usize = 1 + Arms::LONGEST;
const SIZES_BYTES_V1: usize = 1 + 4 * 16;
/// Scheme tag, seed, sizes with their number, arms with their number.
const RECIPE_BYTES_V1: usize = 1 + 32 + SIZES_BYTES_V1 + 1 + NAME_BYTES_V1 * Arms::MOST;

fn read_v1(header: &Header, bytes: &[u8]) -> Option<Recipe> {
    if bytes.len() != RECIPE_BYTES_V1 {
        return None;
    }
    let (&tag, rest) = bytes.split_first()?;
    let (seed, rest) = rest.split_first_chunk::<32>()?;
    let (size_bytes, arm_bytes) = rest.split_at_checked(SIZES_BYTES_V1)?;
    if tag != PERMUTED_BLOCKS_V1 {
        return None;
    }
    let (&count, places) = size_bytes.split_first()?;
    let (sizes, zeros) = places.split_at_checked(4 * usize::from(count))?;
    let sizes = sizes.as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size)).collect();
    let (&count, places) = arm_bytes.split_first()?;
    let (names, more_zeros) = places.split_at_checked(NAME_BYTES_V1 * usize::from(count))?;
    if zeros.iter().chain(more_zeros).any(|&byte| byte != 0) {
        return None;
    }
    let names: Option<Vec<&str>> = names.chunks_exact(NAME_BYTES_V1).map(read_name).collect();
    let plan = Plan {
        scheme: Scheme::PermutedBlocks { sizes },
        arms: Arms::new(names?).ok()?,
        factors: Vec::new(),
        total: header.total,
    };
    Some(Recipe { seed: Seed::new(*seed), plan, imported: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: Vec<u32>, names: &[&str]) -> Plan {
        Plan {
            scheme: Scheme::PermutedBlocks { sizes },
            arms: Arms::new(names.iter().copied()).expect("arms in a test"),
            factors: vec![Factor { name: "site".into(), levels: vec!["north".into(), "south \"2\"".into()] }],
            total: 20,
        }
    }

    fn generated(sizes: Vec<u32>, names: &[&str]) -> Recipe {
        Recipe { seed: Seed::new([5; 32]), plan: plan(sizes, names), imported: None }
    }

    fn place(stratum: u32, position: u32, block: u32, arm: usize) -> Place {
        Place { stratum, position, block, content: Content::Arm(arm) }
    }

    #[test]
    fn a_recipe_is_read_back_as_it_was_written() {
        let longest = "x".repeat(Arms::LONGEST);
        let many: Vec<String> = (0..Arms::MOST).map(|i| format!("arm {i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let places = vec![place(0, 1, 1, 15), place(0, 2, 65535, 0), place(1, 1, 0, 3)];
        for written in [
            generated(vec![4, 6], &["single", "double"]),
            generated(vec![4], &["ä", &longest]),
            generated((2..18).map(|i| i * 16).collect(), &many),
            Recipe { imported: Some(places), ..generated(vec![4], &many) },
        ] {
            let bytes = written.to_bytes().expect("a recipe");
            let found = read_v2(&bytes).expect("a recipe");
            assert_eq!(found.seed.expose(), written.seed.expose());
            assert!(found.plan == written.plan);
            assert_eq!(found.imported, written.imported);
            assert_eq!(found.origin(), written.origin());
        }
    }

    #[test]
    fn the_length_tells_neither_sizes_nor_names_nor_arms() {
        let length = |recipe: &Recipe| recipe.to_bytes().map(|bytes| bytes.len());
        for recipe in [
            generated(vec![4], &["a", "b"]),
            generated((2..18).map(|i| i * 500).collect(), &["single infusion", &"x".repeat(Arms::LONGEST)]),
        ] {
            assert_eq!(length(&recipe), Some(ROOM));
        }
        // 10 000 places of arm 0 in block 0 and of arm 1 in block 9 999: one length.
        let many = |block, arm| Recipe {
            imported: Some((1..=10_000).map(|position| place(0, position, block, arm)).collect()),
            ..generated(vec![4], &["a", "b"])
        };
        assert_eq!(length(&many(0, 0)), Some(ROOM * 5));
        assert_eq!(length(&many(9_999, 1)), Some(ROOM * 5));
    }

    #[test]
    fn what_has_no_room_or_no_spelling_is_refused() {
        let mut wordy = generated(vec![4], &["a", "b"]);
        wordy.plan.factors[0].levels = (0..1_000).map(|i| format!("level number {i:04}")).collect();
        assert!(wordy.to_bytes().is_none());
        for refused in [place(0, 1, 65_536, 0), place(0, 1, 0, 16), place(2, 1, 0, 0)] {
            let recipe = Recipe { imported: Some(vec![refused]), ..generated(vec![4], &["a", "b"]) };
            assert!(recipe.to_bytes().is_none());
        }
    }

    #[test]
    fn bytes_that_writing_does_not_give_are_refused() {
        let good = generated(vec![4, 6], &["single", "double"]).to_bytes().expect("a recipe");
        assert!(read_v2(&good).is_some());
        let text = String::from_utf8(good.iter().copied().take_while(|&b| b != 0).collect()).expect("text");
        let padded = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(ROOM, 0);
            bytes
        };
        assert!(read_v2(&padded(&text)).is_some());
        for (what, with) in [
            ("recipe/v2", "recipe/v3"),
            ("\"total\":20", "\"total\": 20"),
            ("\"total\":20", "\"total\":20,\"more\":1"),
            ("\"single\"", "\"double\""),
            ("0505", "05"),
            ("[4,6]", "[4,6],\"x\":1"),
            ("{\"format\"", "{\"total\":20,\"format\""),
        ] {
            let altered = text.replacen(what, with, 1);
            assert_ne!(altered, text, "{what}");
            assert!(read_v2(&padded(&altered)).is_none(), "{what}");
        }
        assert!(read_v2(&good[..ROOM - 1]).is_none(), "shorter");
        assert!(read_v2(&[&good[..], &[0]].concat()).is_none(), "longer");
        assert!(read_v2(&[]).is_none() && read_v2(&[0; ROOM]).is_none());
    }
}
