//! A list or a trial of every scheme, made by the Python program of docs/randomization.md.

use super::super::{
    import::{self, Expected},
    *,
};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Answers {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: Inputs,
    expected: Answer,
}

#[derive(Deserialize)]
struct Inputs {
    seed: String,
    scheme: Written,
    arms: usize,
    factors: Vec<WrittenFactor>,
    #[serde(default)]
    total: u32,
    /// The levels of each participant, a digit a factor.
    #[serde(default)]
    participants: Vec<String>,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default)]
    sizes: Vec<u32>,
    probability: Option<Probability>,
    limit: Option<u32>,
    distance: Option<String>,
    #[serde(default)]
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct WrittenFactor {
    name: String,
    levels: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    strata: BTreeMap<String, String>,
    arms: Option<String>,
}

impl Written {
    fn scheme(self) -> Scheme {
        let probability = self.probability;
        match self.name.as_str() {
            "permuted-blocks" => Scheme::PermutedBlocks { sizes: self.sizes },
            "complete" => Scheme::Complete,
            "efron" => Scheme::Efron { probability: probability.expect("a probability") },
            "big-stick" => Scheme::BigStick { limit: self.limit.expect("a limit") },
            "minimization" => Scheme::Minimization {
                distance: self.distance.as_deref().and_then(Distance::named).expect("a distance"),
                probability: probability.expect("a probability"),
                weights: self.weights,
            },
            other => panic!("no such scheme: {other}"),
        }
    }
}

/// Draws everything of one file up; says how many cases there were.
fn replay(text: &str) -> usize {
    let Answers { cases } = serde_json::from_str(text).expect("known answers");
    let count = cases.len();
    for Case { inputs, expected } in cases {
        let seed = Seed::from_hex(&inputs.seed).expect("a seed");
        let factors = inputs.factors.into_iter().map(|f| Factor { name: f.name, levels: f.levels }).collect();
        let people: Vec<Vec<usize>> = inputs
            .participants
            .iter()
            .map(|person| person.chars().map(|c| c.to_digit(10).expect("a digit") as usize).collect())
            .collect();
        let plan = Plan {
            scheme: inputs.scheme.scheme(),
            arms: Arms::new((0..inputs.arms).map(|i| format!("arm {i}"))).expect("arms"),
            factors,
            total: inputs.total.max(people.len() as u32),
        };
        let name = plan.scheme.public_name();
        let places = draw_up(&plan, &seed).expect("a list");
        if let Some(arms) = expected.arms {
            let mut past: Vec<Past> = Vec::new();
            for (place, levels) in places.iter().zip(people) {
                let arm = assign(&plan, &place.content, &levels, &past).expect("an arm");
                past.push(Past { levels, arm });
            }
            let found: String = past.iter().map(|past| past.arm.to_string()).collect();
            assert_eq!(found, arms, "{name}");
            assert_eq!(found.len(), 60);
            continue;
        }
        let mut strata: BTreeMap<String, String> = BTreeMap::new();
        for place in &places {
            let arm = assign(&plan, &place.content, &[], &[]).expect("an arm");
            let label = plan.strata()[place.stratum as usize].clone();
            *strata.entry(label).or_default() += &arm.to_string();
        }
        assert_eq!(strata, expected.strata, "{name}");
    }
    count
}

#[test]
fn every_scheme_gives_its_known_answers() {
    let files = [
        (include_str!("../../../fixtures/randomize/known-answer-strata.json"), 2),
        (include_str!("../../../fixtures/randomize/known-answer-complete.json"), 2),
        (include_str!("../../../fixtures/randomize/known-answer-efron.json"), 2),
        (include_str!("../../../fixtures/randomize/known-answer-big-stick.json"), 2),
        (include_str!("../../../fixtures/randomize/known-answer-minimization.json"), 6),
    ];
    for (text, cases) in files {
        assert_eq!(replay(text), cases);
    }
}

#[derive(Deserialize)]
struct ImportedAnswer {
    salt: String,
    commitment: Digest,
}

/// The list as a statistician hands it over, and the commitment that the program of the page prints.
#[test]
fn an_imported_list_is_read_and_committed_to_as_the_page_says() {
    let text = include_str!("../../../fixtures/randomize/known-answer-import.json");
    let answer: ImportedAnswer = serde_json::from_str(text).expect("the known answer");
    let file = include_bytes!("../../../fixtures/randomize/imported-list.csv");
    let salt = Salt::from_hex(&answer.salt).expect("a salt");
    assert_eq!(import::commitment(&salt, file), answer.commitment);
    let (arms, strata) = (super::two_arms(), [String::new()]);
    let expected = Expected {
        trial: "NCT06242405",
        environment: "production",
        arms: &arms,
        strata: &strata,
        total: 92,
        equal: true,
    };
    let places = import::read(file, &expected).expect("a list");
    let drawn = generate(&super::blocks_of(&[4, 6]), &arms, 92, &Seed::new([0x2a; 32])).expect("a list");
    assert!(
        places.iter().map(|p| &p.content).eq(&drawn.iter().map(|s| Content::Arm(s.arm)).collect::<Vec<_>>())
    );
}
