//! Counts against a small cohort made by hand, against a plain model, and against themselves.

use super::*;
use crate::eligibility::decide::{Decision, Verdict};
use crate::funnel::case::{Judged, Unusable};
use crate::protocol::Trial;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::OnceLock;

fn trial() -> &'static Trial {
    static TRIAL: OnceLock<Trial> = OnceLock::new();
    TRIAL.get_or_init(Trial::shipped)
}

fn names(all: &[&'static str]) -> Vec<Cow<'static, str>> {
    all.iter().map(|name| Cow::Borrowed(*name)).collect()
}

/// Somebody whom every criterion lets in but for those that are given: id, verdict, reasons, needs.
fn case(
    given: &[(&str, Verdict, &[&'static str], &[&'static str])],
    blocked: &[&'static str],
) -> Case<'static> {
    let criteria: Vec<Judged<'_>> = trial()
        .criteria
        .iter()
        .map(|c| {
            let own = given.iter().find(|(id, ..)| *id == c.id);
            let favourable = if c.id.starts_with('I') { Verdict::Met } else { Verdict::Clear };
            let (verdict, why, needs) =
                own.map_or((favourable, &[][..], &[][..]), |(_, v, w, n)| (*v, *w, *n));
            Judged { id: c.id.as_str().into(), verdict, why: names(why), needs: names(needs) }
        })
        .collect();
    let mut case = Case {
        definition: trial().hash.as_str().into(),
        as_of: "2026-11-22".parse().expect("a day"),
        decision: Decision::Undetermined,
        attached_to: None,
        blocked: names(blocked),
        needs: criteria.iter().flat_map(|c| c.needs.iter().cloned()).collect(),
        criteria,
        gaps: Vec::new(),
    };
    case.decision = case.follows();
    match case.decision {
        Decision::Undetermined if !blocked.is_empty() => case.needs.push(Cow::Borrowed("identity")),
        Decision::Undetermined => {}
        _ => case.needs.clear(),
    }
    case
}

fn with_gaps(mut case: Case<'static>, reasons: &[&'static str]) -> Case<'static> {
    case.gaps = names(reasons).into_iter().map(|reason| Unusable { reason }).collect();
    case
}

fn cohort() -> Vec<Case<'static>> {
    use Verdict::{Attest, Excludes, NotApplicable, Unknown};
    let merged = &["merged"][..];
    let no_test: (&str, Verdict, &[&'static str], &[&'static str]) =
        ("E5", Unknown, &["not-found"], &["hiv_screen"]);
    vec![
        case(&[], &[]),
        case(&[("E1", Excludes, &[], &[])], &[]),
        case(&[("E1", Excludes, &[], &[]), ("E5", Excludes, &[], &[])], &[]),
        case(&[("I3", Attest, &["not-found"], &["consent"]), ("E6", Excludes, &[], &[])], &[]),
        case(&[("I3", Attest, &["not-found"], &["consent"])], &[]),
        case(&[no_test, ("E11", Attest, &["needs-attestation"], &["attestation:E11"])], &[]),
        with_gaps(
            case(&[("E5", Unknown, &["stale", "unit-unknown"], &["hiv_screen"])], &[]),
            &["unit-unknown", "unmapped", "unit-unknown"],
        ),
        case(&[], merged),
        case(&[("E5", Excludes, &[], &[])], merged),
        with_gaps(case(&[("E9", NotApplicable, &[], &[])], &[]), &["unmapped"]),
        case(&[no_test], merged),
    ]
}

fn counted<'c>(cases: impl IntoIterator<Item = &'c Case<'static>>) -> Funnel {
    let mut funnel = Funnel::new(trial());
    for case in cases {
        funnel.add(case).expect("it is a case of this trial");
    }
    funnel
}

fn shown(funnel: &Funnel, threshold: u64) -> Value {
    serde_json::to_value(Report::new(funnel, trial(), NonZeroU64::new(threshold))).expect("JSON")
}

/// The row of a name in a list of rows, without the name.
fn row<'v>(rows: &'v Value, key: &str, name: &str) -> &'v Value {
    rows.as_array()
        .and_then(|rows| rows.iter().find(|r| r[key] == name))
        .unwrap_or_else(|| panic!("no row {name} in {rows}"))
}

#[test]
fn a_small_cohort_by_hand() {
    let shown = shown(&counted(&cohort()), 1);
    assert_eq!(
        shown["patients"],
        json!({"total": 11, "eligible": 2, "undetermined": 5, "ineligible": 4, "withGaps": 2})
    );
    assert_eq!(shown["asOf"], json!({"first": "2026-11-22", "last": "2026-11-22"}));
    assert!(shown.get("suppressed").is_none());
    // In order: entering, excluded, undetermined, remaining, of them open. Alone: excluded, only,
    // else eligible; open, unknown, attest, of undetermined patients, nothing else open.
    #[rustfmt::skip]
    let table = [
        ("I1",  [11, 0, 0, 11, 0], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("I2",  [11, 0, 0, 11, 0], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("I3",  [11, 0, 1, 11, 2], [0, 0, 0], [2, 0, 2, 1, 1]),
        ("E1",  [11, 2, 0,  9, 2], [2, 1, 1], [0, 0, 0, 0, 0]),
        ("E2",  [ 9, 0, 0,  9, 2], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E3",  [ 9, 0, 0,  9, 2], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E4",  [ 9, 0, 0,  9, 2], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E5",  [ 9, 1, 3,  8, 5], [2, 1, 0], [3, 3, 0, 3, 1]),
        ("E6",  [ 8, 1, 0,  7, 4], [1, 1, 0], [0, 0, 0, 0, 0]),
        ("E7",  [ 7, 0, 0,  7, 4], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E8",  [ 7, 0, 0,  7, 4], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E9",  [ 7, 0, 0,  7, 4], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E10", [ 7, 0, 0,  7, 4], [0, 0, 0], [0, 0, 0, 0, 0]),
        ("E11", [ 7, 0, 0,  7, 4], [0, 0, 0], [1, 0, 1, 1, 0]),
    ];
    let rows = shown["criteria"].as_array().expect("criteria");
    assert_eq!(rows.len(), table.len());
    for ((id, order, excluding, open), row) in table.iter().zip(rows) {
        assert_eq!(row["id"], *id);
        let (o, a) = (&row["inOrder"], &row["alone"]);
        let got = ["entering", "excluded", "undetermined", "remaining", "remainingOpen"].map(|k| &o[k]);
        assert_eq!(got, order.map(Value::from).each_ref(), "{id} in order");
        let got = ["excluded", "only", "onlyElseEligible"].map(|k| &a[k]);
        assert_eq!(got, excluding.map(Value::from).each_ref(), "{id} excluding");
        let got = ["open", "unknown", "attest", "openUndetermined", "openOnly"].map(|k| &a[k]);
        assert_eq!(got, open.map(Value::from).each_ref(), "{id} open");
    }
    for (criterion, list, name, patients, undetermined) in [
        ("I3", "why", "not-found", 2, 1),
        ("I3", "needs", "consent", 2, 1),
        ("I3", "needs", "attestation:I3", 0, 0),
        ("E5", "why", "not-found", 2, 2),
        ("E5", "why", "stale", 1, 1),
        ("E5", "why", "unit-unknown", 1, 1),
        ("E5", "why", "conflict", 0, 0),
        ("E5", "needs", "hiv_screen", 3, 3),
        ("E5", "needs", "hiv_confirm", 0, 0),
        ("E9", "needs", "pregnancy_test", 0, 0),
        ("E11", "why", "needs-attestation", 1, 1),
    ] {
        let found = row(&row(&shown["criteria"], "id", criterion)[list], "name", name);
        assert_eq!(
            (&found["patients"], &found["undetermined"]),
            (&json!(patients), &json!(undetermined)),
            "{criterion} {list} {name}"
        );
    }
    for (fact, needed, settles) in [
        ("hiv_screen", 3, 1),
        ("consent", 1, 1),
        ("attestation:E11", 1, 0),
        ("identity", 2, 1),
        ("bilirubin_total", 0, 0),
        ("birth-date", 0, 0),
        ("attestation:I1", 0, 0),
    ] {
        let found = row(&shown["facts"], "name", fact);
        assert_eq!((&found["needed"], &found["settles"]), (&json!(needed), &json!(settles)), "{fact}");
    }
    assert_eq!((&shown["identity"]["undetermined"], &shown["identity"]["only"]), (&json!(2), &json!(1)));
    assert_eq!(row(&shown["identity"]["why"], "name", "merged")["patients"], 2);
    assert_eq!(row(&shown["identity"]["why"], "name", "see-also")["patients"], 0);
    for (reason, patients) in [("unit-unknown", 1), ("unmapped", 2), ("structure", 0)] {
        assert_eq!(row(&shown["gaps"], "name", reason)["patients"], patients, "{reason}");
    }
}

/// Everything that the trial knows is there when nobody came.
#[test]
fn nobody_is_counted_with_every_row() {
    let shown = shown(&counted(&[]), 1);
    assert!(shown.get("asOf").is_none());
    assert_eq!(shown["criteria"].as_array().map(Vec::len), Some(14));
    let names = |rows: &Value| {
        let rows = rows.as_array().expect("rows");
        rows.iter().map(|r| r["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&shown["facts"]),
        [
            "bilirubin_total",
            "albumin",
            "inr",
            "creatinine",
            "ascites",
            "encephalopathy",
            "hiv_screen",
            "hiv_confirm",
            "hiv_viral_load",
            "pregnancy_test",
            "pregnancy_status",
            "breastfeeding",
            "birth-date",
            "dialysis",
            "consent",
            "attestation:I1",
            "attestation:I2",
            "attestation:I3",
            "attestation:E1",
            "attestation:E2",
            "attestation:E3",
            "attestation:E4",
            "attestation:E5",
            "attestation:E6",
            "attestation:E7",
            "attestation:E8",
            "attestation:E9",
            "attestation:E10",
            "attestation:E11",
            "identity",
        ]
        .map(str::to_owned)
    );
    assert_eq!(names(&row(&shown["criteria"], "id", "I1")["needs"]), ["birth-date", "attestation:I1"]);
    assert_eq!(names(&row(&shown["criteria"], "id", "E4")["needs"]), ["attestation:E4"]);
    assert_eq!(names(&shown["gaps"]).len(), crate::fact::Reason::ALL.len());
    let why = names(&row(&shown["criteria"], "id", "E5")["why"]);
    assert_eq!(why[..2], ["not-found", "stale"]);
    assert!(why.iter().any(|w| w == "unit-unknown"), "{why:?}");
    let mut once = why.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), why.len(), "a reason stands twice: {why:?}");
    // No count but zero anywhere.
    fn zeros(v: &Value) -> bool {
        match v {
            Value::Number(n) => n.as_u64() == Some(0),
            Value::Array(all) => all.iter().all(zeros),
            Value::Object(all) => all.values().all(zeros),
            _ => true,
        }
    }
    assert!(zeros(&shown), "{shown}");
    assert!(draw(&Report::new(&counted(&[]), trial(), None)).contains("nobody was screened"));
}

/// The lists from which the zeros come have every word, in its order.
#[test]
fn no_reason_is_left_out() {
    fn numbers<T: Copy>(all: &[T], number: fn(T) -> usize) -> bool {
        all.iter().enumerate().all(|(at, one)| number(*one) == at)
    }
    use crate::{eligibility::evaluate, fact::Reason, identity};
    assert!(numbers(Reason::ALL, |r| r as usize));
    assert!(numbers(&evaluate::Why::ALL, |w| w as usize));
    assert!(numbers(&identity::Why::ALL, |w| w as usize));
}

#[test]
fn what_does_not_answer_to_the_trial_is_not_counted() {
    let good = || case(&[], &[]);
    let mut elsewhere = good();
    elsewhere.definition = "sha256:00".into();
    let mut shorter = good();
    shorter.criteria.pop();
    let mut turned = good();
    turned.criteria.swap(3, 4);
    let mut wrong = good();
    wrong.decision = Decision::Ineligible;
    let mut hidden = case(&[], &["merged"]);
    hidden.decision = Decision::Eligible;
    let mut attached = case(&[], &["attached"]);
    attached.attached_to = Some("Patient/other".into());
    for (name, case, outcome) in [
        ("another definition", elsewhere, Err(Unfit::Definition)),
        ("a criterion less", shorter, Err(Unfit::Criteria)),
        ("another order", turned, Err(Unfit::Criteria)),
        ("a decision against its verdicts", wrong, Err(Unfit::Contradiction)),
        ("eligible and blocked", hidden, Err(Unfit::Contradiction)),
        ("counted for another subject", attached, Ok(())),
    ] {
        let mut funnel = counted(&cohort());
        assert_eq!(funnel.add(&case), outcome, "{name}");
        assert_eq!(funnel, counted(&cohort()), "{name}");
    }
    let mut other = Trial::shipped();
    other.hash = "sha256:00".into();
    assert_eq!(counted(&[]).merge(&Funnel::new(&other)), Err(Unfit::Definition));
}

/// A case with anything in it.
fn any_case() -> impl Strategy<Value = Case<'static>> {
    let verdict = |inclusion: bool| {
        let (yes, no) =
            if inclusion { (Verdict::Met, Verdict::NotMet) } else { (Verdict::Clear, Verdict::Excludes) };
        prop_oneof![
            12 => Just(yes),
            1 => Just(no),
            1 => Just(Verdict::Unknown),
            1 => Just(Verdict::Attest),
            1 => Just(if inclusion { yes } else { Verdict::NotApplicable }),
        ]
    };
    let verdicts: Vec<_> = trial().criteria.iter().map(|c| verdict(c.id.starts_with('I'))).collect();
    let some = |of: &'static [&'static str]| prop::collection::vec(prop::sample::select(of), 0..3);
    let reasons = || some(&["not-found", "stale", "unit-unknown", "of-tomorrow", "another"]);
    let needs = some(&["hiv_screen", "consent", "zinc", "copper"]);
    let blocked = prop_oneof![4 => Just(Vec::new()), 1 => some(&["merged", "see-also", "of-tomorrow"])];
    (verdicts, prop::collection::vec((reasons(), needs), 14), blocked, reasons(), 20_u32..24).prop_map(
        |(verdicts, open, blocked, gaps, day)| {
            let ids: Vec<String> = trial().criteria.iter().map(|c| c.id.clone()).collect();
            let given: Vec<_> = ids
                .iter()
                .zip(verdicts)
                .zip(&open)
                .map(|((id, verdict), (why, needs))| {
                    let is_open = !verdict.is_adverse() && !verdict.is_favourable();
                    let (why, needs) = if is_open { (&why[..], &needs[..]) } else { (&[][..], &[][..]) };
                    (id.as_str(), verdict, why, needs)
                })
                .collect();
            let mut case = with_gaps(case(&given, &blocked), &gaps);
            case.as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, day).expect("a day");
            case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither the order of the patients shows, nor how they are shared out.
    #[test]
    fn order_and_division_do_not_show(
        (cases, shuffled) in prop::collection::vec(any_case(), 0..40)
            .prop_flat_map(|cases| (Just(cases.clone()), Just(cases).prop_shuffle())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
    ) {
        let whole = counted(&cases);
        prop_assert_eq!(&counted(&shuffled), &whole);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(shuffled.len() + 1)).collect();
        at.sort_unstable();
        let parts = [&shuffled[..at[0]], &shuffled[at[0]..at[1]], &shuffled[at[1]..]].map(counted);
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = Funnel::new(trial());
            for part in order {
                merged.merge(&parts[part]).expect("funnels of one trial");
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(shown(&merged, 1), shown(&whole, 1));
        }
    }

    /// What is shown adds up, and agrees with counting patient by patient.
    #[test]
    fn what_is_shown_adds_up(cases in prop::collection::vec(any_case(), 0..40)) {
        let shown = shown(&counted(&cases), 1);
        let n = |v: &Value| v.as_u64().expect("a number");
        let count = |wanted: &dyn Fn(&Case<'_>) -> bool| cases.iter().filter(|c| wanted(c)).count() as u64;
        let p = &shown["patients"];
        prop_assert_eq!(n(&p["total"]), cases.len() as u64);
        prop_assert_eq!(n(&p["eligible"]) + n(&p["undetermined"]) + n(&p["ineligible"]), n(&p["total"]));
        prop_assert_eq!(n(&p["withGaps"]), count(&|c| !c.gaps.is_empty()));
        let mut entering = n(&p["total"]);
        let (mut excluded, mut undetermined) = (0, 0);
        for (at, row) in shown["criteria"].as_array().expect("criteria").iter().enumerate() {
            let (o, a) = (&row["inOrder"], &row["alone"]);
            prop_assert_eq!(n(&o["entering"]), entering);
            prop_assert_eq!(n(&o["entering"]) - n(&o["excluded"]), n(&o["remaining"]));
            entering = n(&o["remaining"]);
            excluded += n(&o["excluded"]);
            undetermined += n(&o["undetermined"]);
            prop_assert!(n(&o["undetermined"]) <= n(&o["remainingOpen"]));
            prop_assert!(n(&o["remainingOpen"]) <= n(&o["remaining"]));
            prop_assert!(n(&o["excluded"]) <= n(&a["excluded"]));
            prop_assert!(n(&a["onlyElseEligible"]) <= n(&a["only"]) && n(&a["only"]) <= n(&a["excluded"]));
            prop_assert_eq!(n(&a["unknown"]) + n(&a["attest"]), n(&a["open"]));
            let open = |c: &Case<'_>, at: usize| c.criteria[at].is_open();
            let adverse = |c: &Case<'_>, at: usize| c.criteria[at].verdict.is_adverse();
            prop_assert_eq!(n(&o["excluded"]), count(&|c| adverse(c, at) && !(0..at).any(|i| adverse(c, i))));
            prop_assert_eq!(n(&o["remainingOpen"]),
                count(&|c| (0..=at).any(|i| open(c, i)) && !(0..=at).any(|i| adverse(c, i))));
            prop_assert_eq!(n(&a["excluded"]), count(&|c| adverse(c, at)));
            prop_assert_eq!(n(&a["only"]), count(&|c| adverse(c, at) && !(0..14).any(|i| i != at && adverse(c, i))));
            prop_assert_eq!(n(&a["open"]), count(&|c| open(c, at)));
            prop_assert_eq!(n(&a["openUndetermined"]), count(&|c| open(c, at) && !(0..14).any(|i| adverse(c, i))));
            for (list, of) in [("why", 0), ("needs", 1)] {
                for named in row[list].as_array().expect("rows") {
                    let has = |c: &Case<'_>| {
                        let all = if of == 0 { &c.criteria[at].why } else { &c.criteria[at].needs };
                        all.iter().any(|name| named["name"] == **name)
                    };
                    prop_assert_eq!(n(&named["patients"]), count(&has), "{} {}", row["id"], named);
                }
            }
        }
        prop_assert_eq!(excluded, n(&p["ineligible"]));
        prop_assert_eq!(undetermined + n(&shown["identity"]["only"]), n(&p["undetermined"]));
        prop_assert_eq!(entering, n(&p["eligible"]) + n(&p["undetermined"]));
        for fact in shown["facts"].as_array().expect("facts") {
            let needs = |c: &Case<'_>| c.needs.iter().any(|need| fact["name"] == **need);
            prop_assert_eq!(n(&fact["needed"]), count(&needs), "{}", fact);
            let alone = |c: &Case<'_>| needs(c) && c.needs.iter().all(|need| fact["name"] == **need);
            prop_assert_eq!(n(&fact["settles"]), count(&alone), "{}", fact);
        }
    }

    /// With a threshold, no small count and no exact one is shown anywhere.
    #[test]
    fn small_counts_are_nowhere(cases in prop::collection::vec(any_case(), 0..40), threshold in 2_u64..12) {
        fn look(v: &Value, threshold: u64) -> Result<(), TestCaseError> {
            match v {
                Value::Number(n) => prop_assert_eq!(n.as_u64().map(|n| n % threshold), Some(0), "{}", n),
                Value::String(s) if s.starts_with('<') => prop_assert_eq!(s, &format!("<{threshold}")),
                Value::Array(all) => all.iter().try_for_each(|v| look(v, threshold))?,
                Value::Object(all) => all.values().try_for_each(|v| look(v, threshold))?,
                _ => {}
            }
            Ok(())
        }
        look(&shown(&counted(&cases), threshold), threshold)?;
    }
}

/// Two cohorts that differ in small counts alone give the same bytes, in the chart too.
#[test]
fn small_counts_do_not_show_in_the_chart() {
    let with = |excluded: usize, open: usize, eligible: usize| {
        let mut cases = vec![case(&[], &[]); eligible];
        cases.extend(vec![case(&[("E1", Verdict::Excludes, &[], &[])], &[]); excluded]);
        cases.extend(vec![case(&[("I3", Verdict::Attest, &["not-found"], &["consent"])], &[]); open]);
        counted(&cases)
    };
    let drawn = |funnel: &Funnel, threshold| draw(&Report::new(funnel, trial(), NonZeroU64::new(threshold)));
    let (a, b) = (with(1, 4, 95), with(2, 3, 96));
    assert_eq!(drawn(&a, 5), drawn(&b, 5));
    assert_eq!(shown(&a, 5), shown(&b, 5));
    assert_ne!(drawn(&a, 1), drawn(&b, 1));
    let svg = drawn(&a, 5);
    assert!(svg.contains(">&lt;5</text>"), "{svg}");
    assert!(svg.contains("Counts from 1 to 4 are shown as &lt;5"), "{svg}");
}

/// Letters stay readable, and what a page with a strict policy forbids is not used.
#[test]
fn the_chart_can_be_read_anywhere() {
    let svg = draw(&Report::new(&counted(&cohort()), trial(), None));
    assert_eq!(svg, draw(&Report::new(&counted(cohort().iter().rev()), trial(), None)));
    let sizes: Vec<u32> = svg
        .split("font-size=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().and_then(|s| s.parse().ok()).expect("a size"))
        .collect();
    assert!(sizes.len() > 60 && sizes.iter().all(|s| *s >= 12), "{sizes:?}");
    for forbidden in ["<style", "style=", "<script", "href", "<image", " onload", "<foreignObject"] {
        assert!(!svg.contains(forbidden), "{forbidden}");
    }
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("<title id=\"funnel-title\">Feasibility of NCT06242405</title>"));
    assert!(svg.contains("Of 11 patients 2 are eligible, 5 undetermined and 4 ineligible."));
    assert!(svg.contains("E5 excludes 1 of 9, 8 remain, 5 of them open so far."));
    for criterion in &trial().criteria {
        assert!(svg.contains(&format!(">{}</text>", criterion.id)), "{}", criterion.id);
    }
}
