//! ResearchStudy: R4 and R4B name their arms `arm`, R5 `comparisonGroup`.

use super::element::{CodeableConcept, Identifier, Reference, bytes};
use super::release::Release;
use super::stored::{Merge, Stored};
use super::wanted::{ArmType, StudyArm, StudyWanted};
use serde::Serialize;
use serde_json::Value;

const ARM_TYPE: &str = "http://hl7.org/fhir/research-study-arm-type";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Arm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    link_id: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<CodeableConcept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recruitment {
    #[serde(skip_serializing_if = "Option::is_none")]
    target_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligibility: Option<Reference>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResearchStudy<'a> {
    resource_type: &'static str,
    identifier: [&'a Identifier; 1],
    title: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enrollment: Vec<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recruitment: Option<Recruitment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arm: Vec<Arm<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comparison_group: Vec<Arm<'a>>,
}

/// The study as it is created. `active` is lawful in both value sets of `status`: R4's study status and
/// R5's publication status.
pub fn build(release: Release, study: &StudyWanted) -> Vec<u8> {
    let r5 = release.is_r5();
    let arms = arms(release, &study.arms);
    let enrollment = study.enrollment.as_deref().map(Reference::to);
    let recruitment = (r5 && (study.target_number.is_some() || enrollment.is_some()))
        .then(|| Recruitment { target_number: study.target_number, eligibility: enrollment.clone() });
    let (arm, comparison_group) = if r5 { (Vec::new(), arms) } else { (arms, Vec::new()) };
    bytes(&ResearchStudy {
        resource_type: "ResearchStudy",
        identifier: [&study.identifier],
        title: &study.title,
        status: "active",
        description: study.description.as_deref(),
        enrollment: if r5 { Vec::new() } else { enrollment.into_iter().collect() },
        recruitment,
        arm,
        comparison_group,
    })
}

fn arms(release: Release, arms: &[StudyArm]) -> Vec<Arm<'_>> {
    arms.iter()
        .map(|arm| Arm {
            link_id: release.is_r5().then_some(arm.link_id.as_str()),
            name: &arm.name,
            r#type: arm.arm_type.map(|t| arm_type(release, t)),
            description: arm.description.as_deref(),
        })
        .collect()
}

/// R4 binds `arm.type` to no code system; the one that R5 defines is not put into an R4 resource.
fn arm_type(release: Release, arm_type: ArmType) -> CodeableConcept {
    let (code, display) = arm_type.coding();
    if release.is_r5() {
        CodeableConcept::coded(ARM_TYPE, code, Some(display))
    } else {
        CodeableConcept::text(display)
    }
}

fn arm_element(release: Release) -> &'static str {
    if release.is_r5() { "comparisonGroup" } else { "arm" }
}

/// What a study that is already there lacks. Its status, title and texts are the hospital's. A study
/// without arms gets ours; a study with other arms is a question for people (`study-arms-differ`).
pub fn merge(release: Release, stored: &Stored, study: &StudyWanted) -> Merge {
    let mut merge = Merge::of(stored);
    let element = arm_element(release);
    let there = stored.items(element);
    if there.is_empty() {
        if !study.arms.is_empty() {
            merge.set(element, &arms(release, &study.arms));
        }
        return merge;
    }
    let mut theirs: Vec<&str> = there.iter().map(name).collect();
    let mut ours: Vec<&str> = study.arms.iter().map(|a| a.name.as_str()).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    if theirs != ours || (release.is_r5() && there.iter().any(|g| link_id(g).is_none())) {
        merge.human = Some("study-arms-differ");
    }
    merge
}

/// What `assignedArm` or `assignedComparisonGroup` has to say for an arm, in this very study: its name,
/// or in R5 the `linkId` that the study gives to the group of that name.
pub fn arm_reference(release: Release, stored: &Stored, arm: &str) -> Option<String> {
    let there = stored.items(arm_element(release));
    let found = there.iter().find(|a| name(a) == arm)?;
    if release.is_r5() { link_id(found).map(str::to_owned) } else { Some(arm.to_owned()) }
}

fn name(arm: &Value) -> &str {
    arm.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn link_id(arm: &Value) -> Option<&str> {
    arm.get("linkId").and_then(Value::as_str)
}
