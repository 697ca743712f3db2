//! What an operator, a sponsor or a statistician hands over: definitions, the configuration, the list.

use chrono::NaiveDate;
use std::sync::OnceLock;
use trialbridge::collection::Collection;
use trialbridge::config::Config;
use trialbridge::protocol::check::check;
use trialbridge::protocol::{Definition, Finding, Trial, document::SiteFile};
use trialbridge::randomize::seal::{
    Entropy, Order, SealedList, open_slot, reveal, reveal_to, seal, verify_sealed,
};
use trialbridge::randomize::{
    Arms, Content, Digest, Ephemeral, Plan, Scheme, SealKey, Seed, StatisticianKey, StatisticianSecret,
    draw_up,
};

/// The shipped files that a definition under test is completed with.
const SHIPPED: [(&str, &str); 4] = [
    ("criteria.toml", include_str!("../../mappings/nct06242405/criteria.toml")),
    ("trial.toml", include_str!("../../mappings/nct06242405/trial.toml")),
    ("value-sets.toml", include_str!("../../mappings/nct06242405/value-sets.toml")),
    ("variables.toml", include_str!("../../mappings/nct06242405/variables.toml")),
];

/// A patient with something of everything.
const PATIENT: &str = include_str!("../../fixtures/screen/01-eligible/input.ndjson");

fn named(findings: &[Finding]) {
    assert!(!findings.is_empty(), "refused without a word");
    for finding in findings {
        assert!(!finding.place.is_empty() && !finding.text.is_empty(), "{finding:?}");
        assert!(finding.id.starts_with("TB-"), "{finding:?}");
    }
}

/// A trial that compiles can be run.
fn can_be_run(trial: &Trial) {
    let mut collection = Collection::new(trial);
    for line in PATIENT.lines() {
        collection.add(line.as_bytes(), "fixture").expect("a fixture is read");
    }
    let day = NaiveDate::from_ymd_opt(2026, 11, 22).expect("a day");
    for screening in collection.settle().screen(day) {
        serde_json::to_string(&screening).expect("a screening is JSON");
    }
}

/// A file of a trial definition: alone, or in the place of one of the shipped files, chosen by the first
/// byte. It compiles and runs, or every mistake has its place.
pub fn trial(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let at = usize::from(*first) % (SHIPPED.len() + 1);
    let mut sources: Vec<(String, String)> = Vec::new();
    match SHIPPED.get(at) {
        None => sources.push(("trial.toml".into(), text.into())),
        Some((replaced, _)) => {
            for (name, shipped) in SHIPPED {
                sources.push((name.into(), if name == *replaced { text } else { shipped }.into()));
            }
        }
    }
    match Definition::read(sources) {
        Err(findings) => named(&findings),
        Ok(definition) => {
            let site = SiteFile::default();
            match Trial::compile(&definition, &site) {
                Err(findings) => named(&findings),
                Ok(trial) => {
                    let (checked, _) = check(&definition, &site);
                    assert!(checked.is_none_or(|c| c.hash == trial.hash));
                    can_be_run(&trial);
                }
            }
        }
    }
}

/// A site file with the shipped trial.
pub fn site(data: &[u8]) {
    static DEFINITION: OnceLock<Definition> = OnceLock::new();
    let definition = DEFINITION.get_or_init(Definition::shipped);
    let Ok(text) = std::str::from_utf8(data) else { return };
    match SiteFile::read("site.toml", text) {
        Err(findings) => named(&findings),
        Ok(site) => match Trial::compile(definition, &site) {
            Err(findings) => named(&findings),
            Ok(trial) => can_be_run(&trial),
        },
    }
}

/// The configuration: read, or refused with its place; the same twice; variables of the environment
/// behind the last line that begins with `=`.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, environment) = text.split_once("\n=").unwrap_or((text, ""));
    let variables = || {
        let pairs = environment.lines().filter_map(|l| l.split_once('='));
        pairs.map(|(k, v)| (format!("TRIALBRIDGE_{k}"), v.to_owned())).take(8).collect::<Vec<_>>()
    };
    let read = || Config::read("c.toml", file, variables());
    match (read(), read()) {
        (Ok(one), Ok(two)) => {
            assert_eq!(format!("{one:?}"), format!("{two:?}"));
            assert!(one.pull.page_size > 0 && one.pull.max_concurrent > 0);
            assert!(["auto", "R4", "R4B", "R5"].contains(&one.fhir.release.as_str()));
        }
        (Err(one), Err(two)) => {
            assert_eq!(one, two);
            assert!(one.place.starts_with("c.toml") || one.place.starts_with("TRIALBRIDGE_"), "{one:?}");
            assert!(!one.text.is_empty() && !one.text.contains('\n'), "{one:?}");
        }
        (one, two) => panic!("{one:?}, then {two:?}"),
    }
}

struct Sealed {
    text: String,
    list: SealedList,
    key: SealKey,
    secret: StatisticianSecret,
    arms: Arms,
    /// By position.
    contents: Vec<Content>,
}

fn sealed() -> &'static Sealed {
    static LIST: OnceLock<Sealed> = OnceLock::new();
    LIST.get_or_init(|| {
        let (seed, key) = (Seed::new([7; 32]), SealKey::new([9; 32]));
        let secret = StatisticianSecret::new([5; 32]);
        let arms = Arms::new(["A", "B"]).expect("two arms");
        let scheme = Scheme::PermutedBlocks { sizes: vec![4] };
        let plan = Plan { scheme, arms: arms.clone(), factors: Vec::new(), total: 8 };
        let contents =
            draw_up(&plan, &seed).expect("places").into_iter().map(|place| place.content).collect();
        let definition = Digest::of(b"definition");
        let statisticians = [StatisticianKey::of(&secret)];
        let order = Order {
            id: "main",
            trial: "T",
            definition,
            plan: &plan,
            imported: None,
            statisticians: &statisticians,
        };
        let entropy = Entropy { seed, nonce_seed: [3; 32], ephemeral: Ephemeral::new([4; 32]) };
        let list = seal(&order, &key, &entropy).expect("a list");
        Sealed { text: serde_json::to_string(&list).expect("JSON"), list, key, secret, arms, contents }
    })
}

/// A sealed list with bytes changed, three input bytes a change (place, place, byte): an error, never
/// another arm.
pub fn sealed_list(data: &[u8]) {
    let sealed = sealed();
    let mut bytes = sealed.text.clone().into_bytes();
    for change in data.chunks_exact(3).take(64) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    let Ok(list) = serde_json::from_slice::<SealedList>(&bytes) else { return };
    let header = &list.public.header;
    for slot in &list.slots {
        if let Ok(opened) = open_slot(header, slot, &sealed.key) {
            let right = sealed.contents.get(opened.position as usize - 1);
            assert!(
                opened.stratum == 0 && right == opened.held.content(&sealed.arms).as_ref(),
                "another arm"
            );
        }
    }
    let by_secret = reveal_to(header, &list.public.sealed_recipes, &sealed.secret);
    for revealed in [reveal(&list.public, &sealed.key), by_secret].into_iter().flatten() {
        assert!(revealed.places.iter().map(|place| &place.content).eq(&sealed.contents), "another list");
    }
    // A recipe sealed to a statistician is not opened by the service's key, so its bytes are not its to judge.
    let same = list.slots == sealed.list.slots && list.public.header == sealed.list.public.header;
    if verify_sealed(&list, &sealed.key).is_ok() {
        assert!(same && list.public.sealed_seed == sealed.list.public.sealed_seed, "altered and not noticed");
    }
}
