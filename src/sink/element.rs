//! The FHIR data types of what we write. Their fields stand in the order in which they are sent, so
//! that equal values give equal bytes whatever the build.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;

/// `http://unitsofmeasure.org`
pub const UCUM: &str = "http://unitsofmeasure.org";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

impl Identifier {
    pub fn new(system: &str, value: &str) -> Self {
        Identifier { system: system.to_owned(), value: value.to_owned() }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Coding {
    pub system: String,
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct CodeableConcept {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coding: Vec<Coding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl CodeableConcept {
    pub fn coded(system: &str, code: &str, display: Option<&str>) -> Self {
        let display = display.map(str::to_owned);
        CodeableConcept {
            coding: vec![Coding { system: system.to_owned(), code: code.to_owned(), display }],
            text: None,
        }
    }

    pub fn text(text: &str) -> Self {
        CodeableConcept { coding: Vec::new(), text: Some(text.to_owned()) }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

impl Reference {
    pub fn to(reference: &str) -> Self {
        Reference { reference: Some(reference.to_owned()), ..Reference::default() }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Period {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// A quantity whose decimal keeps its text: `20.50` is sent as `20.50`.
#[derive(Debug, Clone, Serialize)]
pub struct Quantity {
    pub value: Box<RawValue>,
    pub unit: String,
    pub system: String,
    pub code: String,
}

impl Quantity {
    pub fn ucum(value: Decimal, unit: &str) -> Self {
        Quantity {
            value: number(value),
            unit: unit.to_owned(),
            system: UCUM.to_owned(),
            code: unit.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Range {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Quantity>,
}

fn number(value: Decimal) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("a decimal prints as a JSON number")
}

/// The bytes of a resource.
pub(super) fn bytes<T: Serialize>(resource: &T) -> Vec<u8> {
    serde_json::to_vec(resource).expect("strings and lists always serialize")
}
