//! The level of each kind of factor, for each thing that a decision can say of it.

use super::*;
use crate::protocol::Definition;
use crate::protocol::document::SiteFile;

/// The shipped trial with these factors.
fn trial(factors: &str) -> Trial {
    let with = |(name, text): (&str, &str)| {
        let text = match name {
            "trial.toml" => {
                text.replace("decision_valid_days = 1\n", &format!("decision_valid_days = 1\n{factors}\n"))
            }
            _ => text.to_owned(),
        };
        (name.to_owned(), text)
    };
    let sources = [
        ("trial.toml", include_str!("../../../mappings/nct06242405/trial.toml")),
        ("variables.toml", include_str!("../../../mappings/nct06242405/variables.toml")),
        ("value-sets.toml", include_str!("../../../mappings/nct06242405/value-sets.toml")),
        ("criteria.toml", include_str!("../../../mappings/nct06242405/criteria.toml")),
    ];
    let definition = Definition::read(sources.map(with).into()).expect("a definition");
    Trial::compile(&definition, &SiteFile::default()).expect("a trial")
}

fn one(keys: &str) -> Trial {
    trial(&format!("[[allocation.factor]]\nname = \"f\"\n{keys}"))
}

fn decision(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// What a decision says, and the level of the only factor or why there is none.
fn check(trial: &Trial, table: &[(&str, Result<usize, Why>)]) {
    for (text, expected) in table {
        let found = levels(trial, &decision(text));
        let expected = match expected {
            Ok(level) => Ok(vec![*level]),
            Err(why) => Err(Unknown { factor: "f".into(), why: why.clone() }),
        };
        assert_eq!(found, expected, "{text}");
    }
}

fn missing(inputs: &[&str]) -> Result<usize, Why> {
    Err(Why::Missing(inputs.iter().map(|i| (*i).to_owned()).collect()))
}

fn straddles(inputs: &[&str]) -> Result<usize, Why> {
    Err(Why::Straddles(inputs.iter().map(|i| (*i).to_owned()).collect()))
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_measured_variable_is_cut_as_a_decimal() {
    let trial = one("variable = \"bilirubin_total\"\ncuts = [\"2\", \"3.1\"]");
    assert_eq!(trial.factors()[0].levels, ["<2", "2 to <3.1", ">=3.1"]);
    check(&trial, &[
        (r#"{"variables":{"bilirubin_total":{"value":0}}}"#,                       Ok(0)),
        (r#"{"variables":{"bilirubin_total":{"value":1.999999}}}"#,                Ok(0)),
        (r#"{"variables":{"bilirubin_total":{"value":2}}}"#,                       Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"value":2.0}}}"#,                     Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"value":3.0999999999999999999999}}}"#, Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"value":3.1}}}"#,                     Ok(2)),
        (r#"{"variables":{"bilirubin_total":{"value":31e-1}}}"#,                   Ok(2)),
        (r#"{"variables":{"bilirubin_total":{"value":31}}}"#,                      Ok(2)),
        // Ranges: the ends are possible values, unless what was received leaves one out.
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":1.9}}}"#,              Ok(0)),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":2}}}"#,                straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":2,"received":{"value":"<2"}}}}"#,  Ok(0)),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":2,"received":{"value":"<=2"}}}}"#, straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"low":2,"high":3}}}"#,                Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"low":2,"high":3.1}}}"#,              straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"low":1,"high":9}}}"#,                straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"low":3.1}}}"#,                       Ok(2)),
        (r#"{"variables":{"bilirubin_total":{"low":3,"received":{"value":">3"}}}}"#, straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"high":1}}}"#,                        Ok(0)),
        // Nothing, and why.
        (r#"{"variables":{"bilirubin_total":{}}}"#,                                missing(&[])),
        (r#"{"variables":{"bilirubin_total":{"value":null}}}"#,                    missing(&[])),
        (r#"{"variables":{"bilirubin_total":{"value":"3"}}}"#,                     missing(&[])),
        (r#"{"variables":{}}"#,                                                    missing(&[])),
        ("{}",                                                                     missing(&[])),
        ("null",                                                                   missing(&[])),
        (r#"{"gaps":[{"reason":"unit-unknown","variable":"bilirubin_total"}]}"#,   missing(&[])),
        (r#"{"gaps":[{"reason":"conflict","variable":"albumin"}]}"#,               missing(&[])),
        (r#"{"gaps":[{"reason":"conflict"}]}"#,                                    missing(&[])),
        (r#"{"gaps":[{"reason":"conflict","variable":"bilirubin_total"}]}"#,       Err(Why::Conflict)),
        (r#"{"gaps":[{"reason":"version-conflict","variable":"bilirubin_total"}]}"#, Err(Why::Conflict)),
        (r#"{"gaps":[{"reason":"unit-conflict","variable":"bilirubin_total"}]}"#,  Err(Why::Conflict)),
        (r#"{"gaps":[{"reason":"code-conflict","variable":"bilirubin_total"}]}"#,  Err(Why::Conflict)),
        // A value that stands is not undone by another result that could not be used.
        (r#"{"variables":{"bilirubin_total":{"value":1}},"gaps":[{"reason":"conflict","variable":"bilirubin_total"}]}"#, Ok(0)),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_comparator_leaves_out_the_end_that_it_names() {
    check(&one("variable = \"bilirubin_total\"\ncuts = [\"3\"]"), &[
        (r#"{"variables":{"bilirubin_total":{"low":3,"received":{"value":">3"}}}}"#,  Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"low":3,"received":{"value":">=3"}}}}"#, Ok(1)),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":3,"received":{"value":"<3"}}}}"#, Ok(0)),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":3,"received":{"value":""}}}}"#, straddles(&[])),
        (r#"{"variables":{"bilirubin_total":{"low":0,"high":3,"received":{"value":"胆"}}}}"#, straddles(&[])),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn answers_may_share_a_level() {
    let trial = one("variable = \"ascites\"\nlevels = [\"none\", \"mild + moderate-severe\"]");
    check(&trial, &[
        (r#"{"variables":{"ascites":{"value":"none"}}}"#,            Ok(0)),
        (r#"{"variables":{"ascites":{"value":"mild"}}}"#,            Ok(1)),
        (r#"{"variables":{"ascites":{"value":"moderate-severe"}}}"#, Ok(1)),
        (r#"{"variables":{"ascites":{"value":"None"}}}"#,            Err(Why::NoLevel)),
        (r#"{"variables":{"ascites":{"value":0}}}"#,                 missing(&[])),
        (r#"{"variables":{}}"#,                                      missing(&[])),
        (r#"{"gaps":[{"reason":"conflict","variable":"ascites"}]}"#, Err(Why::Conflict)),
    ]);
    check(&one("variable = \"sex\"\nlevels = [\"male\", \"female\"]"), &[
        (r#"{"variables":{"sex":{"value":"male"}}}"#,   Ok(0)),
        (r#"{"variables":{"sex":{"value":"female"}}}"#, Ok(1)),
        (r#"{"variables":{}}"#,                         missing(&[])),
    ]);
    check(&one("variable = \"dialysis\"\nlevels = [\"no\", \"yes\"]"), &[
        (r#"{"variables":{"dialysis":{"value":false}}}"#, Ok(0)),
        (r#"{"variables":{"dialysis":{"value":true}}}"#,  Ok(1)),
        (r#"{"variables":{}}"#,                           missing(&[])),
    ]);
    check(&one("variable = \"age\"\ncuts = [65]"), &[
        (r#"{"variables":{"age":{"value":64}}}"#,          Ok(0)),
        (r#"{"variables":{"age":{"value":65}}}"#,          Ok(1)),
        (r#"{"variables":{"age":{"low":64,"high":65}}}"#,  straddles(&[])),
        (r#"{"variables":{"age":{"low":65,"high":66}}}"#,  Ok(1)),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_score_is_cut_as_reported_and_a_class_may_be_a_range() {
    check(&one("score = \"meld_unos\"\ncuts = [15]"), &[
        (r#"{"scores":{"meld_unos":{"status":"known","value":14,"raw":14.49}}}"#, Ok(0)),
        (r#"{"scores":{"meld_unos":{"status":"known","value":15,"raw":14.51}}}"#, Ok(1)),
        (r#"{"scores":{"meld_unos":{"status":"range","low":6,"high":14,"missing":["inr"]}}}"#, Ok(0)),
        (r#"{"scores":{"meld_unos":{"status":"range","low":14,"high":15,"missing":["inr"]}}}"#, straddles(&["inr"])),
        (r#"{"scores":{"meld_unos":{"status":"unknown","missing":["inr","creatinine"]}}}"#, missing(&["inr", "creatinine"])),
        (r#"{"scores":{"meld_unos":{"status":"unknown","missing":["inr"]}},"gaps":[{"reason":"conflict","variable":"inr"}]}"#, Err(Why::Conflict)),
        (r#"{"scores":{"meld_unos":{"status":"unknown","missing":["inr"]}},"gaps":[{"reason":"conflict","variable":"alt"}]}"#, missing(&["inr"])),
        (r#"{"scores":{}}"#, missing(&[])),
    ]);
    check(&one("score = \"child_pugh\"\nclass = [\"A+B\", \"C\"]"), &[
        (r#"{"scores":{"child_pugh":{"status":"known","value":6,"class":"A"}}}"#, Ok(0)),
        (r#"{"scores":{"child_pugh":{"status":"known","value":9,"class":"B"}}}"#, Ok(0)),
        (r#"{"scores":{"child_pugh":{"status":"known","value":10,"class":"C"}}}"#, Ok(1)),
        (r#"{"scores":{"child_pugh":{"status":"range","low":5,"high":9,"class_low":"A","class_high":"B","missing":["ascites"]}}}"#, Ok(0)),
        (r#"{"scores":{"child_pugh":{"status":"range","low":9,"high":11,"class_low":"B","class_high":"C","missing":["ascites"]}}}"#, straddles(&["ascites"])),
        (r#"{"scores":{"child_pugh":{"status":"range","low":10,"high":12,"class_low":"C","class_high":"C","missing":["ascites"]}}}"#, Ok(1)),
        (r#"{"scores":{"child_pugh":{"status":"unknown","missing":["inr"]}}}"#, missing(&["inr"])),
        (r#"{"scores":{"child_pugh":{"status":"known","value":10,"class":"D"}}}"#, Err(Why::NoLevel)),
    ]);
    // The class between the ends counts as well.
    check(&one("score = \"child_pugh\"\nclass = [\"A+C\", \"B\"]"), &[
        (r#"{"scores":{"child_pugh":{"class_low":"A","class_high":"C","missing":["ascites"]}}}"#, straddles(&["ascites"])),
    ]);
    check(&one("score = \"albi\"\nclass = [\"1\", \"2\", \"3\"]"), &[
        (r#"{"scores":{"albi":{"status":"known","value":-1.39,"grade":3}}}"#, Ok(2)),
        (r#"{"scores":{"albi":{"status":"range","low":-3,"high":-2.7,"grade_low":1,"grade_high":1,"missing":["albumin"]}}}"#, Ok(0)),
        (r#"{"scores":{"albi":{"status":"range","low":-3,"high":-2,"grade_low":1,"grade_high":2,"missing":["albumin"]}}}"#, straddles(&["albumin"])),
    ]);
    check(&one("score = \"albi\"\ncuts = [\"-2.6\", \"-1.39\"]"), &[
        (r#"{"scores":{"albi":{"status":"known","value":-2.61,"grade":1}}}"#, Ok(0)),
        (r#"{"scores":{"albi":{"status":"known","value":-2.6,"grade":1}}}"#, Ok(1)),
    ]);
}

#[test]
fn all_levels_or_none() {
    let two = trial(
        "[[allocation.factor]]\nname = \"sex\"\nvariable = \"sex\"\nlevels = [\"female\", \"male\"]\n\
         [[allocation.factor]]\nname = \"meld\"\nscore = \"meld_unos\"\ncuts = [\"15\"]",
    );
    let both = decision(r#"{"variables":{"sex":{"value":"male"}},"scores":{"meld_unos":{"value":20}}}"#);
    assert_eq!(levels(&two, &both), Ok(vec![1, 1]));
    assert_eq!(named(&two, &[1, 1]), [("sex", "male"), ("meld", ">=15")]);
    let plan = two.plan().expect("a plan");
    assert_eq!(
        plan.strata(),
        ["sex=female;meld=<15", "sex=female;meld=>=15", "sex=male;meld=<15", "sex=male;meld=>=15"]
    );
    let half =
        decision(r#"{"variables":{"sex":{"value":"male"}},"scores":{"meld_unos":{"missing":["inr"]}}}"#);
    let unknown = levels(&two, &half).expect_err("one level is open");
    assert_eq!(unknown.to_string(), "the level of `meld` is not known: nothing usable is there; needed: inr");
    assert_eq!(levels(&Trial::shipped(), &decision("{}")), Ok(vec![]));
}

#[test]
fn a_reason_repeats_no_value() {
    let trial = one("variable = \"ascites\"\nlevels = [\"none\", \"mild+moderate-severe\"]");
    for (text, said) in [
        (
            r#"{"variables":{"ascites":{"value":"canary"}}}"#,
            "the decision says something else than the definition knows",
        ),
        (
            r#"{"gaps":[{"reason":"conflict","variable":"ascites","reference":"canary"}]}"#,
            "results contradict each other",
        ),
        ("{}", "nothing usable is there"),
    ] {
        let unknown = levels(&trial, &decision(text)).expect_err("unknown");
        assert_eq!(unknown.to_string(), format!("the level of `f` is not known: {said}"));
    }
}
