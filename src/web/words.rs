//! Codes in words: states as shape and word (never colour alone), needs, scores, times.

use super::stored::{Criterion, Score, Stored, Variable};
use crate::access::{Permission, Role};
use crate::protocol::Trial;
use crate::score;
use crate::store::EventKind;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Number, Value};

/// A state, as a shape and a word. `tone` chooses the colour, which says nothing of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub tone: &'static str,
    pub shape: &'static str,
    pub word: &'static str,
}

const fn mark(tone: &'static str, shape: &'static str, word: &'static str) -> Mark {
    Mark { tone, shape, word }
}

/// Of one criterion. What is not known here is shown as unknown, never as favourable.
pub(super) fn verdict(word: &str) -> Mark {
    match word {
        "met" => mark("good", "●", "met"),
        "clear" => mark("good", "●", "clear"),
        "not-met" => mark("bad", "✕", "not met"),
        "excludes" => mark("bad", "✕", "excludes"),
        "not-applicable" => mark("none", "–", "not applicable"),
        "attest" => mark("ask", "✎", "to attest"),
        _ => mark("open", "?", "unknown"),
    }
}

/// Of a subject.
pub(super) fn decision(word: &str) -> Mark {
    match word {
        "eligible" => mark("good", "●", "eligible"),
        "ineligible" => mark("bad", "✕", "ineligible"),
        "attached" => mark("none", "–", "belongs to another subject"),
        _ => mark("open", "?", "undetermined"),
    }
}

/// The same in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Both {
    pub en: &'static str,
    pub zh: &'static str,
}

/// What an account is for.
pub(super) fn role(role: Role) -> Both {
    let (en, zh) = match role {
        Role::Coordinator => ("coordinator", "研究协调员"),
        Role::Investigator => ("investigator", "研究者"),
        Role::Pharmacist => ("pharmacist, unblinded", "药师(非盲)"),
        Role::Statistician => ("statistician, unblinded", "统计师(非盲)"),
        Role::Monitor => ("monitor", "监查员"),
        Role::Administrator => ("administrator", "系统管理员"),
        Role::Operator => ("operator", "操作员"),
    };
    Both { en, zh }
}

/// Why somebody was not let in, from the code of the trouble.
pub(super) fn refused(code: &str) -> Both {
    let (en, zh) = match code {
        "too-many-attempts" => ("Too many attempts. Wait, and try again.", "尝试次数过多,请稍后再试。"),
        "password-must-change" => (
            "This password was set by an administrator. Change it first: POST /api/v1/password, or trialbridge user password.",
            "该密码由管理员设置,请先修改密码。",
        ),
        _ => ("Account and password do not fit.", "账号或密码不正确。"),
    };
    Both { en, zh }
}

/// A permission as programs are told it.
pub(super) fn permission(permission: Permission) -> String {
    let mut word = String::new();
    for c in format!("{permission:?}").chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// What was said of an allocation after it was made.
pub(super) fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::MarkedInError => "marked as made in error",
        EventKind::StratumCorrected => "stratum corrected",
        EventKind::Unblinded => "unblinded",
        EventKind::Closed => "randomization stopped",
        EventKind::Reopened => "randomization resumed",
        EventKind::DefinitionSigned => "another trial definition in force",
    }
}

/// A time for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub iso: String,
    pub words: String,
}

impl Moment {
    pub fn of(at: DateTime<Utc>) -> Moment {
        let iso = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Moment { iso, words: at.format("%Y-%m-%d %H:%M UTC").to_string() }
    }

    /// From RFC 3339; another text stays as it is.
    pub fn read(text: &str) -> Moment {
        match DateTime::parse_from_rfc3339(text) {
            Ok(at) => Moment::of(at.with_timezone(&Utc)),
            Err(_) => Moment { iso: text.to_owned(), words: text.to_owned() },
        }
    }
}

/// A FHIR date or time for people: without seconds, with its own offset.
pub(super) fn taken(text: &str) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(text) else { return text.replace('/', " to ") };
    match at.offset().local_minus_utc() {
        0 => at.format("%Y-%m-%d %H:%M UTC").to_string(),
        _ => at.format("%Y-%m-%d %H:%M %:z").to_string(),
    }
}

/// How long before the day of judgement; empty where the date is too coarse to say.
pub(super) fn age(effective: &str, as_of: &str) -> String {
    let day = |text: &str| text.get(..10).and_then(|d| d.parse::<NaiveDate>().ok());
    let (Some(then), Some(now)) = (day(effective), day(as_of)) else { return String::new() };
    match (now - then).num_days() {
        0 => "same day".to_owned(),
        days if days > 0 => format!("{days} d before"),
        days => format!("{} d after", -days),
    }
}

/// A variable, score or other input by its title.
pub(super) fn name<'a>(trial: &'a Trial, id: &'a str) -> &'a str {
    if let Some(index) = trial.variable(id) {
        return &trial.variables[usize::from(index)].title.en;
    }
    match id {
        "sex" => "Sex",
        "age" => "Age",
        "dialysis" => "Dialysis in the week before",
        "pt_prolongation" => "Prothrombin time over control",
        _ => score::title(id),
    }
}

/// What would settle an open decision: results and consent one by one, attestations in one phrase.
pub(super) fn needs(trial: &Trial, needs: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let mut attestations = Vec::new();
    for need in needs {
        match need.as_str() {
            "consent" => words.push("signed consent".to_owned()),
            "identity" => words.push("review of the merged record".to_owned()),
            other => match other.strip_prefix("attestation:") {
                Some(criterion) => attestations.push(criterion),
                None => words.push(lower_first(name(trial, other))),
            },
        }
    }
    if !attestations.is_empty() {
        words.push(format!("attestation of {}", attestations.join(", ")));
    }
    words
}

/// `Ascites grade` in the middle of a sentence; `HIV …` stays.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// A reason with the names of variables and scores instead of their ids, and times for people.
pub(super) fn reason(trial: &Trial, text: &str) -> String {
    let is_id = |word: &str| word.contains('_') || trial.variable(word).is_some();
    let word = |(place, word): (usize, &str)| match place {
        0 if is_id(word) => name(trial, word).to_owned(),
        _ => time_in(word),
    };
    let part = |part: &str| part.split(' ').enumerate().map(word).collect::<Vec<_>>().join(" ");
    text.split("; ").map(part).collect::<Vec<_>>().join("; ")
}

/// A word, or the time it is, with the punctuation after it.
fn time_in(word: &str) -> String {
    let bare = word.trim_end_matches([',', '.']);
    match DateTime::parse_from_rfc3339(bare) {
        Ok(_) => taken(bare) + &word[bare.len()..],
        Err(_) => word.to_owned(),
    }
}

fn number(number: Option<&Number>) -> String {
    number.map(Number::to_string).unwrap_or_default()
}

fn class(class: Option<&str>) -> &str {
    class.unwrap_or_default()
}

/// `21`, `C10`, `19 to 24`, `C11 to C15`, or `?` where nothing bounds it. Empty where not computed.
pub(super) fn score(score: Option<&Score>) -> String {
    let Some(s) = score else { return String::new() };
    match (&s.value, &s.low, &s.high) {
        (Some(value), ..) => format!("{}{value}", class(s.class.as_deref())),
        (None, Some(low), Some(high)) => {
            format!("{}{low} to {}{high}", class(s.class_low.as_deref()), class(s.class_high.as_deref()))
        }
        _ => "?".to_owned(),
    }
}

/// `grade 2`, `grade 1 to 3`, or nothing.
pub(super) fn grade(s: &Score) -> String {
    match (number(s.grade.as_ref()), number(s.grade_low.as_ref()), number(s.grade_high.as_ref())) {
        (one, ..) if !one.is_empty() => format!("grade {one}"),
        (_, low, high) if !low.is_empty() && low == high => format!("grade {low}"),
        (_, low, high) if !low.is_empty() => format!("grade {low} to {high}"),
        _ => String::new(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// A variable's value with its canonical unit: `3.2 mg/dL`, `below 0.3 mg/dL`, `moderate-severe`.
pub(super) fn variable(v: &Variable) -> String {
    let amount = match (&v.value, &v.low, &v.high) {
        (Some(exact), ..) => value(exact),
        (None, Some(low), Some(high)) => format!("{} to {}", value(low), value(high)),
        (None, Some(low), None) => format!("from {}", value(low)),
        (None, None, Some(high)) => format!("up to {}", value(high)),
        (None, None, None) => return String::new(),
    };
    with_unit(&amount, v.unit.as_deref())
}

/// The unit `1` is not said, and `a` is UCUM for years.
pub(super) fn with_unit(amount: &str, unit: Option<&str>) -> String {
    match unit {
        None | Some("1" | "") => amount.to_owned(),
        Some("a") => format!("{amount} years"),
        Some(unit) => format!("{amount} {unit}"),
    }
}

/// Criteria that say the same: one line of "why".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    pub mark: Mark,
    /// Id and text of each.
    pub criteria: Vec<(String, String)>,
    pub reason: String,
}

impl Why {
    /// The text of the criterion, where there is only one.
    pub fn only(&self) -> Option<&str> {
        match self.criteria.as_slice() {
            [(_, text)] => Some(text),
            _ => None,
        }
    }
}

/// Why it was decided so, in words. Criteria with the same verdict and reason share a line; lines
/// come in the order of their first criterion.
pub(super) fn why(trial: &Trial, deciding: &[String], stored: &Stored) -> Vec<Why> {
    let mut lines: Vec<Why> = Vec::new();
    let decides = |c: &&Criterion| deciding.contains(&c.id);
    for criterion in stored.criteria.iter().filter(decides) {
        let (mark, reason) = (verdict(&criterion.verdict), reason(trial, &criterion.reason));
        let named = (criterion.id.clone(), criterion.text.clone());
        match lines.iter_mut().find(|line| line.mark == mark && line.reason == reason) {
            Some(line) => line.criteria.push(named),
            None => lines.push(Why { mark, criteria: vec![named], reason }),
        }
    }
    lines
}

/// What keeps a subject from being eligible besides the criteria.
pub(super) fn blocked(code: &str) -> &str {
    match code {
        "merged" => "the record was merged with another one at the hospital; a person has to review it",
        "see-also" => {
            "the hospital says that another record is of the same person; a person has to review it"
        }
        "shared-identifier" => {
            "another Patient carries the same identifier; a person has to say whether they are one"
        }
        "several-carriers" => {
            "results came under an identifier that several Patients carry; a person has to say whose they are"
        }
        "rulings-disagree" => "what was ruled about who is who contradicts itself; a person has to review it",
        "person-disagrees" => {
            "records of one person disagree about birth date or sex; a person has to review it"
        }
        "allocated-elsewhere" => {
            "another record of this person was randomized as well; the trial decides which one counts"
        }
        "attached" => "the records count for another subject",
        other => other,
    }
}

/// A kind of deviation.
pub(super) fn deviation(kind: &str) -> &str {
    match kind {
        "no-longer-eligible" => "not eligible any more on what is known now of the day of the decision",
        "result-corrected" => "a result that the decision rests on was corrected",
        "result-retracted" => "a result that the decision rests on was taken back",
        "result-superseded" => "another result counts now for the day of the decision",
        "score-changed" => "a score that the decision rests on is another one now",
        "enrolled-twice" => "one person was randomized twice, under two records",
        other => other,
    }
}

/// What brought a change about.
pub(super) fn cause(what: &str) -> &str {
    match what {
        "retracted" => "entered in error",
        "attached" => "counted for another record before",
        "definition" => "another trial definition",
        "day" => "another day",
        other => other,
    }
}

/// A score before or after a change.
pub(super) fn moved(value: &Value) -> String {
    match value {
        Value::Null => "?".to_owned(),
        Value::Object(ends) => {
            let end = |name| ends.get(name).filter(|v| !v.is_null()).map_or("?".to_owned(), Value::to_string);
            format!("{} to {}", end("low"), end("high"))
        }
        other => other.to_string(),
    }
}

/// The last part of a subject's address: `Patient/p1` is `p1`. Everything that has a meaning in an
/// address is escaped.
pub(super) fn segment(subject: &str) -> String {
    let id = subject.strip_prefix("Patient/").unwrap_or(subject);
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && id.len() > 2)
        {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart_by_shape_and_word() {
        #[rustfmt::skip]
        let table = [
            ("met",            "●", "met"),
            ("clear",          "●", "clear"),
            ("not-met",        "✕", "not met"),
            ("excludes",       "✕", "excludes"),
            ("unknown",        "?", "unknown"),
            ("attest",         "✎", "to attest"),
            ("not-applicable", "–", "not applicable"),
            ("a new one",      "?", "unknown"),
        ];
        for (stored, shape, word) in table {
            let mark = verdict(stored);
            assert_eq!((mark.shape, mark.word), (shape, word), "{stored}");
        }
        assert_eq!(decision("a new one").word, "undetermined", "never taken for eligible");
        assert_eq!(decision("attached").word, "belongs to another subject");
    }

    #[test]
    fn a_score_that_moved_shows_its_limits() {
        for (json, shown) in
            [("21", "21"), ("-1.20", "-1.20"), (r#"{"low":6,"high":null}"#, "6 to ?"), ("null", "?")]
        {
            assert_eq!(moved(&serde_json::from_str(json).expect("JSON")), shown);
        }
    }

    #[test]
    fn needs_are_said_in_words() {
        let trial = Trial::shipped();
        let list = [
            "ascites",
            "hiv_screen",
            "etiology",
            "new_thing",
            "consent",
            "attestation:E4",
            "attestation:E11",
        ];
        assert_eq!(
            needs(&trial, &list.map(str::to_owned)),
            [
                "ascites grade",
                "HIV antigen or antibody, screening",
                "aetiology (for the original MELD)",
                "new_thing",
                "signed consent",
                "attestation of E4, E11"
            ]
        );
        assert_eq!(needs(&trial, &[]), Vec::<String>::new());
    }

    #[test]
    fn reasons_name_things_by_their_titles() {
        let trial = Trial::shipped();
        for (stored, shown) in [
            ("age 82 on 2026-11-22", "age 82 on 2026-11-22"),
            (
                "child_pugh [11, 15]; inr 3.6 1, 2026-11-15",
                "Child-Pugh [11, 15]; International normalized ratio 3.6 1, 2026-11-15",
            ),
            ("consent given, 2026-11-19T11:00:00Z", "consent given, 2026-11-19 11:00 UTC"),
            (
                "inr 2.0, 2026-11-20T08:00:00+08:00, x",
                "International normalized ratio 2.0, 2026-11-20 08:00 +08:00, x",
            ),
            (
                "glucocorticoid (8640), 2026-06-10 to 2026-06-20",
                "glucocorticoid (8640), 2026-06-10 to 2026-06-20",
            ),
            ("", ""),
        ] {
            assert_eq!(reason(&trial, stored), shown);
        }
    }

    #[test]
    fn scores_show_value_range_or_a_question_mark() {
        let read = |json: &str| serde_json::from_str::<Score>(json).expect("a score");
        #[rustfmt::skip]
        let table = [
            (r#"{"status":"known","value":21,"raw":20.87}"#,                                           "21",         ""),
            (r#"{"status":"known","value":10,"class":"C"}"#,                                           "C10",        ""),
            (r#"{"status":"range","low":9,"high":11,"class_low":"B","class_high":"C","missing":["x"]}"#, "B9 to C11", ""),
            (r#"{"status":"known","value":-1.23,"grade":3}"#,                                          "-1.23",      "grade 3"),
            (r#"{"status":"range","low":-3,"high":-1,"grade_low":1,"grade_high":3}"#,                  "-3 to -1",   "grade 1 to 3"),
            (r#"{"status":"unknown","missing":["inr"]}"#,                                              "?",          ""),
        ];
        for (json, shown, graded) in table {
            let s = read(json);
            assert_eq!((score(Some(&s)).as_str(), grade(&s).as_str()), (shown, graded), "{json}");
        }
        assert_eq!(score(None), "");
    }

    #[test]
    fn values_show_their_unit_and_their_limits() {
        let read = |json: &str| serde_json::from_str::<Variable>(json).expect("a variable");
        #[rustfmt::skip]
        let table = [
            (r#"{"value":3.2,"unit":"mg/dL"}"#,         "3.2 mg/dL"),
            (r#"{"value":2.0,"unit":"1"}"#,             "2.0"),
            (r#"{"value":54,"unit":"a"}"#,              "54 years"),
            (r#"{"high":0.3,"unit":"mg/dL"}"#,          "up to 0.3 mg/dL"),
            (r#"{"low":40,"unit":"mg/dL"}"#,            "from 40 mg/dL"),
            (r#"{"low":17,"high":18,"unit":"a"}"#,      "17 to 18 years"),
            (r#"{"value":"moderate-severe"}"#,          "moderate-severe"),
            (r#"{"value":false}"#,                      "no"),
            (r#"{}"#,                                   ""),
        ];
        for (json, shown) in table {
            assert_eq!(variable(&read(json)), shown, "{json}");
        }
    }

    #[test]
    fn times_are_said_for_people() {
        assert_eq!(Moment::read("2026-11-22T08:02:31+08:00").words, "2026-11-22 00:02 UTC");
        assert_eq!(Moment::read("yesterday").words, "yesterday");
        assert_eq!(taken("2026-11-20T08:00:00+08:00"), "2026-11-20 08:00 +08:00");
        assert_eq!(taken("2026-11-15T06:05:00Z"), "2026-11-15 06:05 UTC");
        assert_eq!(taken("2026-03"), "2026-03");
        #[rustfmt::skip]
        let table = [
            ("2026-11-15T06:05:00Z", "7 d before"),
            ("2026-11-22",           "same day"),
            ("2026-11-23",           "1 d after"),
            ("2026-11",              ""),
            ("二〇二六年十一月",        ""),
        ];
        for (effective, shown) in table {
            assert_eq!(age(effective, "2026-11-22"), shown, "{effective}");
        }
    }

    #[test]
    fn a_key_in_an_address_keeps_its_meaning() {
        #[rustfmt::skip]
        let table = [
            ("Patient/p1",          "p1"),
            ("Patient/a.b-c_d~e",   "a.b-c_d~e"),
            ("Patient/..",          "%2E%2E"),
            ("Patient/a/b?c#d%e f", "a%2Fb%3Fc%23d%25e%20f"),
            ("Patient/李",          "%E6%9D%8E"),
        ];
        for (subject, address) in table {
            assert_eq!(segment(subject), address, "{subject}");
        }
    }
}
