//! Dialect B: a hospital in the United States. ICD-10-CM with SNOMED CT beside it, LOINC, conventional units
//! in UCUM, RxNorm, panels with members or components, US Core birth sex.

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::chart::*;
use super::labs::{Lab, Panel};
use super::{Case, Dialect, Intent};

/// Variable, LOINC code, its name, UCUM unit.
pub(super) const ROWS: [(Lab, Code, &str); 11] = [
    (Lab::Bilirubin, loinc("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"), "mg/dL"),
    (Lab::DirectBilirubin, loinc("1968-7", "Bilirubin.direct [Mass/volume] in Serum or Plasma"), "mg/dL"),
    (Lab::Albumin, loinc("1751-7", "Albumin [Mass/volume] in Serum or Plasma"), "g/dL"),
    (
        Lab::Alt,
        loinc("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
        "U/L",
    ),
    (
        Lab::Ast,
        loinc("1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
        "U/L",
    ),
    (Lab::Alp, loinc("6768-6", "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma"), "U/L"),
    (Lab::Pt, loinc("5902-2", "Prothrombin time (PT)"), "s"),
    (Lab::Inr, loinc("6301-6", "INR in Platelet poor plasma by Coagulation assay"), "{INR}"),
    (Lab::Creatinine, loinc("2160-0", "Creatinine [Mass/volume] in Serum or Plasma"), "mg/dL"),
    (Lab::Sodium, loinc("2951-2", "Sodium [Moles/volume] in Serum or Plasma"), "mmol/L"),
    (Lab::Platelets, loinc("777-3", "Platelets [#/volume] in Blood by Automated count"), "10*3/uL"),
];

/// The LOINC code and unit of a test of this dialect.
pub(super) fn row(lab: Lab) -> (Code, &'static str) {
    ROWS.iter()
        .find(|(known, ..)| *known == lab)
        .map_or((no_system("", ""), ""), |(_, code, unit)| (*code, unit))
}

/// Readings of a panel, all at one time.
pub(super) fn readings(panel: &Panel, at: &str) -> Vec<Reading> {
    ROWS.iter()
        .filter_map(|(lab, code, unit)| {
            let value = panel.get(*lab)?;
            Some(Reading::of(&[*code]).quantity(value, unit, unit).at(at.to_owned()))
        })
        .collect()
}

fn labs(chart: Chart, panel: &Panel, days: u64) -> Chart {
    let at = chart.time(days, "05:45");
    readings(panel, &at).into_iter().fold(chart, Chart::observation)
}

fn decompensated(mut chart: Chart, days: u64) -> Chart {
    let panel = Panel::decompensated(&mut chart.draw);
    labs(chart, &panel, days)
}

const CIRRHOSIS: [Code; 2] =
    [icd10cm("K74.60", "Unspecified cirrhosis of liver"), snomed("19943007", "Cirrhosis of liver")];
const ASCITES: [Code; 1] = [icd10cm("R18.8", "Other ascites")];
const ALCOHOLIC_WITH_ASCITES: [Code; 1] = [icd10cm("K70.31", "Alcoholic cirrhosis of liver with ascites")];
const ENCEPHALOPATHY: [Code; 1] = [icd10cm("K76.82", "Hepatic encephalopathy")];
const SPIRONOLACTONE: [Code; 1] = [rxnorm("9997", "spironolactone")];
const LACTULOSE: [Code; 1] = [rxnorm("6218", "lactulose")];
const METABOLIC_PANEL: Code = loinc("24323-8", "Comprehensive metabolic 2000 panel - Serum or Plasma");

fn birth_sex(code: &str) -> Value {
    json!([{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": code}])
}

fn person(number: u16, as_of: NaiveDate, sex: &str, given: &str) -> Chart {
    Chart::new(number, as_of, "-05:00", sex)
        .name("Synthetic", given)
        .person("extension", birth_sex(if sex == "female" { "F" } else { "M" }))
        .admitted(8)
}

/// Cirrhosis with ascites, usual drugs, a negative HIV test.
fn liver(number: u16, as_of: NaiveDate, sex: &str, given: &str) -> Chart {
    let chart = person(number, as_of, sex, given);
    let onset = chart.day(800);
    let worse = chart.day(60);
    chart
        .condition(&CIRRHOSIS, onset)
        .condition(&ASCITES, worse)
        .ordered(&SPIRONOLACTONE, ORAL, 60)
        .ordered(&LACTULOSE, ORAL, 20)
        .hiv_negative(25)
}

fn clear() -> Form {
    Form::clear().bedside("moderate-severe", "1-2")
}

pub(super) fn cases(as_of: NaiveDate) -> Vec<Case> {
    let mut cases = eligible(as_of);
    cases.extend(kept_out(as_of));
    cases.extend(open(as_of));
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    cases
}

fn eligible(as_of: NaiveDate) -> Vec<Case> {
    let close = |chart: Chart, story| chart.close(Dialect::Us, Intent::Eligible, story);
    let waiting = |chart: Chart, story| chart.close(Dialect::Us, Intent::AwaitingConsent, story);
    let mut cases = Vec::new();

    let chart = decompensated(liver(21, as_of, "male", "Aaron").aged(58, 20), 2);
    cases.push(close(chart.form(clear(), 2).consented(2), "LOINC and UCUM throughout."));

    let chart = person(22, as_of, "female", "Beth").aged(45, 90);
    let onset = chart.day(400);
    let chart = chart.condition(&ALCOHOLIC_WITH_ASCITES, onset).ordered(&SPIRONOLACTONE, ORAL, 90);
    let chart = decompensated(chart.hiv_negative(60), 4).hcg(3, NEGATIVE);
    cases.push(close(
        chart.form(clear().no("E9"), 3).consented(2),
        "Alcoholic cirrhosis with ascites in one code; woman of childbearing age, test negative.",
    ));

    let mut chart = liver(23, as_of, "male", "Carl").aged(49, 11);
    let at = chart.time(3, "05:45");
    let panel = readings(&Panel::decompensated(&mut chart.draw), &at);
    let chart = chart.panel(METABOLIC_PANEL, panel, at);
    cases.push(close(
        chart.form(clear(), 2).consented(2),
        "A panel whose members are Observations of their own.",
    ));

    let mut chart = liver(24, as_of, "male", "Dana").aged(66, 200);
    let at = chart.time(3, "05:45");
    let panel = Panel::decompensated(&mut chart.draw);
    let components: Vec<Value> = ROWS
        .iter()
        .filter_map(|(lab, code, unit)| {
            Some(json!({"code": concept(&[*code]), "valueQuantity": quantity(panel.get(*lab)?, unit, unit)}))
        })
        .collect();
    let chart = chart.observation(Reading::of(&[METABOLIC_PANEL]).at(at).with("component", components));
    cases.push(close(chart.form(clear(), 2).consented(2), "All values are components of one Observation."));

    let chart = decompensated(liver(25, as_of, "female", "Edith").aged(59, 340), 5);
    cases.push(waiting(chart.form(clear().no("E9"), 4), "Everything but consent; past menopause, attested."));

    let chart = decompensated(liver(26, as_of, "male", "Frank").aged(50, 50), 5);
    cases.push(waiting(
        chart.form(clear(), 4).consent("proposed", 3),
        "Consent is proposed and not yet signed.",
    ));

    let chart = liver(30, as_of, "male", "Jack").aged(53, 4);
    let cream = [rxnorm("10759", "triamcinolone")];
    let chart = decompensated(chart.took(&cream, TOPICAL, 40, 30), 2);
    cases.push(close(
        chart.form(clear(), 2).consented(2),
        "Triamcinolone on the skin: RxNorm does not tell it from a systemic one, the route does.",
    ));

    cases
}

fn kept_out(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, criterion, story| chart.close(Dialect::Us, Intent::Ineligible(criterion), story);
    let mut cases = Vec::new();

    let chart = liver(27, as_of, "male", "Glen").aged(62, 8);
    let onset = chart.day(2000);
    let chart = chart
        .condition(&[icd10cm("L20.9", "Atopic dermatitis, unspecified")], onset)
        .allergy("medication", rxnorm("7984", "penicillin V"))
        .allergy("medication", rxnorm("10180", "sulfamethoxazole"))
        .allergy("food", snomed("91935009", "Allergy to peanut"));
    let chart = decompensated(chart, 2).form(clear().blank("E10"), 2).consented(2);
    cases.push(close(chart, "E10", "Eczema, two drug allergies and one to food."));

    let chart = liver(28, as_of, "male", "Hank").aged(64, 64);
    let onset = chart.day(60);
    let chart =
        chart.condition(&[icd10cm("I21.4", "Non-ST elevation (NSTEMI) myocardial infarction")], onset);
    let chart = decompensated(chart, 3).form(clear().blank("E3"), 2).consented(2);
    cases.push(close(chart, "E3", "Acute myocardial infarction 60 days ago."));

    let chart = liver(29, as_of, "male", "Ivan").aged(51, 151);
    let chart = chart.took_by_reference(&[rxnorm("8640", "prednisone")], ORAL, 175, 165);
    let chart = decompensated(chart, 3).form(clear().blank("E6"), 2).consented(2);
    cases.push(close(
        chart,
        "E6",
        "Oral prednisone until 165 days ago, the drug in a Medication of its own.",
    ));

    let chart = liver(31, as_of, "male", "Kurt").aged(48, 48);
    let interferon = [rxnorm("120608", "peginterferon alfa-2a"), atc("L03AB11", "peginterferon alfa-2a")];
    let chart = decompensated(chart.took(&interferon, SUBCUTANEOUS, 300, 200), 3);
    let chart = chart.form(clear().blank("E6"), 2).consented(2);
    cases.push(close(chart, "E6", "Peginterferon until 200 days ago."));

    let chart = liver(32, as_of, "female", "Lena").aged(60, 1);
    let onset = chart.day(900);
    let chart = chart
        .condition(&[icd10cm("F33.1", "Major depressive disorder, recurrent, moderate")], onset)
        .ordered(&[rxnorm("36437", "sertraline"), atc("N06AB06", "sertraline")], ORAL, 120);
    let chart = decompensated(chart, 3).form(clear().blank("E7").no("E9"), 2).consented(2);
    cases.push(close(chart, "E7", "Depression, and sertraline for it."));

    let chart = liver(33, as_of, "male", "Mark").aged(47, 300).in_another_study("off-study", 100, Some(10));
    let chart = decompensated(chart, 3).form(clear().blank("E8"), 2).consented(2);
    cases.push(close(chart, "E8", "Left another study ten days ago."));

    let chart = decompensated(liver(34, as_of, "male", "Noel").aged(70, 70), 3);
    cases.push(close(
        chart.form(clear().yes("E4"), 2).consented(2),
        "E4",
        "The investigator attests another disease that may affect survival.",
    ));

    let chart = decompensated(liver(35, as_of, "male", "Omar").aged(39, 39), 3);
    cases.push(close(
        chart.form(clear().yes("E11"), 2).consented(2),
        "E11",
        "The investigator holds the patient unsuitable.",
    ));

    let chart = liver(36, as_of, "male", "Paul").aged(56, 6);
    let onset = chart.day(1200);
    let chart = chart.condition(&[icd10cm("T86.41", "Liver transplant rejection")], onset);
    let chart = decompensated(chart, 3).form(clear().blank("E2"), 2).consented(2);
    cases.push(close(chart, "E2", "Rejection of a transplanted liver."));

    cases
}

fn open(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, criterion, story| chart.close(Dialect::Us, Intent::Undetermined(criterion), story);
    let mut cases = Vec::new();

    let chart = decompensated(liver(37, as_of, "male", "Quinn").aged(42, 42), 3);
    cases.push(close(
        chart.form(clear().blank("E8"), 2).consented(2),
        "E8",
        "No record of another study, and nobody attested that there is none elsewhere.",
    ));

    let chart = person(38, as_of, "male", "Ross").aged(55, 155);
    let onset = chart.day(700);
    let at = chart.time(3, "05:45");
    let unitless =
        Reading::of(&[row(Lab::Bilirubin).0]).quantity(rust_decimal::Decimal::new(42, 1), "", "").at(at);
    let panel = Panel::borderline().without(Lab::Bilirubin).with(Lab::Albumin, 36, 1);
    let chart = labs(chart.condition(&CIRRHOSIS, onset).hiv_negative(15), &panel, 3).observation(unitless);
    let chart = chart.form(Form::clear().blank("I2").bedside("none", "0"), 2).consented(2);
    cases.push(close(chart, "I2", "Bilirubin 4.2 of no unit: it alone would show decompensation."));

    let chart = person(39, as_of, "male", "Saul").aged(61, 161);
    let onset = chart.day(700);
    let chart = chart.condition(&CIRRHOSIS, onset.clone()).condition(&ENCEPHALOPATHY, onset);
    let at = chart.time(200, "07:00");
    let stale = Reading::of(&[HIV_AG_AB]).concept(NEGATIVE).at(at);
    let chart = decompensated(chart.observation(stale), 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "E5", "The only negative HIV test is 200 days old."));

    let chart = decompensated(liver(40, as_of, "female", "Tara").aged(33, 3), 3);
    cases.push(close(
        chart.form(clear(), 2).consented(2),
        "E9",
        "Woman of 33 without a pregnancy test; breastfeeding not asked.",
    ));

    cases
}
