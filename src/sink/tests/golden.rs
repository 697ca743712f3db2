//! Every resource that is written, byte for byte. `fixtures/writeback/README.md` says how to renew them.

use super::*;
use crate::sink::provenance::{self, Activity, Origin};
use crate::sink::stored::Stored;
use crate::sink::subject::{self, Subject};
use crate::sink::{release, score_observation, study as research_study};
use std::path::PathBuf;

fn subject_of(release: Release, state: SubjectState, arm: Option<&'static str>) -> Subject<'static> {
    let link = |arm| if arm == "Double infusion" { "double-infusion" } else { arm };
    Subject {
        key: "S-0001",
        study: "ResearchStudy/7",
        patient: "Patient/1",
        state,
        since: day("2026-11-22"),
        arm: arm.map(|a| if release.is_r5() { link(a) } else { a }),
        consent: (state != SubjectState::Candidate).then_some("Consent/5"),
    }
}

fn resources(release: Release) -> Vec<(&'static str, Vec<u8>)> {
    let subject = |state, arm| subject::build(release, &subject_of(release, state, arm));
    let observation = |score: &ScoreWanted| score_observation::build("S-0001", "Patient/1", score);
    let decimal = |text: &str| text.parse::<Decimal>().ok();
    let class = |mut score: ScoreWanted, kind: &str, value: &str| {
        score.class = Some(ScoreClass { kind: kind.to_owned(), value: value.to_owned() });
        score
    };
    let screened = Stored::parse(&subject(SubjectState::Screening, None)).expect("a resource");
    let advanced = Subject {
        since: day("2026-12-01"),
        ..subject_of(release, SubjectState::OnStudy, Some("Double infusion"))
    };
    let meld = score("meld3", known("21"));
    let written = Stored::parse(&observation(&meld)).expect("a resource");
    let now = Stored::parse(&observation(&score("meld3", known("24")))).expect("a resource");
    let corrected = score_observation::revise(&written, &now).merged.to_bytes();
    let provenance = |activity, suffix: &str| {
        provenance::build(
            release,
            &Origin {
                activity,
                target: "Observation/90",
                patient: "Patient/1",
                recorded: "2026-11-22T09:30:00Z".parse().expect("an instant"),
                decision: &format!("{}{suffix}", score_observation::identifier("S-0001", &meld)),
                inputs: &meld.inputs,
                definition_hash: "sha256:5d41402abc4b2a76",
                software: "trialbridge 0.0.0",
            },
        )
    };
    vec![
        ("study", research_study::build(release, &study())),
        ("subject-candidate", subject(SubjectState::Candidate, None)),
        ("subject-screening", subject(SubjectState::Screening, None)),
        ("subject-on-study", subject(SubjectState::OnStudy, Some("Double infusion"))),
        ("subject-on-study-code", subject(SubjectState::OnStudy, Some("K7"))),
        ("subject-on-study-withheld", subject(SubjectState::OnStudy, None)),
        ("subject-withdrawn", subject(SubjectState::Withdrawn, None)),
        ("subject-screening-then-on-study", subject::merge(release, &screened, &advanced).merged.to_bytes()),
        ("score-known", observation(&meld)),
        ("score-class", observation(&class(score("child_pugh", known("10")), "class", "C"))),
        ("score-grade", observation(&class(score("albi", known("-1.2340")), "grade", "3"))),
        (
            "score-range",
            observation(&score("meld_na", ScoreValue::Range { low: decimal("19"), high: decimal("24") })),
        ),
        (
            "score-at-least",
            observation(&score("fib4", ScoreValue::Range { low: decimal("3.250"), high: None })),
        ),
        ("score-corrected", corrected),
        ("score-entered-in-error", score_observation::retract(&written).merged.to_bytes()),
        ("provenance-score-corrected", provenance(Activity::Update, "/00aa")),
        ("provenance-score-entered-in-error", provenance(Activity::Nullify, "/entered-in-error")),
        ("provenance-score", provenance(Activity::Create, "")),
    ]
}
#[test]
fn golden_files_byte_for_byte() {
    let renew = std::env::var_os("RENEW_GOLDEN").is_some();
    for (folder, release) in RELEASES.iter().map(|r| (format!("{r:?}").to_lowercase(), *r)) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/writeback").join(folder);
        let mut names = Vec::new();
        for (name, built) in resources(release) {
            release::check(release, &built).unwrap_or_else(|e| panic!("{release:?} {name}: {e}"));
            let file = folder.join(format!("{name}.json"));
            if renew {
                std::fs::create_dir_all(&folder).expect("a writable folder");
                std::fs::write(&file, [built.as_slice(), b"\n"].concat()).expect("a writable file");
            }
            let golden = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(
                String::from_utf8(built).expect("JSON is UTF-8"),
                golden.strip_suffix('\n').expect("a last newline"),
                "{release:?} {name}"
            );
            names.push(format!("{name}.json"));
        }
        let mut files: Vec<String> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        files.sort();
        assert_eq!(files, names, "{release:?}: a golden file that nothing builds");
    }
}

#[test]
fn what_we_build_agrees_with_itself() {
    for release in RELEASES {
        for state in [
            SubjectState::Candidate,
            SubjectState::Screening,
            SubjectState::Eligible,
            SubjectState::Ineligible,
            SubjectState::OnStudy,
            SubjectState::Withdrawn,
        ] {
            let arm = (state == SubjectState::OnStudy).then_some("Double infusion");
            let subject = subject_of(release, state, arm);
            let stored = Stored::parse(&subject::build(release, &subject)).expect("a resource");
            let merge = subject::merge(release, &stored, &subject);
            assert_eq!(
                (merge.changed.as_slice(), merge.human, merge.stop),
                (&[][..], None, None),
                "{state:?}"
            );
            assert!(merge.notices.is_empty());
        }
        let stored = Stored::parse(&research_study::build(release, &study())).expect("a resource");
        let merge = research_study::merge(release, &stored, &study());
        assert_eq!((merge.changed.as_slice(), merge.human), (&[][..], None));
    }
}
