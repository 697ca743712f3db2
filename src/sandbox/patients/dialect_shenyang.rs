//! Dialect A: a hospital in Shenyang. SI units, WHO ICD-10 under a national OID with Chinese extensions,
//! local laboratory and drug codes beside LOINC or instead of it, units as the instruments spell them.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::chart::*;
use super::labs::{Draw, Lab, Panel};
use super::{Case, Dialect, Intent};

/// How one instrument writes.
#[derive(Clone, Copy)]
struct Style {
    loinc_too: bool,
    /// Micro sign U+00B5, Greek mu U+03BC, or UCUM's `umol/L` with system and code.
    micromole: &'static str,
    enzyme: &'static str,
    cells: &'static str,
    seconds: &'static str,
}

const CODED: Style =
    Style { loinc_too: true, micromole: "umol/L", enzyme: "U/L", cells: "10*9/L", seconds: "s" };
const LOCAL: Style = Style { loinc_too: false, ..CODED };
const MICRO_SIGN: Style =
    Style { loinc_too: false, micromole: "\u{b5}mol/L", enzyme: "IU/L", cells: "10^9/L", seconds: "sec" };
const GREEK_MU: Style = Style { loinc_too: true, micromole: "\u{3bc}mol/L", ..MICRO_SIGN };

struct Row {
    lab: Lab,
    code: &'static str,
    name: &'static str,
    /// `None` where the laboratory has nothing but its own code.
    loinc: Option<&'static str>,
    /// From the panel's unit, times ten: 171 is 17.1.
    tenfold: i64,
    places: u32,
}

const ROWS: [Row; 12] = [
    Row {
        lab: Lab::Bilirubin,
        code: "TBIL",
        name: "总胆红素",
        loinc: Some("14631-6"),
        tenfold: 171,
        places: 1,
    },
    Row {
        lab: Lab::DirectBilirubin, code: "DBIL", name: "直接胆红素", loinc: None, tenfold: 171, places: 1
    },
    Row { lab: Lab::Albumin, code: "ALB", name: "白蛋白", loinc: Some("1751-7"), tenfold: 100, places: 1 },
    Row {
        lab: Lab::Alt,
        code: "ALT",
        name: "丙氨酸氨基转移酶",
        loinc: Some("1742-6"),
        tenfold: 10,
        places: 0,
    },
    Row {
        lab: Lab::Ast,
        code: "AST",
        name: "天门冬氨酸氨基转移酶",
        loinc: Some("1920-8"),
        tenfold: 10,
        places: 0,
    },
    Row {
        lab: Lab::Alp, code: "ALP", name: "碱性磷酸酶", loinc: Some("6768-6"), tenfold: 10, places: 0
    },
    Row {
        lab: Lab::Pt, code: "PT", name: "凝血酶原时间", loinc: Some("5902-2"), tenfold: 10, places: 1
    },
    Row {
        lab: Lab::Inr, code: "INR", name: "国际标准化比值", loinc: Some("6301-6"), tenfold: 10, places: 2
    },
    Row { lab: Lab::Pta, code: "PTA", name: "凝血酶原活动度", loinc: None, tenfold: 10, places: 0 },
    Row { lab: Lab::Creatinine, code: "Cr", name: "肌酐", loinc: Some("14682-9"), tenfold: 884, places: 0 },
    Row { lab: Lab::Sodium, code: "Na", name: "钠", loinc: Some("2951-2"), tenfold: 10, places: 0 },
    Row {
        lab: Lab::Platelets,
        code: "PLT",
        name: "血小板计数",
        loinc: Some("777-3"),
        tenfold: 10,
        places: 0,
    },
];

impl Style {
    fn unit(self, lab: Lab) -> &'static str {
        match lab {
            Lab::Bilirubin | Lab::DirectBilirubin | Lab::Creatinine => self.micromole,
            Lab::Albumin => "g/L",
            Lab::Alt | Lab::Ast | Lab::Alp => self.enzyme,
            Lab::Pt => self.seconds,
            Lab::Inr => "",
            Lab::Pta => "%",
            Lab::Sodium => "mmol/L",
            Lab::Platelets => self.cells,
        }
    }

    fn codes(self, row: &Row) -> Vec<Code> {
        let own = cn_lab(row.code, row.name);
        match row.loinc {
            Some(code) if self.loinc_too => vec![own, loinc(code, "")],
            _ => vec![own],
        }
    }

    fn reading(self, row: &Row, value: Decimal, at: String) -> Reading {
        let value = (value * Decimal::new(row.tenfold, 1)).round_dp(row.places);
        let unit = self.unit(row.lab);
        // What is not UCUM is not said to be.
        let ucum = match unit {
            "" if self.loinc_too => "1",
            "umol/L" | "g/L" | "U/L" | "10*9/L" | "s" | "mmol/L" | "%" => unit,
            _ => "",
        };
        Reading::of(&self.codes(row)).quantity(value, unit, ucum).at(at)
    }
}

fn labs(mut chart: Chart, panel: &Panel, style: Style, days: u64) -> Chart {
    let at = chart.time(days, "06:50");
    for row in &ROWS {
        if let Some(value) = panel.get(row.lab) {
            chart = chart.observation(style.reading(row, value, at.clone()));
        }
    }
    chart
}

fn decompensated(mut chart: Chart, style: Style, days: u64) -> Chart {
    let panel = Panel::decompensated(&mut chart.draw);
    labs(chart, &panel, style, days)
}

// The categories are the WHO's. The extensions after them only look like those of the clinical edition.
const CIRRHOSIS: Code = icd10_cn("K74.608", "肝硬化失代偿期");
const CIRRHOSIS_X: Code = icd10_cn("K74.600x001", "肝硬化");
const ASCITES: Code = icd10_cn("R18.x00", "腹水");
const VARICES_BLEEDING: Code = icd10_cn("I85.0", "食管静脉曲张伴出血");
const HEPATIC_FAILURE: Code = icd10_cn("K72.905", "慢加急性肝衰竭");
const HEPATITIS_B: Code = icd10_cn("B18.1", "慢性乙型病毒性肝炎");
const HEPATORENAL: Code = icd10_cn("K76.7", "肝肾综合征");
const ENTECAVIR: Code = atc("J05AF10", "entecavir");
const SPIRONOLACTONE: Code = atc("C03DA01", "spironolactone");

/// What all who come with this disease have: admission, cirrhosis of hepatitis B with ascites, usual drugs,
/// a negative HIV test.
fn liver(number: u16, as_of: NaiveDate, sex: &str, name: (&str, &str)) -> Chart {
    let chart = Chart::new(number, as_of, "+08:00", sex).name(name.0, name.1).admitted(12);
    let onset = chart.day(900);
    let worse = chart.day(45);
    chart
        .condition(&[CIRRHOSIS], onset.clone())
        .condition(&[ASCITES], worse)
        .condition(&[HEPATITIS_B], onset)
        .ordered(&[ENTECAVIR], ORAL, 400)
        .ordered(&[SPIRONOLACTONE], ORAL, 40)
        .hiv_negative(30)
}

/// The form with bedside grades, for who is otherwise clear.
fn clear() -> Form {
    Form::clear().bedside("mild", "0")
}

pub(super) fn cases(as_of: NaiveDate) -> Vec<Case> {
    let mut cases = eligible(as_of);
    cases.extend(kept_out(as_of));
    cases.extend(open(as_of));
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    cases
}

fn eligible(as_of: NaiveDate) -> Vec<Case> {
    let close = |chart: Chart, story| chart.close(Dialect::Shenyang, Intent::Eligible, story);
    let waiting = |chart: Chart, story| chart.close(Dialect::Shenyang, Intent::AwaitingConsent, story);
    let mut cases = Vec::new();

    let chart = liver(1, as_of, "male", ("测试", "甲一")).aged(52, 40);
    let older = Panel::decompensated(&mut Draw::seeded(901));
    let chart = labs(chart, &older, CODED, 48);
    let chart = decompensated(chart, CODED, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "Local codes beside LOINC; an older set of values lies outside the window."));

    let chart = liver(2, as_of, "female", ("测试", "乙二")).aged(47, 210);
    let panel = Panel::decompensated(&mut Draw::seeded(902)).without(Lab::DirectBilirubin);
    let at = chart.time(4, "06:50");
    let direct = Reading::of(&[cn_lab("DBIL", "直接胆红素")]).with("valueString", "＜5.1").at(at);
    let chart = labs(chart, &panel, MICRO_SIGN, 4).observation(direct).hcg(3, NEGATIVE);
    let chart = chart.form(clear().no("E9"), 2).consented(2);
    cases.push(close(chart, "Local codes only, micro sign U+00B5; direct bilirubin as full-width text."));

    let chart = liver(3, as_of, "male", ("测试", "丙三")).aged(61, 5);
    let chart = decompensated(chart, LOCAL, 2).bedside_observed("moderate-severe", "1-2", 2);
    let chart = chart.form(Form::clear(), 2).consented(1);
    cases.push(close(chart, "Ascites and encephalopathy as Observations rather than in the form."));

    let chart = Chart::new(4, as_of, "+08:00", "male").name("测试", "丁四").aged(38, 100).admitted(9);
    let onset = chart.day(10);
    let chart = chart.condition(&[HEPATIC_FAILURE], onset.clone()).condition(&[HEPATITIS_B], onset);
    let chart = decompensated(chart.hiv_negative(8), GREEK_MU, 1);
    let chart = chart.form(Form::clear().bedside("none", "1-2"), 1).consented(1);
    cases.push(close(chart, "Hepatic failure K72.905 without a cirrhosis code; Greek mu U+03BC."));

    let chart = liver(5, as_of, "female", ("测试", "戊五")).aged(63, 12);
    let onset = chart.day(20);
    let chart = decompensated(chart.condition(&[VARICES_BLEEDING], onset), MICRO_SIGN, 5);
    let chart = chart.form(clear().no("E9"), 4).consented(3);
    cases.push(close(
        chart,
        "WHO I85.0 is varices with bleeding; past menopause, attested; IU/L, sec, 10^9/L.",
    ));

    let chart = liver(6, as_of, "male", ("测试", "己六")).almost(81);
    let chart = decompensated(chart, LOCAL, 6).form(clear(), 5).consented(4);
    cases.push(close(chart, "Turns 81 tomorrow: still 80, and in."));

    let chart = liver(7, as_of, "male", ("测试", "庚七")).aged(55, 71);
    let at = chart.time(60, "06:50");
    let old = Reading::of(&[cn_lab("TBIL", "总胆红素")]).with("valueString", "＜5.1").at(at);
    let chart = decompensated(chart.observation(old), CODED, 3).form(clear(), 3);
    cases.push(waiting(chart, "Everything but consent; an old total bilirubin is full-width text."));

    let chart = liver(8, as_of, "female", ("测试", "辛八")).aged(44, 300);
    let chart = decompensated(chart, LOCAL, 2).hcg(2, NEGATIVE).form(clear().no("E9"), 2);
    cases.push(waiting(chart, "Everything but consent."));

    let chart = liver(12, as_of, "male", ("测试", "子二")).aged(57, 33);
    let chart = chart.took(&[atc("D07AC13", "mometasone, dermatological")], TOPICAL, 100, 90).took(
        &[atc("R03BA02", "budesonide, inhaled")],
        INHALED,
        120,
        60,
    );
    let chart = decompensated(chart, CODED, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "Steroids on the skin and inhaled, none systemic: E6 does not apply."));

    cases
}

fn kept_out(as_of: NaiveDate) -> Vec<Case> {
    let close =
        |chart: Chart, criterion, story| chart.close(Dialect::Shenyang, Intent::Ineligible(criterion), story);
    let mut cases = Vec::new();

    let chart = liver(9, as_of, "male", ("测试", "壬九")).aged(59, 9);
    let onset = chart.day(80);
    let chart = decompensated(chart.condition(&[icd10_cn("C22.0", "肝细胞癌")], onset), CODED, 3);
    let chart = chart.form(clear().blank("E1"), 2).consented(2);
    cases.push(close(chart, "E1", "Hepatocellular carcinoma C22.0."));

    let chart = liver(10, as_of, "male", ("测试", "癸十")).aged(50, 180);
    let onset = chart.day(1500);
    let chart = decompensated(chart.condition(&[icd10_cn("Z94.4", "肝移植状态")], onset), LOCAL, 3);
    let chart = chart.form(clear().blank("E2"), 2).consented(2);
    cases.push(close(chart, "E2", "Liver transplant Z94.4."));

    let chart = liver(11, as_of, "male", ("测试", "子一")).aged(46, 77);
    let steroid = [cn_drug("D0107", "醋酸泼尼松龙片"), atc("H02AB06", "prednisolone")];
    let chart = decompensated(chart.took(&steroid, ORAL, 180, 165), CODED, 3);
    let chart = chart.form(clear().blank("E6"), 2).consented(2);
    cases.push(close(chart, "E6", "Oral prednisolone until 165 days ago, local drug code beside ATC."));

    let chart = liver(13, as_of, "male", ("测试", "子三")).aged(41, 14);
    let onset = chart.day(3000);
    let chart = decompensated(chart.condition(&[icd10_cn("J45.0", "变应性哮喘")], onset), LOCAL, 2);
    let chart = chart.form(clear().blank("E10"), 2).consented(2);
    cases.push(close(chart, "E10", "WHO J45.0 is predominantly allergic asthma."));

    let chart = liver(14, as_of, "female", ("测试", "子四")).aged(31, 60);
    let chart = decompensated(chart, CODED, 2).hcg(2, POSITIVE).form(clear(), 2).consented(2);
    cases.push(close(chart, "E9", "Positive pregnancy test two days ago."));

    let chart = Chart::new(15, as_of, "+08:00", "male").name("测试", "子五").aged(43, 2).admitted(6);
    let onset = chart.day(600);
    let at = chart.time(50, "07:40");
    let chart = chart
        .condition(&[CIRRHOSIS_X], onset.clone())
        .condition(&[HEPATORENAL], onset.clone())
        .condition(&[icd10_cn("B24", "人类免疫缺陷病毒病")], onset)
        .observation(
            Reading::of(&[loinc("5221-7", "HIV 1 Ab [Presence] in Serum or Plasma by Immunoblot")])
                .concept(POSITIVE)
                .at(at),
        );
    let chart = decompensated(chart, CODED, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "E5", "HIV confirmed by immunoblot, B24."));

    let chart = liver(16, as_of, "male", ("测试", "子六")).aged(81, 0);
    let chart = decompensated(chart, LOCAL, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "I1", "81 today."));

    let chart = liver(17, as_of, "male", ("测试", "子七")).almost(18);
    let chart = decompensated(chart, CODED, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "I1", "Turns 18 tomorrow."));

    let mut chart = Chart::new(18, as_of, "+08:00", "male").name("测试", "子八").aged(36, 120);
    let panel = Panel::healthy(&mut chart.draw);
    let onset = chart.day(200);
    let chart = chart
        .condition(&[icd10_cn("K29.500", "慢性胃炎")], onset.clone())
        .condition(&[icd10_cn("I10.x00", "特发性高血压")], onset)
        .hiv_negative(40);
    let chart =
        labs(chart, &panel, CODED, 4).form(Form::clear().no("I2").bedside("none", "0"), 3).consented(3);
    cases.push(close(
        chart,
        "I2",
        "No liver disease: gastritis and hypertension, and the investigator says so.",
    ));

    cases
}

fn open(as_of: NaiveDate) -> Vec<Case> {
    let close = |chart: Chart, criterion, story| {
        chart.close(Dialect::Shenyang, Intent::Undetermined(criterion), story)
    };
    let mut cases = Vec::new();

    let chart = Chart::new(19, as_of, "+08:00", "male").name("测试", "子九").aged(54, 250).admitted(7);
    let onset = chart.day(300);
    let chart = chart.condition(&[CIRRHOSIS], onset.clone()).condition(&[ASCITES], onset);
    let chart = decompensated(chart, MICRO_SIGN, 3).form(clear(), 2).consented(2);
    cases.push(close(chart, "E5", "No HIV result at all."));

    let chart = Chart::new(20, as_of, "+08:00", "male").name("测试", "丑十").aged(49, 18).admitted(5);
    let onset = chart.day(500);
    let chart = labs(chart.condition(&[CIRRHOSIS_X], onset), &Panel::borderline(), CODED, 2);
    let grade = Form::clear().blank("I2").bedside("none", "0").blank("ascites");
    let chart = chart.hiv_negative(20).form(grade, 2).consented(2);
    cases.push(close(
        chart,
        "I2",
        "Compensated on paper: the missing ascites grade decides whether it is end-stage.",
    ));

    cases
}
