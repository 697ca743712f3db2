//! `score`: NDJSON lines of named variables in, scores out. The same units, limits and formulas as
//! everywhere else.

use super::output::Out;
use super::{Failure, Global, Outcome, exit, trial};
use crate::clinical::interval::{Bound, Interval};
use crate::clinical::number;
use crate::fhir::json::{self, JsonError};
use crate::protocol::Trial;
use crate::protocol::variable::{Measured, UnitRefusal};
use crate::score::{self, Inputs, Scores};
use crate::source::files::{MAX_LINE, bounded_line};
use clap::Args;
use rust_decimal::Decimal;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    /// NDJSON file; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The answer to one line.
#[derive(Serialize, Debug)]
pub struct Line {
    pub id: Value,
    pub scores: Scores,
    pub gaps: Vec<ScoreGap>,
}

/// Why a named variable could not be used.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct ScoreGap {
    pub variable: String,
    pub reason: &'static str,
    pub path: String,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let trial = trial::load(&global.config()?)?;
    let (reader, name): (Box<dyn Read>, String) = match &arguments.file {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::open(path)
                .map_err(|e| Failure::problem(format!("{} cannot be read: {e}", path.display())))?;
            (Box::new(file), path.display().to_string())
        }
        _ => (Box::new(std::io::stdin().lock()), "-".into()),
    };
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let mut out = Out::new();
    let mut buffer = Vec::new();
    let (mut number, mut bad) = (0u64, 0u64);
    loop {
        buffer.clear();
        number += 1;
        let read = bounded_line(&mut reader, &mut buffer, MAX_LINE)
            .map_err(|e| Failure::problem(format!("{name}:{number}: {e}")))?;
        if read == 0 {
            break;
        }
        if buffer.trim_ascii().is_empty() {
            continue;
        }
        if buffer.len() > MAX_LINE {
            bad += 1;
            eprintln!("error: {name}:{number}: the line is longer than {} MiB", MAX_LINE >> 20);
            continue;
        }
        match line(&buffer, &trial) {
            Ok(line) => out.json(&line)?,
            Err(what) => {
                bad += 1;
                eprintln!("error: {name}:{number}: {what}");
            }
        }
    }
    out.finish()?;
    Ok(if bad > 0 { exit::PROBLEMS } else { 0 })
}

/// Reads one line and scores it.
///
/// # Errors
/// What prevents it, without repeating what stands on the line.
pub fn line(bytes: &[u8], trial: &Trial) -> Result<Line, String> {
    let text = json::text(bytes).map_err(|e| e.to_string())?;
    let parsed: Given = json::read(text).map_err(|e| match e {
        JsonError::Syntax { column, .. } => format!("not JSON at column {column}"),
        JsonError::Structure { path } if path.is_empty() => "not a JSON object".into(),
        other => other.to_string(),
    })?;
    let Some(Variables(variables)) = parsed.variables else {
        return Err("there is no object `variables`".into());
    };
    let (inputs, gaps) = inputs(&variables, trial);
    let scores = score::all(&inputs, &trial.score_options);
    Ok(Line { id: parsed.id.unwrap_or(Value::Null), scores, gaps })
}

/// A line as it comes in. What else stands on it is left alone.
#[derive(Deserialize)]
struct Given {
    id: Option<Value>,
    variables: Option<Variables>,
}

/// Names with values, each name once: of two values nobody could say which is meant.
struct Variables(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Variables;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of named variables")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
                let mut all: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if all.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("duplicate field"));
                    }
                    all.push((name, value));
                }
                Ok(Variables(all))
            }
        }
        from.deserialize_map(Names)
    }
}

/// Units of the variables that only this command takes.
const EXTRA: [(&str, &str, &[&str]); 3] = [
    ("wbc", "10*9/L", &["10*9/L", "10^9/L", "10*3/uL", "10^3/uL", "G/L", "K/uL"]),
    ("clif_of", "1", &["1"]),
    ("ast_uln", "U/L", &["U/L", "IU/L"]),
];

fn inputs(variables: &[(String, Value)], trial: &Trial) -> (Inputs, Vec<ScoreGap>) {
    // A line that does not speak of dialysis is of somebody without it, as in a record without a sign of
    // it; `unknown` carries the scores through both.
    let mut inputs = Inputs { dialysis: Some(false), ..Inputs::default() };
    let mut gaps = Vec::new();
    for (name, value) in variables {
        if value.is_null() {
            continue;
        }
        let result = take(name, value, trial, &mut inputs);
        if let Err(reason) = result {
            gaps.push(ScoreGap { variable: name.clone(), reason, path: format!("variables.{name}") });
        }
    }
    gaps.sort_by(|a, b| a.variable.cmp(&b.variable));
    (inputs, gaps)
}

fn take(name: &str, value: &Value, trial: &Trial, inputs: &mut Inputs) -> Result<(), &'static str> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => return Err("unexpected-type"),
    };
    let measured = |id: &str| -> Result<Option<Interval>, &'static str> {
        let index = trial.variable(id).ok_or("unknown-variable")?;
        let measured = trial.variables[index as usize].measured().ok_or("unexpected-type")?;
        quantity(&text, measured).map(Some)
    };
    let yes = || match text.as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err("value-invalid"),
    };
    match name {
        "bilirubin_total" => inputs.bilirubin_total = measured(name)?,
        "inr" => inputs.inr = measured(name)?,
        "creatinine" => inputs.creatinine = measured(name)?,
        "sodium" => inputs.sodium = measured(name)?,
        "albumin" => inputs.albumin = measured(name)?,
        "ast" => inputs.ast = measured(name)?,
        "alt" => inputs.alt = measured(name)?,
        "platelets" => inputs.platelets = measured(name)?,
        // Taken and checked; no score reads them.
        "alp" | "pt" => {
            measured(name)?;
        }
        "pt_prolongation" => {
            let (interval, unit) = split(&text)?;
            if !matches!(unit, "" | "s" | "sec") {
                return Err("unit-unknown");
            }
            inputs.pt_prolongation = Some(interval);
        }
        "age" => {
            let (interval, unit) = split(&text)?;
            if !matches!(unit, "" | "a" | "y" | "years") {
                return Err("unit-unknown");
            }
            if interval.is_below(Decimal::ZERO) != Some(false) || interval.is_above(150.into()) == Some(true)
            {
                return Err("implausible");
            }
            inputs.age = Some(interval);
        }
        "wbc" => inputs.wbc = Some(extra(name, &text)?),
        "clif_of" => inputs.clif_of = Some(extra(name, &text)?),
        "ast_uln" => inputs.ast_uln = Some(extra(name, &text)?.exact().ok_or("value-invalid")?),
        "sex" => {
            inputs.sex = match text.as_str() {
                "female" | "F" => Some(score::Sex::Female),
                "male" | "M" => Some(score::Sex::Male),
                // The score is then carried through both.
                "other" | "unknown" => None,
                _ => return Err("value-invalid"),
            }
        }
        "dialysis" => {
            // Also where it cannot be read: it was meant to say something.
            inputs.dialysis = None;
            if text != "unknown" {
                inputs.dialysis = Some(yes()?);
            }
        }
        "pbc_or_psc" => inputs.pbc_or_psc = Some(yes()?),
        "ascites" => inputs.ascites = Some(text.parse().map_err(|_| "value-invalid")?),
        "encephalopathy" => inputs.encephalopathy = Some(text.parse().map_err(|_| "value-invalid")?),
        "etiology" => inputs.etiology = Some(text.parse().map_err(|_| "value-invalid")?),
        _ => return Err("unknown-variable"),
    }
    Ok(())
}

/// `<0.3 mg/dL`, `54 umol/L`, `2.0`.
fn split(text: &str) -> Result<(Interval, &str), &'static str> {
    type Range = fn(Decimal) -> Interval;
    let signs: [(&str, Range); 4] = [
        ("<=", Interval::at_most),
        (">=", Interval::at_least),
        ("<", Interval::below),
        (">", Interval::above),
    ];
    let (sign, rest) = signs
        .iter()
        .find_map(|(sign, range)| Some((Some(range), text.strip_prefix(sign)?)))
        .unwrap_or((None, text));
    let rest = rest.trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (value, unit) = (&rest[..end], rest[end..].trim());
    let exact = number::parse(value).map_err(|_| "value-invalid")?;
    let interval = match sign {
        None => exact,
        Some(range) => range(exact.exact().ok_or("value-invalid")?),
    };
    // Nothing measured lies below zero.
    if matches!(interval.high, Bound::Excluding(x) if x <= Decimal::ZERO) {
        return Err("implausible");
    }
    Ok((interval, unit))
}

fn quantity(text: &str, measured: &Measured) -> Result<Interval, &'static str> {
    let (interval, unit) = split(text)?;
    if is_negative(&interval) {
        return Err("implausible");
    }
    let unit = (!unit.is_empty()).then_some(unit);
    let factor = measured.factor(None, unit).map_err(|refusal| match refusal {
        UnitRefusal::Missing => "unit-missing",
        UnitRefusal::Unknown => "unit-unknown",
        UnitRefusal::Conflict => "unit-conflict",
    })?;
    let converted = factor.apply(&interval).map(Interval::non_negative).filter(|i| !i.is_empty());
    let converted = converted.ok_or("value-invalid")?;
    if measured.is_implausible(&converted) { Err("implausible") } else { Ok(converted) }
}

fn extra(name: &str, text: &str) -> Result<Interval, &'static str> {
    let (interval, unit) = split(text)?;
    let (_, canonical, accepted) = EXTRA.iter().find(|(n, ..)| *n == name).ok_or("unknown-variable")?;
    if !(accepted.contains(&unit) || (unit.is_empty() && *canonical == "1")) {
        return Err(if unit.is_empty() { "unit-missing" } else { "unit-unknown" });
    }
    if is_negative(&interval) { Err("implausible") } else { Ok(interval.non_negative()) }
}

/// Was a number below zero given? Also `>-5` says nothing that could have been measured.
fn is_negative(interval: &Interval) -> bool {
    [interval.low, interval.high].iter().any(|end| end.value().is_some_and(|x| x < Decimal::ZERO))
}
