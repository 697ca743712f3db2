//! Dialect C: the records nobody tidied. Units, times, systems and consents missing; results preliminary,
//! retracted, corrected or contradictory. Each case breaks one thing.

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::chart::*;
use super::dialect_us::{readings, row};
use super::labs::{Lab, Panel};
use super::{Case, Dialect, Intent};

const CIRRHOSIS: Code = icd10cm("K74.60", "");
const ASCITES: Code = icd10cm("R18.8", "");

/// No name: this dialect sends none.
fn person(number: u16, as_of: NaiveDate, sex: &str) -> Chart {
    Chart::new(number, as_of, "+00:00", sex)
}

fn with_liver(chart: Chart) -> Chart {
    let onset = chart.day(400);
    chart.condition(&[CIRRHOSIS], onset.clone()).condition(&[ASCITES], onset)
}

fn liver(number: u16, as_of: NaiveDate, sex: &str) -> Chart {
    with_liver(person(number, as_of, sex)).hiv_negative(45)
}

/// Cirrhosis and nothing else: a bilirubin of 3 mg/dL or more would make it end-stage.
fn compensated(number: u16, as_of: NaiveDate) -> Chart {
    let chart = person(number, as_of, "male").hiv_negative(45);
    let onset = chart.day(400);
    chart.condition(&[CIRRHOSIS], onset)
}

fn labs(chart: Chart, panel: &Panel, days: u64) -> Chart {
    let at = chart.time(days, "09:00");
    readings(panel, &at).into_iter().fold(chart, Chart::observation)
}

fn decompensated(mut chart: Chart, days: u64) -> Chart {
    let panel = Panel::decompensated(&mut chart.draw);
    labs(chart, &panel, days)
}

/// One value of the US dialect, in its own unit.
fn reading(lab: Lab, mantissa: i64, places: u32) -> Reading {
    let (code, unit) = row(lab);
    Reading::of(&[code]).quantity(Decimal::new(mantissa, places), unit, unit)
}

fn clear() -> Form {
    Form::clear().bedside("mild", "0")
}

/// The investigator left "end-stage" to the data.
fn by_the_data() -> Form {
    Form::clear().blank("I2").bedside("none", "0")
}

/// Too good for end-stage by itself: albumin 36 g/L, INR 1.5, and no bilirubin.
fn without_bilirubin() -> Panel {
    Panel::borderline().without(Lab::Bilirubin).with(Lab::Albumin, 36, 1)
}

fn absent() -> Value {
    json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}]})
}

pub(super) fn cases(as_of: NaiveDate) -> Vec<Case> {
    let mut cases = settled(as_of);
    cases.extend(scores(as_of));
    cases.extend(open(as_of));
    cases.extend(kept_out(as_of));
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    cases
}

fn settled(as_of: NaiveDate) -> Vec<Case> {
    let close = |chart: Chart, intent, story| chart.close(Dialect::Terse, intent, story);
    let mut cases = Vec::new();

    let chart = liver(41, as_of, "male").aged(57, 57);
    let wrong = reading(Lab::Creatinine, 99, 1).at(chart.time(1, "09:00")).with("status", "entered-in-error");
    let chart = decompensated(chart, 2).observation(wrong).form(clear(), 1).consented(1);
    cases.push(close(
        chart,
        Intent::Eligible,
        "The newest creatinine is entered-in-error: the one before it counts.",
    ));

    let mut chart = liver(42, as_of, "male").aged(54, 54);
    let panel = Panel::decompensated(&mut chart.draw).without(Lab::Bilirubin);
    let at = chart.time(3, "09:00");
    let (first, second) =
        (reading(Lab::Bilirubin, 21, 1).at(at.clone()), reading(Lab::Bilirubin, 61, 1).at(at));
    let chart = labs(chart, &panel, 3).corrected(first, "amended", second).form(clear(), 1).consented(1);
    cases.push(close(
        chart,
        Intent::Eligible,
        "Bilirubin was amended from 2.1 to 6.1 mg/dL in a second version.",
    ));

    let chart = decompensated(liver(43, as_of, "female").aged(60, 60), 3);
    let chart = chart.form(clear().no("E9"), 2).consent("rejected", 2);
    cases.push(close(chart, Intent::Ineligible("I3"), "Consent was asked for and refused."));

    let mut chart = liver(44, as_of, "male").aged(52, 52);
    let panel = Panel::decompensated(&mut chart.draw).without(Lab::Bilirubin);
    let mut low = quantity(Decimal::new(3, 1), "mg/dL", "mg/dL");
    low["comparator"] = "<".into();
    let below = Reading::of(&[row(Lab::Bilirubin).0]).with("valueQuantity", low).at(chart.time(2, "09:00"));
    let chart = labs(chart, &panel, 2).observation(below).form(clear(), 2);
    cases.push(close(
        chart,
        Intent::AwaitingConsent,
        "Bilirubin <0.3 mg/dL: MELD is exact all the same, since it counts from 1.0.",
    ));

    cases
}

/// The criteria are settled by codes and form; the scores have a hole.
fn scores(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, variable, story| chart.close(Dialect::Terse, Intent::ScoreGap(variable), story);
    let mut cases = Vec::new();
    let base = |number: u16, age: u32, missing: Lab| {
        let mut chart = liver(number, as_of, "male").aged(age, 9);
        let panel = Panel::decompensated(&mut chart.draw).without(missing);
        labs(chart, &panel, 2).form(clear(), 1)
    };

    let chart = base(48, 45, Lab::Creatinine);
    let at = chart.time(2, "09:00");
    cases.push(close(
        chart.observation(reading(Lab::Creatinine, 88, 0).at(at)),
        "creatinine",
        "Creatinine 88 mg/dL is not possible: it was umol/L, and must not be corrected in silence.",
    ));

    let chart = base(51, 63, Lab::Sodium);
    let at = chart.time(2, "09:00");
    // One says bleeding, the other not. The ascites settles I2 without it.
    let varices = [icd10_who("I85.0", "with bleeding"), icd10cm("I85.00", "without bleeding")];
    let onset = chart.day(90);
    let chart = chart.condition(&varices, onset);
    let reading = Reading::of(&[row(Lab::Sodium).0]).with("dataAbsentReason", absent()).at(at);
    cases.push(close(
        chart.observation(reading),
        "sodium",
        "The sodium has a reason for being absent, and no value; a diagnosis whose two codings contradict.",
    ));

    let chart = base(53, 58, Lab::Inr);
    let timeless = Reading::of(&[row(Lab::Inr).0]).quantity(Decimal::new(19, 1), "{INR}", "{INR}");
    cases.push(close(chart.observation(timeless), "inr", "The INR has no time."));

    cases
}

fn open(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, criterion, story| chart.close(Dialect::Terse, Intent::Undetermined(criterion), story);
    let mut cases = Vec::new();

    // On 31 December everyone born eighteen years before is 18; see `synthetic_cases`.
    let chart = liver(45, as_of, "male").person("birthDate", format!("{:04}", as_of.year() - 18));
    let chart = decompensated(chart, 3).form(clear(), 2).consented(2);
    cases.push(close(
        chart,
        "I1",
        "Only the year of birth is known, and it straddles the eighteenth birthday.",
    ));

    let chart = compensated(47, as_of).aged(46, 46);
    let at = chart.time(3, "09:00");
    let chart = labs(chart, &without_bilirubin(), 3)
        .observation(reading(Lab::Bilirubin, 14, 1).at(at.clone()))
        .observation(reading(Lab::Bilirubin, 46, 1).at(at));
    cases.push(close(
        chart.form(by_the_data(), 2).consented(2),
        "I2",
        "Two bilirubins of the same minute, 1.4 and 4.6 mg/dL.",
    ));

    let chart = person(49, as_of, "male").aged(51, 51).hiv_negative(45);
    let onset = chart.day(400);
    let chart = chart
        .condition(&[no_system("K74.60", "")], onset.clone())
        .condition(&[no_system("R18.8", "")], onset);
    let chart = labs(chart, &without_bilirubin().with(Lab::Bilirubin, 14, 1), 3);
    cases.push(close(
        chart.form(by_the_data(), 2).consented(2),
        "I2",
        "The diagnoses have codes and no code system.",
    ));

    let chart = with_liver(person(50, as_of, "male").aged(44, 44));
    let at = chart.time(2, "09:00");
    let early = Reading::of(&[HIV_AG_AB]).concept(NEGATIVE).at(at).with("status", "preliminary");
    let chart = decompensated(chart.observation(early), 2).form(clear(), 1).consented(1);
    cases.push(close(chart, "E5", "The HIV result is preliminary."));

    let chart = compensated(52, as_of).aged(65, 65);
    let at = chart.time(2, "09:00");
    let chart = [("B-TOT", 52, 1, "mg/dL"), ("QUICK-INR", 21, 1, ""), ("KREA", 11, 1, "mg/dL")]
        .into_iter()
        .fold(chart, |chart, (code, mantissa, places, unit)| {
            let local = Reading::of(&[Code { system: "urn:oid:1.2.156.99999.7.7", code, display: "" }]);
            chart.observation(local.quantity(Decimal::new(mantissa, places), unit, unit).at(at.clone()))
        });
    cases.push(close(
        chart.form(by_the_data(), 2).consented(2),
        "I2",
        "All values have local codes that nothing maps.",
    ));

    let chart = person(54, as_of, "male").aged(53, 53).hiv_negative(45);
    let onset = chart.day(90);
    let chart = chart.condition(&[CIRRHOSIS], onset);
    let at = chart.time(3, "09:00");
    let both = Reading::of(&[row(Lab::Creatinine).0, row(Lab::Bilirubin).0]).quantity(
        Decimal::new(41, 1),
        "mg/dL",
        "mg/dL",
    );
    let chart = labs(chart, &without_bilirubin().without(Lab::Creatinine), 3).observation(both.at(at));
    cases.push(close(
        chart.form(by_the_data(), 2).consented(2),
        "I2",
        "The only bilirubin is coded as creatinine, too.",
    ));

    let chart = liver(55, as_of, "male").aged(40, 40);
    let haloperidol = [rxnorm("5093", "haloperidol"), atc("N05AD01", "haloperidol")];
    let chart = decompensated(chart.ordered(&haloperidol, ORAL, 15), 3);
    cases.push(close(
        chart.form(clear().blank("E7"), 2).consented(2),
        "E7",
        "Haloperidol without a diagnosis: it may be for nausea.",
    ));

    let chart = liver(57, as_of, "male").aged(67, 67);
    let month = chart.month(90);
    let chart = decompensated(chart.condition_in(&[icd10cm("I63.9", "")], month, "resolved"), 3);
    cases.push(close(
        chart.form(clear().blank("E3"), 2).consented(2),
        "E3",
        "Cerebral infarction in a month that the 90-day window cuts.",
    ));

    cases.push(close(
        person(60, as_of, "unknown"),
        "I1",
        "A Patient without a birth date, a known sex, or any other resource.",
    ));

    cases
}

fn kept_out(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, criterion, story| chart.close(Dialect::Terse, Intent::Ineligible(criterion), story);
    let mut cases = Vec::new();

    let chart = liver(46, as_of, "male").aged(71, 71);
    let died = chart.day(1);
    let chart = decompensated(chart.person("deceasedDateTime", died), 3).form(clear(), 2).consented(3);
    cases.push(close(chart, "I1", "Died yesterday."));

    let chart = liver(56, as_of, "male").aged(69, 69);
    let year = format!("{:04}", as_of.year() - 1);
    let chart = decompensated(chart.condition(&[icd10cm("C22.0", "")], year), 3);
    cases.push(close(
        chart.form(clear().blank("E1"), 2).consented(2),
        "E1",
        "Liver cell carcinoma of which only the year is known: any time counts.",
    ));

    let chart = liver(58, as_of, "male").aged(37, 37).in_another_study("on-study-intervention", 200, None);
    let chart = decompensated(chart, 3).form(clear().blank("E8"), 2).consented(2);
    cases.push(close(chart, "E8", "Still a subject of another study: its period has no end."));

    let chart = decompensated(liver(59, as_of, "female").aged(29, 29), 3).hcg(2, NEGATIVE);
    cases.push(close(
        chart.form(clear().yes("E9"), 2).consented(2),
        "E9",
        "Not pregnant, but breastfeeding: attested.",
    ));

    cases
}
