//! Messages of an invented patient with end-stage liver disease, to try a connection with.
//!
//! Never a real patient's: name, number and values are made up here. The same arguments give the same
//! bytes; the control id and the time are arguments.

use chrono::{DateTime, Duration, FixedOffset, NaiveTime};
use clap::ValueEnum;

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nine results: liver function, INR, creatinine, sodium, platelets
    OruLft,
    /// The same report again: one result corrected, one withdrawn as wrong
    OruCorrection,
    /// The patient is admitted
    AdtA01,
    /// Another record of the patient is merged into this one
    AdtA40,
}

/// Whose numbers these are: the assigning authority of the invented patients.
const AUTHORITY: &str = "SYNTHETIC";

/// LOINC code, its name, value, UCUM unit, reference range, flag. Decompensated cirrhosis: MELD 21.
#[rustfmt::skip]
const RESULTS: [(&str, &str, &str, &str, &str, &str); 9] = [
    (BILIRUBIN, "Bilirubin.total [Moles/volume] in Serum or Plasma",                 "99.2", "umol/L",  "3.4-20.5",  "H"),
    ("1751-7",  "Albumin [Mass/volume] in Serum or Plasma",                          "26",   "g/L",     "35-52",     "L"),
    ("1742-6",  "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "64", "U/L",  "7-40",      "H"),
    ("1920-8",  "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "98", "U/L", "13-35",     "H"),
    ("6768-6",  "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma", "142", "U/L",    "50-135",    "H"),
    ("6301-6",  "INR in Platelet poor plasma by Coagulation assay",                  "1.9",  "{INR}",   "0.8-1.2",   "H"),
    ("14682-9", "Creatinine [Moles/volume] in Serum or Plasma",                      "97",   "umol/L",  "41-81",     "H"),
    (SODIUM,    "Sodium [Moles/volume] in Serum or Plasma",                          "131",  "mmol/L",  "137-147",   "L"),
    ("777-3",   "Platelets [#/volume] in Blood by Automated count",                  "62",   "10*9/L",  "125-350",   "L"),
];
const BILIRUBIN: &str = "14631-6";
const SODIUM: &str = "2951-2";
/// What the bilirubin is corrected to.
const CORRECTED: &str = "68.4";

/// A record number that holds no sign of HL7 v2's.
///
/// # Errors
/// A sentence for the user.
pub fn patient(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 40 || !text.chars().all(plain) {
        return Err("a record number here is 1 to 40 letters, digits, `-`, `_` or `.`".into());
    }
    Ok(text.to_owned())
}

/// One message, its segments ended by carriage returns.
pub fn message(kind: Kind, patient: &str, control_id: &str, at: DateTime<FixedOffset>) -> String {
    let (event, structure) = match kind {
        Kind::OruLft | Kind::OruCorrection => ("ORU^R01", "ORU_R01"),
        Kind::AdtA01 => ("ADT^A01", "ADT_A01"),
        Kind::AdtA40 => ("ADT^A40", "ADT_A39"),
    };
    let now = time(at);
    let event_type = format!("{event}^{structure}");
    // MSH-1 is the separator itself, so that its fields count from the one before.
    let mut text = segment(
        "MSH",
        &[
            (1, "^~\\&"),
            (2, "SYNLAB"),
            (3, AUTHORITY),
            (4, "TRIALBRIDGE"),
            (6, &now),
            (8, &event_type),
            (9, control_id),
            (10, "P"),
            (11, "2.5.1"),
            (17, "UNICODE UTF-8"),
        ],
    );
    if !matches!(kind, Kind::OruLft | Kind::OruCorrection) {
        text += &segment("EVN", &[(2, &now)]);
    }
    let identifier = format!("{patient}^^^{AUTHORITY}^MR");
    let pid = [(1, "1"), (3, identifier.as_str()), (5, "Synthetic^Patient"), (7, "19650314"), (8, "M")];
    text += &segment("PID", &pid);
    match kind {
        Kind::OruLft | Kind::OruCorrection => text += &report(kind, patient, at),
        Kind::AdtA01 => text += &segment("PV1", &[(1, "1"), (2, "I"), (3, "HEP^101^1"), (44, &now)]),
        Kind::AdtA40 => text += &segment("MRG", &[(1, &format!("{patient}-OLD^^^{AUTHORITY}^MR"))]),
    }
    text
}

fn report(kind: Kind, patient: &str, at: DateTime<FixedOffset>) -> String {
    // Drawn the morning before, so that it never lies in the future.
    let drawn = (at - Duration::days(1)).date_naive().and_time(NaiveTime::MIN) + Duration::minutes(450);
    let drawn = drawn.and_local_timezone(*at.offset()).single().unwrap_or(at);
    let (placer, filler) = (format!("P-{patient}-LFT"), format!("F-{patient}-LFT"));
    let (drawn, now) = (time(drawn), time(at));
    let is_correction = kind == Kind::OruCorrection;
    let status = if is_correction { "C" } else { "F" };
    let mut text = segment("ORC", &[(1, "RE"), (2, &placer), (3, &filler)]);
    let panel = "24325-3^Hepatic function 2000 panel - Serum or Plasma^LN";
    text += &segment(
        "OBR",
        &[(1, "1"), (2, &placer), (3, &filler), (4, panel), (7, &drawn), (22, &now), (25, status)],
    );
    let mut set = 0;
    for (code, name, value, unit, range, flag) in RESULTS {
        let (value, status) = match (is_correction, code) {
            (false, _) => (value, "F"),
            (true, BILIRUBIN) => (CORRECTED, "C"),
            (true, SODIUM) => (value, "W"),
            (true, _) => continue,
        };
        set += 1;
        let (number, code) = (set.to_string(), format!("{code}^{name}^LN"));
        let unit = format!("{unit}^^UCUM");
        text += &segment(
            "OBX",
            &[
                (1, &number),
                (2, "NM"),
                (3, &code),
                (5, value),
                (6, &unit),
                (7, range),
                (8, flag),
                (11, status),
                (14, &drawn),
            ],
        );
    }
    text
}

/// A segment from its fields by number, which come in order.
fn segment(name: &str, fields: &[(usize, &str)]) -> String {
    let mut text = name.to_owned();
    let mut at = 0;
    for (number, value) in fields {
        text.extend(std::iter::repeat_n('|', number - at));
        text += value;
        at = *number;
    }
    text.push('\r');
    text
}

fn time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y%m%d%H%M%S%z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-23T04:30:00+08:00").expect("a time")
    }

    #[test]
    fn fields_stand_where_they_belong() {
        let text = message(Kind::OruLft, "SYN-0001", "TB1", at());
        let lines: Vec<&str> = text.split_terminator('\r').collect();
        assert_eq!(
            lines[0],
            "MSH|^~\\&|SYNLAB|SYNTHETIC|TRIALBRIDGE||20261123043000+0800||ORU^R01^ORU_R01|TB1|P|2.5.1||||||UNICODE UTF-8"
        );
        assert_eq!(lines[1], "PID|1||SYN-0001^^^SYNTHETIC^MR||Synthetic^Patient||19650314|M");
        assert_eq!(lines[2], "ORC|RE|P-SYN-0001-LFT|F-SYN-0001-LFT");
        assert_eq!(
            lines[3],
            "OBR|1|P-SYN-0001-LFT|F-SYN-0001-LFT|24325-3^Hepatic function 2000 panel - Serum or Plasma^LN|||\
             20261122073000+0800|||||||||||||||20261123043000+0800|||F"
        );
        assert_eq!(
            lines[4],
            "OBX|1|NM|14631-6^Bilirubin.total [Moles/volume] in Serum or Plasma^LN||99.2|umol/L^^UCUM|3.4-20.5|H|||F|||\
             20261122073000+0800"
        );
        assert_eq!(lines.len(), 4 + RESULTS.len());

        let text = message(Kind::OruCorrection, "SYN-0001", "TB2", at());
        let results: Vec<Vec<&str>> =
            text.split('\r').filter(|l| l.starts_with("OBX")).map(|l| l.split('|').collect()).collect();
        let seen: Vec<_> = results.iter().map(|f| (&f[3][..6], f[5], f[11])).collect();
        assert_eq!(seen, [("14631-", "68.4", "C"), ("2951-2", "131", "W")]);

        let text = message(Kind::AdtA40, "SYN-0001", "TB3", at());
        assert!(text.ends_with("|M\rMRG|SYN-0001-OLD^^^SYNTHETIC^MR\r"), "{text}");
        let text = message(Kind::AdtA01, "SYN-0001", "TB4", at());
        assert!(text.contains("\rEVN||20261123043000+0800\rPID|") && text.contains("\rPV1|1|I|HEP^101^1|"));
    }

    #[test]
    fn the_oracle_reads_every_message() {
        for kind in Kind::value_variants() {
            let text = message(*kind, "SYN-0001", "TB1", at());
            let read = hl7_parser::parse_message(&text).expect("valid");
            assert_eq!(read.query("MSH.10").map(|v| v.raw_value().to_owned()).as_deref(), Some("TB1"));
            assert_eq!(read.query("PID.3.1").map(|v| v.raw_value().to_owned()).as_deref(), Some("SYN-0001"));
            assert_eq!(message(*kind, "SYN-0001", "TB1", at()), text, "the same again");
        }
    }

    #[test]
    fn a_record_number_cannot_write_a_segment() {
        for bad in ["", "a|b", "a^b", "a\rb", "名", &"x".repeat(41)] {
            assert!(patient(bad).is_err(), "{bad:?}");
        }
        assert_eq!(patient("SYN-0001").as_deref(), Ok("SYN-0001"));
    }
}
