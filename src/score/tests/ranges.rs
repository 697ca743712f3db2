//! What is missing or censored, and what remains known of the score.

use super::*;

fn known(name: &str, inputs: &Inputs, same_as: &Inputs) {
    let (got, expected) = (score(name, inputs), score(name, same_as));
    assert_eq!(got.status, Status::Known, "{name}");
    assert_eq!(got, expected, "{name}");
}

fn range(name: &str, inputs: &Inputs, low: &str, high: &str, missing: &[&str]) {
    let got = score(name, inputs);
    assert_eq!(got.status, Status::Range, "{name}: {got:?}");
    assert_eq!((got.low, got.high), (Some(d(low)), Some(d(high))), "{name}");
    assert_eq!(got.missing, missing, "{name}");
}

fn unknown(name: &str, inputs: &Inputs, missing: &[&str]) {
    let got = score(name, inputs);
    assert_eq!(got.status, Status::Unknown, "{name}: {got:?}");
    assert_eq!(got.missing, missing, "{name}");
    assert_eq!((got.value, got.raw, got.low, got.high), (None, None, None, None), "{name}");
}

/// `(comparator, value)` as a range.
fn censored(text: &str) -> Option<Interval> {
    let (at, make): (usize, fn(Decimal) -> Interval) = match text {
        t if t.starts_with("<=") => (2, Interval::at_most),
        t if t.starts_with(">=") => (2, Interval::at_least),
        t if t.starts_with('<') => (1, Interval::below),
        _ => (1, Interval::above),
    };
    Some(make(d(&text[at..])))
}

#[test]
fn a_comparator_beyond_the_clamp_is_exact() {
    const MELDS: &[&str] = &["meld_original", "meld_unos", "meld_na", "meld3", "meld_na_kim2008"];
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("bilirubin_total", "<0.3",  "1.0", MELDS),
        ("bilirubin_total", "<=1.0", "1.0", MELDS),
        ("inr",             "<1.0",  "1.0", MELDS),
        ("creatinine",      "<1.0",  "1.0", MELDS),
        ("creatinine",      ">4.0",  "4.0", &["meld_unos", "meld_na", "meld_na_kim2008"]),
        ("creatinine",      ">3.0",  "3.0", &["meld3"]),
        ("sodium",          ">137",  "137", &["meld_na", "meld3"]),
        ("sodium",          "<125",  "125", &["meld_na", "meld3", "meld_na_kim2008"]),
        ("sodium",          ">=140", "140", &["meld_na", "meld3", "meld_na_kim2008"]),
        ("albumin",         ">35",   "35",  &["meld3"]),
        ("albumin",         "<15",   "15",  &["meld3"]),
    ];
    for (input, given, same, names) in table {
        let with = |value| {
            let mut inputs = patient();
            match *input {
                "bilirubin_total" => inputs.bilirubin_total = value,
                "inr" => inputs.inr = value,
                "creatinine" => inputs.creatinine = value,
                "sodium" => inputs.sodium = value,
                _ => inputs.albumin = value,
            }
            inputs
        };
        for name in *names {
            known(name, &with(censored(given)), &with(x(same)));
        }
    }
}

#[test]
fn sodium_bounds_meld_na() {
    // MELD(i) 20: no sodium term at 137, and 1.32 * 12 - 0.033 * 20 * 12 = 7.92 at 125.
    let inputs = Inputs { sodium: None, ..patient() };
    range("meld_na", &inputs, "20", "28", &["sodium"]);
    range("meld_na", &Inputs { sodium: censored("<131"), ..patient() }, "24", "28", &["sodium"]);
    range("meld_na", &Inputs { sodium: censored(">131"), ..patient() }, "20", "24", &["sodium"]);
    // Kim's bounds are 125 and 140: 20.0814 + 15 - 0.025 * 20.0814 * 15 at 125.
    range("meld_na_kim2008", &inputs, "20.0814", "27.5509", &["sodium"]);
    unknown("ukeld", &inputs, &["sodium"]);
    known("meld_unos", &inputs, &patient());
}

#[test]
fn sodium_does_not_matter_up_to_eleven() {
    let mild = Inputs { bilirubin_total: x("1.0"), inr: x("1.2"), creatinine: x("1.31"), ..patient() };
    known("meld_na", &Inputs { sodium: None, ..mild.clone() }, &mild);
    // Creatinine up to 1.4 takes MELD(i) from 8 across the gate to 12: 12 + 0.924 * 12 is 23.09.
    let across = Inputs { creatinine: Some(Interval::between(d("1"), d("1.4"))), ..mild.clone() };
    range("meld_na", &Inputs { sodium: None, ..across.clone() }, "8", "23", &["creatinine", "sodium"]);
    range("meld_na", &Inputs { sodium: x("125"), ..across }, "8", "23", &["creatinine"]);
    // Below the gate throughout, the missing sodium is not missed.
    let below = Inputs { creatinine: Some(Interval::between(d("1"), d("1.3"))), sodium: None, ..mild };
    range("meld_na", &below, "8", "11", &["creatinine"]);
}

#[test]
fn one_missing_input_of_meld3() {
    range("meld3", &Inputs { sex: None, ..patient() }, "24", "26", &["sex"]);
    range("meld3", &Inputs { albumin: None, ..patient() }, "24", "26", &["albumin"]);
    range("meld3", &Inputs { sodium: None, ..patient() }, "21", "28", &["sodium"]);
    range("meld3", &Inputs { creatinine: None, ..patient() }, "19", "30", &["creatinine"]);
    range("meld3", &Inputs { dialysis: None, ..patient() }, "24", "30", &["dialysis"]);
    unknown("meld3", &Inputs { inr: None, sodium: None, sex: None, ..patient() }, &["inr", "sodium", "sex"]);
}

#[test]
fn a_range_is_as_narrow_as_it_can_be() {
    let open =
        Inputs { sodium: None, albumin: None, creatinine: None, sex: None, dialysis: None, ..patient() };
    for bilirubin in ["1.0", "9", "29", "31", "60"] {
        let open = Inputs { bilirubin_total: x(bilirubin), ..open.clone() };
        for name in ["meld_na", "meld3"] {
            let mut seen = (d("100"), d("0"));
            for sodium in 125..=137 {
                for albumin in [15, 20, 25, 30, 35] {
                    for creatinine in ["1", "1.2", "2", "2.9", "3", "3.4", "4"] {
                        for sex in [Sex::Female, Sex::Male] {
                            let filled = Inputs {
                                sodium: x(&sodium.to_string()),
                                albumin: x(&albumin.to_string()),
                                creatinine: x(creatinine),
                                sex: Some(sex),
                                dialysis: Some(false),
                                ..open.clone()
                            };
                            let value = score(name, &filled).value.expect("all is given");
                            seen = (seen.0.min(value), seen.1.max(value));
                        }
                    }
                }
            }
            let got = score(name, &open);
            assert_eq!((got.low, got.high), (Some(seen.0), Some(seen.1)), "{name} at bilirubin {bilirubin}");
        }
    }
}

#[test]
fn adolescents_get_the_points_of_women() {
    let of = |sex, age| score("meld3", &Inputs { sex, age, ..patient() });
    let (man, woman) = (of(Some(Sex::Male), x("30")), of(Some(Sex::Female), x("30")));
    assert_ne!(man.value, woman.value);
    let ages = |low: &str, high: &str| Some(Interval::between(d(low), d(high)));
    for sex in [None, Some(Sex::Male), Some(Sex::Female)] {
        for age in [x("12"), x("17"), ages("12", "17")] {
            assert_eq!(of(sex, age), woman, "{sex:?} {age:?}");
        }
    }
    for age in [x("11"), x("18"), None] {
        assert_eq!(of(Some(Sex::Male), age), man, "{age:?}");
    }
    range("meld3", &Inputs { age: ages("17", "18"), ..patient() }, "24", "26", &["age"]);
    range("meld3", &Inputs { age: ages("17", "18"), sex: None, ..patient() }, "24", "26", &["sex", "age"]);
}

#[test]
fn dialysis_stands_for_creatinine() {
    let on = Inputs { dialysis: Some(true), ..patient() };
    for (name, cap) in [("meld_unos", "4"), ("meld_na", "4"), ("meld_na_kim2008", "4"), ("meld3", "3")] {
        let capped = Inputs { creatinine: x(cap), ..patient() };
        known(name, &on, &capped);
        known(name, &Inputs { creatinine: None, ..on.clone() }, &capped);
        // Above the cap dialysis changes nothing, so not knowing of it does not matter.
        known(name, &Inputs { creatinine: x("4.2"), dialysis: None, ..patient() }, &capped);
    }
    for name in ["meld_original", "ukeld"] {
        known(name, &on, &patient());
    }
    range("meld_unos", &Inputs { dialysis: None, ..patient() }, "20", "28", &["dialysis"]);
    range("meld_unos", &Inputs { creatinine: None, ..patient() }, "15", "28", &["creatinine"]);
    let neither = Inputs { creatinine: None, dialysis: None, ..patient() };
    range("meld_unos", &neither, "15", "28", &["creatinine", "dialysis"]);
}

#[test]
fn nothing_bounds_inr_or_bilirubin_from_above() {
    for name in ["meld_original", "meld_unos", "meld3"] {
        unknown(name, &Inputs { inr: None, ..patient() }, &["inr"]);
        unknown(name, &Inputs { bilirubin_total: censored(">30"), ..patient() }, &["bilirubin_total"]);
    }
    unknown("meld_na", &Inputs { inr: None, sodium: None, ..patient() }, &["inr", "sodium"]);
    // Between the floor and the comparator there is a range.
    range("meld_unos", &Inputs { inr: censored("<2.0"), ..patient() }, "15", "23", &["inr"]);
    // Nothing that is measured lies below zero, though below the floor would do for a value.
    for impossible in [x("-1"), censored("<0"), censored("<=-0.1")] {
        unknown("meld_unos", &Inputs { bilirubin_total: impossible, ..patient() }, &["bilirubin_total"]);
    }
    known(
        "meld_unos",
        &Inputs { bilirubin_total: censored("<=0"), ..patient() },
        &Inputs { bilirubin_total: x("1"), ..patient() },
    );
}

#[test]
fn etiology_and_the_floor_of_the_original_meld() {
    range("meld_original", &Inputs { etiology: None, ..patient() }, "13.6514", "20.0814", &["etiology"]);
    let inputs = Inputs { bilirubin_total: x("0.5"), ..patient() };
    known("meld_original", &inputs, &Inputs { bilirubin_total: x("1"), ..patient() });
    let paper = Options { meld_original_floor: false, ..Options::default() };
    let got = all(&inputs, &paper);
    let got = got.get("meld_original").and_then(|score| score.raw).expect("known");
    let floored = score("meld_original", &inputs).raw.expect("known");
    assert!((floored - got - 3.78 * 2f64.ln()).abs() < 1e-9);
    let censored = Inputs { bilirubin_total: censored("<0.3"), ..patient() };
    assert_eq!(all(&censored, &paper).get("meld_original").map(|score| score.status), Some(Status::Unknown));
}

#[test]
fn scores_without_clamps_need_both_ends() {
    for (name, inputs, missing) in [
        ("albi", Inputs { bilirubin_total: censored("<0.3"), ..patient() }, "bilirubin_total"),
        ("albi", Inputs { albumin: censored(">50"), ..patient() }, "albumin"),
        ("albi", Inputs { bilirubin_total: x("0"), ..patient() }, "bilirubin_total"),
        ("fib4", Inputs { ast: censored("<5"), ..patient() }, "ast"),
        ("fib4", Inputs { age: None, ..patient() }, "age"),
        ("apri", Inputs { platelets: censored("<10"), ..patient() }, "platelets"),
        ("ukeld", Inputs { inr: censored("<1"), ..patient() }, "inr"),
        ("clif_c_aclf", Inputs { wbc: None, ..patient() }, "wbc"),
        ("clif_c_aclf", Inputs { clif_of: x("5"), ..patient() }, "clif_of"),
    ] {
        unknown(name, &inputs, &[missing]);
    }
    let about = |low: &str, high: &str| Some(Interval::between(d(low), d(high)));
    range("fib4", &Inputs { age: about("50", "51"), ..patient() }, "5.74", "5.85", &["age"]);
    range("apri", &Inputs { platelets: about("80", "100"), ..patient() }, "2", "2.5", &["platelets"]);
    let grades = score("albi", &Inputs { albumin: about("28", "30"), ..patient() });
    assert_eq!((grades.grade_low, grades.grade_high), (Some(2), Some(3)));
}

#[test]
fn apri_says_whose_limit_it_used() {
    let apri = |ast_uln, options: &Options| {
        let scores = all(&Inputs { ast: x("70"), platelets: x("100"), ast_uln, ..patient() }, options);
        let got = scores.get("apri").cloned().expect("APRI");
        (got.value, got.detail)
    };
    let trial = Options { ast_uln_default: d("35"), ..Options::default() };
    let said = |uln: &str, own| Detail::AstUln { uln: d(uln), own };
    assert_eq!(apri(Some(d("50")), &trial), (Some(d("1.4")), said("50", true)));
    assert_eq!(apri(None, &trial), (Some(d("2")), said("35", false)));
    assert_eq!(apri(None, &Options::default()), (Some(d("1.75")), said("40", false)));
    // A limit of zero is no limit.
    assert_eq!(apri(Some(d("0")), &trial), (Some(d("2")), said("35", false)));
}

#[test]
fn child_pugh_keeps_what_each_component_may_have() {
    let known_value = score("child_pugh", &patient());
    assert_eq!((known_value.value, known_value.class), (Some(d("8")), Some('B')));
    let classes = |inputs: &Inputs| {
        let got = score("child_pugh", inputs);
        (got.class_low, got.class_high)
    };
    let inputs = Inputs { ascites: None, ..patient() };
    range("child_pugh", &inputs, "7", "9", &["ascites"]);
    assert_eq!(classes(&inputs), (Some('B'), Some('B')));
    let inputs = Inputs { ascites: None, encephalopathy: None, inr: None, ..patient() };
    range("child_pugh", &inputs, "7", "13", &["inr", "ascites", "encephalopathy"]);
    assert_eq!(classes(&inputs), (Some('B'), Some('C')));
    // In one band, a comparator is as good as a value.
    let high = Inputs { bilirubin_total: x("31"), ..patient() };
    known("child_pugh", &Inputs { bilirubin_total: censored(">30"), ..patient() }, &high);
    range(
        "child_pugh",
        &Inputs { bilirubin_total: censored("<3"), ..patient() },
        "7",
        "8",
        &["bilirubin_total"],
    );
    range(
        "child_pugh",
        &Inputs { bilirubin_total: censored(">=3"), ..patient() },
        "8",
        "9",
        &["bilirubin_total"],
    );
    known(
        "child_pugh",
        &Inputs { albumin: censored("<28"), ..patient() },
        &Inputs { albumin: x("20"), ..patient() },
    );
    range("child_pugh", &Inputs { albumin: censored("<=28"), ..patient() }, "8", "9", &["albumin"]);
    let seconds = Inputs { inr: None, pt_prolongation: censored(">5"), ..patient() };
    range("child_pugh", &seconds, "9", "10", &["pt_prolongation"]);
    // The INR decides where there are both.
    let both = Inputs { pt_prolongation: x("9"), ..patient() };
    known("child_pugh", &both, &patient());
    let all = ["bilirubin_total", "albumin", "inr", "ascites", "encephalopathy"];
    unknown("child_pugh", &Inputs::default(), &all);
    // The standard bands until somebody says PBC or PSC.
    known("child_pugh", &Inputs { pbc_or_psc: None, ..patient() }, &patient());
}
