//! Invented patients with liver disease, and their resources in the shape of US Core.
//!
//! A resource is a function of (seed, patient, kind, slot) and of nothing written before it, so that it
//! can be written in any order. Values are whole numbers with a number of decimals; a unit's
//! conversion is a fraction of whole numbers.

use crate::text::{Draw, Line};
use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// mg/dL and g/dL, ICD-10-CM, RxNorm
    Us,
    /// umol/L and g/L, WHO ICD-10, ATC
    Si,
    /// Each patient one of the two
    Mixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Patient,
    Encounter,
    Condition,
    Observation,
    MedicationRequest,
    Procedure,
    AllergyIntolerance,
    Consent,
    QuestionnaireResponse,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Patient,
        Kind::Encounter,
        Kind::Condition,
        Kind::Observation,
        Kind::MedicationRequest,
        Kind::Procedure,
        Kind::AllergyIntolerance,
        Kind::Consent,
        Kind::QuestionnaireResponse,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Patient => "Patient",
            Kind::Encounter => "Encounter",
            Kind::Condition => "Condition",
            Kind::Observation => "Observation",
            Kind::MedicationRequest => "MedicationRequest",
            Kind::Procedure => "Procedure",
            Kind::AllergyIntolerance => "AllergyIntolerance",
            Kind::Consent => "Consent",
            Kind::QuestionnaireResponse => "QuestionnaireResponse",
        }
    }

    /// Most resources of this kind that a patient can have.
    pub fn slots(self) -> u64 {
        match self {
            Kind::Encounter => 2,
            Kind::Condition => 4,
            Kind::Observation => LABS * 2 + 1 + VITALS * 3,
            Kind::MedicationRequest => 3,
            _ => 1,
        }
    }
}

pub struct Cohort {
    pub seed: u64,
    pub dialect: Dialect,
    /// Of 2^32 resources, how many have something wrong.
    pub dirt: u64,
    /// Days since the first of January of year 1.
    pub as_of: i64,
}

pub struct Person {
    number: u64,
    female: bool,
    birth: i64,
    us: bool,
    cirrhosis: bool,
    name: &'static str,
}

const NAMES: [&str; 8] = ["Alder", "Birch", "Cedar", "Elm", "Hazel", "Larch", "Rowan", "Willow"];
const LABS: u64 = 13;
const VITALS: u64 = 6;

/// One way in which a laboratory sends a result: LOINC, unit, UCUM code, decimals.
struct Form(&'static str, &'static str, &'static str, u32);

/// A laboratory test. Ranges are in the first form's last digit; the second form is the first times
/// numerator over denominator.
struct Lab {
    title: &'static str,
    forms: [Form; 2],
    factor: (i64, i64),
    normal: (i64, i64),
    sick: (i64, i64),
}

const fn same(code: &'static str, unit: &'static str, ucum: &'static str, decimals: u32) -> [Form; 2] {
    [Form(code, unit, ucum, decimals), Form(code, unit, ucum, decimals)]
}

#[rustfmt::skip]
const TESTS: [Lab; LABS as usize] = [
    Lab { title: "Alanine aminotransferase", forms: same("1742-6", "U/L", "U/L", 0), factor: (1, 1), normal: (7, 56), sick: (20, 180) },
    Lab { title: "Aspartate aminotransferase", forms: same("1920-8", "U/L", "U/L", 0), factor: (1, 1), normal: (10, 40), sick: (30, 250) },
    Lab { title: "Alkaline phosphatase", forms: same("6768-6", "U/L", "U/L", 0), factor: (1, 1), normal: (44, 147), sick: (60, 350) },
    Lab { title: "Bilirubin.total", forms: [Form("1975-2", "mg/dL", "mg/dL", 1), Form("14631-6", "umol/L", "umol/L", 1)], factor: (171, 10), normal: (1, 12), sick: (8, 180) },
    Lab { title: "Albumin", forms: [Form("1751-7", "g/dL", "g/dL", 1), Form("1751-7", "g/L", "g/L", 0)], factor: (1, 1), normal: (34, 54), sick: (19, 42) },
    Lab { title: "INR", forms: same("6301-6", "{INR}", "{INR}", 1), factor: (1, 1), normal: (8, 12), sick: (9, 32) },
    Lab { title: "Prothrombin time (PT)", forms: same("5902-2", "s", "s", 1), factor: (1, 1), normal: (110, 135), sick: (110, 320) },
    Lab { title: "Creatinine", forms: [Form("2160-0", "mg/dL", "mg/dL", 2), Form("14682-9", "umol/L", "umol/L", 0)], factor: (884, 1000), normal: (60, 130), sick: (50, 320) },
    Lab { title: "Sodium", forms: same("2951-2", "mmol/L", "mmol/L", 0), factor: (1, 1), normal: (136, 145), sick: (122, 146) },
    Lab { title: "Platelets", forms: [Form("777-3", "10*3/uL", "10*3/uL", 0), Form("777-3", "10*9/L", "10*9/L", 0)], factor: (1, 1), normal: (150, 450), sick: (25, 260) },
    Lab { title: "Leukocytes", forms: [Form("6690-2", "10*3/uL", "10*3/uL", 1), Form("6690-2", "10*9/L", "10*9/L", 1)], factor: (1, 1), normal: (40, 110), sick: (18, 140) },
    Lab { title: "Hemoglobin", forms: [Form("718-7", "g/dL", "g/dL", 1), Form("718-7", "g/L", "g/L", 0)], factor: (1, 1), normal: (120, 175), sick: (75, 150) },
    Lab { title: "Potassium", forms: same("2823-3", "mmol/L", "mmol/L", 1), factor: (1, 1), normal: (35, 51), sick: (29, 58) },
];

/// Title, LOINC, UCUM, decimals, lowest, highest.
#[rustfmt::skip]
const SIGNS: [(&str, &str, &str, u32, i64, i64); VITALS as usize] = [
    ("Blood pressure panel", "85354-9", "mm[Hg]", 0, 95, 150),
    ("Heart rate", "8867-4", "/min", 0, 55, 115),
    ("Respiratory rate", "9279-1", "/min", 0, 12, 24),
    ("Body temperature", "8310-5", "Cel", 1, 360, 384),
    ("Oxygen saturation in Arterial blood by Pulse oximetry", "59408-5", "%", 0, 90, 100),
    ("Body weight", "29463-7", "kg", 1, 420, 1180),
];

/// Title, ICD-10-CM, WHO ICD-10.
type Diagnosis = (&'static str, &'static str, &'static str);
const CIRRHOSIS: Diagnosis = ("Unspecified cirrhosis of liver", "K74.60", "K74.6");
const DECOMPENSATION: Diagnosis = ("Other ascites", "R18.8", "R18");
const COMMON: [Diagnosis; 6] = [
    ("Essential hypertension", "I10", "I10"),
    ("Type 2 diabetes mellitus", "E11.9", "E11.9"),
    ("Gastro-oesophageal reflux disease", "K21.9", "K21.9"),
    ("Low back pain", "M54.50", "M54.5"),
    ("Portal hypertension", "K76.6", "K76.6"),
    ("Iron deficiency anaemia", "D50.9", "D50.9"),
];
const EXCLUDING: [Diagnosis; 4] = [
    ("Liver cell carcinoma", "C22.0", "C22.0"),
    ("Major depressive disorder, recurrent", "F33.1", "F33.1"),
    ("Liver transplant status", "Z94.4", "Z94.4"),
    ("Atopic dermatitis", "L20.9", "L20.9"),
];

/// Title, RxNorm ingredient, ATC.
type Drug = (&'static str, &'static str, &'static str);
const USUAL: [Drug; 4] = [
    ("spironolactone", "9997", "C03DA01"),
    ("furosemide", "4603", "C03CA01"),
    ("lactulose", "6218", "A06AD11"),
    ("propranolol", "8787", "C07AA05"),
];
const STEROID: Drug = ("prednisone", "8640", "H02AB07");

/// What is wrong with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dirt {
    Retracted,
    UnitMissing,
    UnitUnknown,
    Words,
    Comparator,
    DateMissing,
    SystemMissing,
    Implausible,
}

const DIRT: [Dirt; 8] = [
    Dirt::Retracted,
    Dirt::UnitMissing,
    Dirt::UnitUnknown,
    Dirt::Words,
    Dirt::Comparator,
    Dirt::DateMissing,
    Dirt::SystemMissing,
    Dirt::Implausible,
];

impl Cohort {
    pub fn person(&self, number: u64) -> Person {
        let mut draw = Draw::new([self.seed, number, u64::MAX, 0]);
        let female = draw.percent(42);
        let years = draw.between(17, 84);
        let birth = self.as_of - years * 365 - draw.between(1, 364);
        let us = match self.dialect {
            Dialect::Us => true,
            Dialect::Si => false,
            Dialect::Mixed => draw.percent(50),
        };
        Person { number, female, birth, us, cirrhosis: draw.percent(70), name: draw.pick(&NAMES) }
    }

    /// Appends the resource in this slot, with a line break; `false` where the patient has none.
    pub fn write(&self, person: &Person, kind: Kind, slot: u64, to: &mut Vec<u8>) -> bool {
        let mut draw = Draw::new([self.seed, person.number, kind as u64, slot]);
        let dirt = if draw.next() >> 32 < self.dirt { Some(draw.pick(&DIRT)) } else { None };
        let there = match kind {
            Kind::Consent => draw.percent(60),
            Kind::QuestionnaireResponse => draw.percent(50),
            Kind::Condition => slot < 2 || draw.percent(60),
            _ => true,
        };
        if !there {
            return false;
        }
        let mut resource = Resource { cohort: self, person, kind, slot, dirt, draw, out: Line(to) };
        resource.write();
        true
    }
}

/// One resource on its way to a line.
struct Resource<'a> {
    cohort: &'a Cohort,
    person: &'a Person,
    kind: Kind,
    slot: u64,
    dirt: Option<Dirt>,
    draw: Draw,
    out: Line<'a>,
}

impl Resource<'_> {
    fn write(&mut self) {
        match self.kind {
            Kind::Patient => self.patient(),
            Kind::Encounter => self.encounter(),
            Kind::Condition => self.condition(),
            Kind::Observation if self.slot < LABS * 2 => self.laboratory(),
            Kind::Observation if self.slot == LABS * 2 => self.hiv(),
            Kind::Observation => self.vital(),
            Kind::MedicationRequest => self.medication(),
            Kind::Procedure => self.procedure(),
            Kind::AllergyIntolerance => self.allergy(),
            Kind::Consent => self.consent(),
            Kind::QuestionnaireResponse => self.form(),
        }
        self.out.text("}\n");
    }

    fn patient_id(&mut self) {
        self.out.text("g").padded(self.person.number as i64, 8);
    }

    fn id(&mut self, kind: Kind, slot: u64) {
        self.patient_id();
        if kind != Kind::Patient {
            self.out.texts(&["-", &kind.name()[..3].to_ascii_lowercase()]).number(slot as i64);
        }
    }

    /// Up to and with the narrative.
    fn head(&mut self, profile: &str, title: &str, day: i64) {
        let kind = self.kind;
        self.out.texts(&["{\"resourceType\":\"", kind.name(), "\",\"id\":\""]);
        self.id(kind, self.slot);
        self.out.text("\",\"meta\":{\"versionId\":\"1\",\"lastUpdated\":\"").instant(day, 17 * 60 + 5);
        self.out.texts(&["\",\"source\":\"urn:example:interface-engine\",\"profile\":["]);
        self.out.texts(&["\"http://hl7.org/fhir/us/core/StructureDefinition/", profile, "\"]}"]);
        self.out.text(",\"text\":{\"status\":\"generated\",\"div\":");
        self.out.text("\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\"><p><b>Generated Narrative: ");
        self.out.texts(&[
            kind.name(),
            "</b> ",
            title,
            "</p><p>Recorded by the hospital information system on ",
        ]);
        self.out.date(day).text("</p></div>\"}");
        self.out.texts(&[",\"identifier\":[{\"use\":\"official\",\"system\":\"urn:example:", kind.name()]);
        self.out.text("\",\"value\":\"");
        self.id(kind, self.slot);
        self.out.text("\",\"assigner\":{\"display\":\"Example University Hospital\"}}]");
    }

    fn reference(&mut self, element: &str, kind: Kind, slot: u64) {
        self.out.texts(&[",\"", element, "\":{\"reference\":\"", kind.name(), "/"]);
        self.id(kind, slot);
        if kind == Kind::Patient {
            self.out.texts(&["\",\"display\":\"", self.person.name, ", invented"]);
        }
        self.out.text("\"}");
    }

    fn subject(&mut self, element: &str) {
        self.reference(element, Kind::Patient, 0);
        self.reference("encounter", Kind::Encounter, self.slot % 2);
    }

    fn author(&mut self, element: &str) {
        let n = self.draw.between(1, 40);
        self.out.texts(&[",\"", element, "\":{\"reference\":\"Practitioner/practitioner-"]).number(n);
        self.out.text("\",\"display\":\"Practitioner ").number(n).text("\"}");
    }

    fn status(&mut self, good: &str) {
        let status = if self.dirt == Some(Dirt::Retracted) { "entered-in-error" } else { good };
        self.out.texts(&[",\"status\":\"", status, "\""]);
    }

    /// A CodeableConcept; a coding without its system where that is what is wrong.
    fn concept(&mut self, element: &str, system: &str, code: &str, display: &str) {
        self.out.texts(&[",\"", element, "\":{\"coding\":[{"]);
        if self.dirt != Some(Dirt::SystemMissing) {
            self.out.texts(&["\"system\":\"", system, "\","]);
        }
        self.out.texts(&[
            "\"code\":\"",
            code,
            "\",\"display\":\"",
            display,
            "\"}],\"text\":\"",
            display,
            "\"}",
        ]);
    }

    fn instant_of(&mut self, element: &str, day: i64) {
        if self.dirt == Some(Dirt::DateMissing) {
            return;
        }
        let minute = self.draw.between(6 * 60, 16 * 60);
        self.out.texts(&[",\"", element, "\":\""]).instant(day, minute).text("\"");
    }

    fn patient(&mut self) {
        let (female, name) = (self.person.female, self.person.name);
        self.head("us-core-patient", "Patient", self.cohort.as_of - 300);
        self.out.texts(&[",\"active\":true,\"name\":[{\"use\":\"official\",\"family\":\"", name]);
        self.out
            .texts(&["\",\"given\":[\"Invented\"]}],\"gender\":\"", if female { "female" } else { "male" }]);
        self.out.text("\",\"birthDate\":\"").date(self.person.birth).text("\"");
        self.out.text(",\"telecom\":[{\"system\":\"phone\",\"value\":\"555-0100\",\"use\":\"home\"}]");
        self.out.text(
            ",\"address\":[{\"use\":\"home\",\"line\":[\"1 Example Street\"],\"city\":\"Exampleton\"}]",
        );
        self.out.text(",\"communication\":[{\"language\":{\"text\":\"English\"},\"preferred\":true}]");
        self.out.text(",\"managingOrganization\":{\"reference\":\"Organization/hospital\"}");
    }

    fn encounter(&mut self) {
        let day = self.cohort.as_of - if self.slot == 0 { 14 } else { 200 };
        let (code, words) =
            if self.slot == 0 { ("AMB", "ambulatory") } else { ("IMP", "inpatient encounter") };
        self.head("us-core-encounter", words, day);
        self.status("finished");
        self.out.text(",\"class\":{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ActCode\"");
        self.out.texts(&[",\"code\":\"", code, "\",\"display\":\"", words, "\"}"]);
        self.reference("subject", Kind::Patient, 0);
        self.out.text(",\"period\":{\"start\":\"").instant(day, 480).text("\",\"end\":\"").instant(day, 1020);
        self.out.text("\"},\"serviceProvider\":{\"reference\":\"Organization/hospital\"}");
    }

    fn condition(&mut self) {
        let day = self.cohort.as_of - self.draw.between(20, 2000);
        let (title, cm, who) = match self.slot {
            0 if self.person.cirrhosis => CIRRHOSIS,
            1 if self.person.cirrhosis && self.draw.percent(65) => DECOMPENSATION,
            3 if self.draw.percent(15) => self.draw.pick(&EXCLUDING),
            _ => self.draw.pick(&COMMON),
        };
        self.head("us-core-condition-problems-health-concerns", title, day);
        self.concept(
            "clinicalStatus",
            "http://terminology.hl7.org/CodeSystem/condition-clinical",
            "active",
            "Active",
        );
        let verified = if self.dirt == Some(Dirt::Retracted) { "entered-in-error" } else { "confirmed" };
        self.concept(
            "verificationStatus",
            "http://terminology.hl7.org/CodeSystem/condition-ver-status",
            verified,
            verified,
        );
        self.out.text(",\"category\":[{\"coding\":[{\"system\":");
        self.out.text(
            "\"http://terminology.hl7.org/CodeSystem/condition-category\",\"code\":\"problem-list-item\"}]}]",
        );
        match self.person.us {
            true => self.concept("code", "http://hl7.org/fhir/sid/icd-10-cm", cm, title),
            false => self.concept("code", "http://hl7.org/fhir/sid/icd-10", who, title),
        }
        self.subject("subject");
        self.instant_of("onsetDateTime", day);
        self.out.text(",\"recordedDate\":\"").date(day).text("\"");
        self.author("recorder");
    }

    fn category(&mut self, code: &str, display: &str) {
        self.out.text(",\"category\":[{\"coding\":[{\"system\":");
        self.out.text("\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"");
        self.out.texts(&[code, "\",\"display\":\"", display, "\"}],\"text\":\"", display, "\"}]"]);
    }

    fn laboratory(&mut self) {
        let test = &TESTS[(self.slot % LABS) as usize];
        let recent = self.slot < LABS;
        let day =
            self.cohort.as_of - if recent { self.draw.between(1, 13) } else { self.draw.between(30, 200) };
        let (low, high) = if self.person.cirrhosis { test.sick } else { test.normal };
        let mut value = self.draw.between(low, high);
        let Form(code, unit, ucum, decimals) = if self.person.us { &test.forms[0] } else { &test.forms[1] };
        let factor = if self.person.us { (1, 1) } else { test.factor };
        let convert = |n: i64| n * factor.0 / factor.1;
        if self.dirt == Some(Dirt::Implausible) {
            value *= 10_000;
        }
        self.head("us-core-observation-lab", test.title, day);
        self.status("final");
        self.category("laboratory", "Laboratory");
        self.concept("code", "http://loinc.org", code, test.title);
        self.subject("subject");
        self.instant_of("effectiveDateTime", day);
        self.out.text(",\"issued\":\"").instant(day, 17 * 60).text("\"");
        self.out.text(
            ",\"performer\":[{\"reference\":\"Organization/laboratory\",\"display\":\"Central laboratory\"}]",
        );
        if self.dirt == Some(Dirt::Words) {
            self.out.text(",\"valueString\":\"see comment\"");
        } else {
            self.out.text(",\"valueQuantity\":{\"value\":").decimal(convert(value), *decimals);
            if self.dirt == Some(Dirt::Comparator) {
                self.out.text(",\"comparator\":\"<\"");
            }
            match self.dirt {
                Some(Dirt::UnitMissing) => {}
                Some(Dirt::UnitUnknown) => {
                    self.out.text(",\"unit\":\"arb'U\"");
                }
                _ => {
                    self.out.texts(&[",\"unit\":\"", unit, "\",\"system\":\"http://unitsofmeasure.org\""]);
                    self.out.texts(&[",\"code\":\"", ucum, "\""]);
                }
            }
            self.out.text("}");
        }
        let flag = if value < test.normal.0 {
            ("L", "Low")
        } else if value > test.normal.1 {
            ("H", "High")
        } else {
            ("N", "Normal")
        };
        self.out.text(",\"interpretation\":[{\"coding\":[{\"system\":");
        self.out.text("\"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation\",\"code\":\"");
        self.out.texts(&[
            flag.0,
            "\",\"display\":\"",
            flag.1,
            "\"}]}],\"referenceRange\":[{\"low\":{\"value\":",
        ]);
        self.out.decimal(convert(test.normal.0), *decimals).texts(&[",\"unit\":\"", unit]);
        self.out.text("\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"");
        self.out.texts(&[ucum, "\"},\"high\":{\"value\":"]).decimal(convert(test.normal.1), *decimals);
        self.out.texts(&[
            ",\"unit\":\"",
            unit,
            "\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"",
            ucum,
        ]);
        self.out.text("\"}}],\"specimen\":{\"display\":\"Serum or plasma\"}");
    }

    fn hiv(&mut self) {
        let day = self.cohort.as_of - self.draw.between(1, 120);
        self.head("us-core-observation-lab", "HIV 1+2 Ab and HIV1 p24 Ag", day);
        self.status("final");
        self.category("laboratory", "Laboratory");
        self.concept("code", "http://loinc.org", "56888-1", "HIV 1+2 Ab and HIV1 p24 Ag");
        self.subject("subject");
        self.instant_of("effectiveDateTime", day);
        self.out.text(",\"issued\":\"").instant(day, 17 * 60).text("\"");
        if self.dirt == Some(Dirt::Words) {
            self.out.text(",\"valueString\":\"see comment\"");
        } else {
            self.concept("valueCodeableConcept", "http://snomed.info/sct", "260385009", "Negative");
        }
    }

    fn vital(&mut self) {
        let slot = self.slot - LABS * 2 - 1;
        let (title, code, ucum, decimals, low, high) = SIGNS[(slot % VITALS) as usize];
        let day = self.cohort.as_of - [2, 14, 200][(slot / VITALS) as usize];
        self.head("us-core-vital-signs", title, day);
        self.status("final");
        self.category("vital-signs", "Vital Signs");
        self.concept("code", "http://loinc.org", code, title);
        self.subject("subject");
        self.instant_of("effectiveDateTime", day);
        self.out.text(",\"issued\":\"").instant(day, 17 * 60).text("\"");
        self.out.text(",\"performer\":[{\"reference\":\"Organization/ward\",\"display\":\"Ward\"}]");
        let value = self.draw.between(low, high);
        if code != "85354-9" {
            self.out.text(",\"valueQuantity\":{\"value\":").decimal(value, decimals);
            self.out.texts(&[
                ",\"unit\":\"",
                ucum,
                "\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"",
            ]);
            self.out.texts(&[ucum, "\"}"]);
            return;
        }
        self.out.text(",\"component\":[");
        let parts = [
            ("8480-6", "Systolic blood pressure", value),
            ("8462-4", "Diastolic blood pressure", value * 2 / 3),
        ];
        for (i, (code, title, value)) in parts.into_iter().enumerate() {
            self.out.texts(&[
                if i > 0 { "," } else { "" },
                "{\"code\":{\"coding\":[{\"system\":\"http://loinc.org\"",
            ]);
            self.out.texts(&[
                ",\"code\":\"",
                code,
                "\",\"display\":\"",
                title,
                "\"}]},\"valueQuantity\":{\"value\":",
            ]);
            self.out.number(value).text(",\"unit\":\"mm[Hg]\",\"system\":\"http://unitsofmeasure.org\"");
            self.out.text(",\"code\":\"mm[Hg]\"}}");
        }
        self.out.text("]");
    }

    fn medication(&mut self) {
        let day = self.cohort.as_of - self.draw.between(5, 600);
        let (title, rxnorm, atc) =
            if self.slot == 2 && self.draw.percent(12) { STEROID } else { self.draw.pick(&USUAL) };
        self.head("us-core-medicationrequest", title, day);
        self.status("active");
        self.out.text(",\"intent\":\"order\"");
        match self.person.us {
            true => self.concept(
                "medicationCodeableConcept",
                "http://www.nlm.nih.gov/research/umls/rxnorm",
                rxnorm,
                title,
            ),
            false => self.concept("medicationCodeableConcept", "http://www.whocc.no/atc", atc, title),
        }
        self.subject("subject");
        self.instant_of("authoredOn", day);
        self.author("requester");
        let strength = self.draw.between(1, 8) * 5;
        self.out.text(",\"dosageInstruction\":[{\"text\":\"once daily by mouth\",\"timing\":{\"repeat\":");
        self.out
            .text("{\"frequency\":1,\"period\":1,\"periodUnit\":\"d\"}},\"route\":{\"coding\":[{\"system\":");
        self.out.text("\"http://snomed.info/sct\",\"code\":\"26643006\",\"display\":\"Oral route\"}]}");
        self.out.text(",\"doseAndRate\":[{\"doseQuantity\":{\"value\":").number(strength);
        self.out.text(",\"unit\":\"mg\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"mg\"}}]}]");
    }

    fn procedure(&mut self) {
        let day = self.cohort.as_of - self.draw.between(20, 2000);
        let (code, title) = self.draw.pick(&[("73761001", "Colonoscopy"), ("40701008", "Echocardiography")]);
        self.head("us-core-procedure", title, day);
        self.status("completed");
        self.concept("code", "http://snomed.info/sct", code, title);
        self.subject("subject");
        self.instant_of("performedDateTime", day);
        self.author("asserter");
    }

    fn allergy(&mut self) {
        let day = self.cohort.as_of - self.draw.between(20, 2000);
        let known = self.draw.percent(25);
        let title = if known { "Penicillin G" } else { "No known allergy" };
        self.head("us-core-allergyintolerance", title, day);
        self.concept(
            "clinicalStatus",
            "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
            "active",
            "Active",
        );
        let verified = if self.dirt == Some(Dirt::Retracted) { "entered-in-error" } else { "confirmed" };
        self.concept(
            "verificationStatus",
            "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
            verified,
            verified,
        );
        if known {
            self.out.text(",\"type\":\"allergy\",\"category\":[\"medication\"],\"criticality\":\"low\"");
            self.concept("code", "http://www.nlm.nih.gov/research/umls/rxnorm", "7980", title);
        } else {
            self.concept("code", "http://snomed.info/sct", "716186003", title);
        }
        self.subject("patient");
        self.instant_of("recordedDate", day);
        self.author("recorder");
    }

    fn consent(&mut self) {
        let day = self.cohort.as_of - self.draw.between(1, 10);
        self.head("consent", "Consent to take part in NCT06242405", day);
        self.status("active");
        self.concept("scope", "http://terminology.hl7.org/CodeSystem/consentscope", "research", "Research");
        self.out
            .text(",\"category\":[{\"coding\":[{\"system\":\"http://loinc.org\",\"code\":\"59284-0\"}]}]");
        self.reference("patient", Kind::Patient, 0);
        self.instant_of("dateTime", day);
        self.out.text(",\"policyRule\":{\"text\":\"signed on paper\"}");
    }

    /// The trial's form: what only a person can say, and the bedside grades.
    fn form(&mut self) {
        let day = self.cohort.as_of - self.draw.between(1, 10);
        self.head("questionnaireresponse", "Screening form", day);
        self.out.text(",\"questionnaire\":\"urn:trialbridge:questionnaire:NCT06242405\"");
        self.status("completed");
        self.subject("subject");
        self.instant_of("authored", day);
        self.author("author");
        self.out.text(",\"item\":[");
        for criterion in ["E1", "E2", "E3", "E4", "E6", "E7", "E8", "E9", "E10", "E11"] {
            let yes = self.draw.percent(2);
            self.out.texts(&["{\"linkId\":\"", criterion, "\",\"answer\":[{\"valueBoolean\":"]);
            self.out.texts(&[if yes { "true" } else { "false" }, "}]},"]);
        }
        for (i, (name, grades)) in
            [("ascites", ["none", "mild", "moderate-severe"]), ("encephalopathy", ["0", "1-2", "3-4"])]
                .iter()
                .enumerate()
        {
            let grade = if self.person.cirrhosis { self.draw.pick(grades) } else { grades[0] };
            self.out.texts(&[
                if i > 0 { "," } else { "" },
                "{\"linkId\":\"",
                name,
                "\",\"answer\":[{\"valueCoding\":",
            ]);
            self.out.texts(&["{\"system\":\"urn:trialbridge:", name, "\",\"code\":\"", grade, "\"}}]}"]);
        }
        self.out.text("]");
    }
}
