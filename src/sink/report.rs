//! What a run did, one line a resource. Holds codes, pseudonymous keys and the server's ids; never an
//! arm, never a patient's reference.

/// What became of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    Unchanged,
    /// Not there yet. `retry`: the next run may well succeed without anybody's help.
    Failed {
        code: &'static str,
        retry: bool,
    },
    /// No run can settle it. `ids` are the resources concerned.
    NeedsHuman {
        code: &'static str,
        ids: Vec<String>,
    },
}

impl Outcome {
    pub fn is_settled(&self) -> bool {
        matches!(self, Outcome::Created | Outcome::Updated | Outcome::Unchanged)
    }

    /// What an operator can do about a code; `None` for an outcome that needs nothing.
    pub fn remedy(&self) -> Option<&'static str> {
        let code = match self {
            Outcome::Failed { code, .. } | Outcome::NeedsHuman { code, .. } => code,
            _ => return None,
        };
        Some(match *code {
            "duplicate-research-subject" => {
                "keep one of the named ResearchSubjects, delete the others at the hospital, run again"
            }
            "duplicate-research-study" => "keep one ResearchStudy with the registry's number, run again",
            "duplicate-observation" => "keep one of the named Observations, run again",
            "foreign-research-subject" => {
                "the patient already has a ResearchSubject in this study: give it our identifier, or remove it"
            }
            "study-arms-differ" => "make the arms of the hospital's ResearchStudy those of the protocol",
            "subject-patient-differs" | "subject-study-differs" => {
                "our identifier stands on another patient's or study's ResearchSubject: correct it at the hospital"
            }
            "arm-present" => {
                "an arm stands on the ResearchSubject although none may be shown: find out who wrote it"
            }
            "participation-ended" => {
                "the hospital has ended a participation that is open here: clarify with the site"
            }
            "hospital-is-ahead" => {
                "the hospital has the participant on study and we do not: clarify with the site"
            }
            "identifier-dropped" => "the server does not keep identifiers: every write would be a duplicate",
            "creation-unconfirmed" => {
                "the server took a create and shows no result: look at it before the next run"
            }
            "field-dropped" => {
                "the server does not keep an element that we write: see the notices for its name"
            }
            "version-conflict" => "somebody else keeps changing the resource: run again",
            "outcome-unknown" | "unreachable" | "server-error" | "throttled" | "vanished" => {
                "run again later"
            }
            "refused" => "the credentials may not do this: check the scopes",
            "not-supported" => "the server does not offer this resource type",
            "not-searchable" => "the server cannot search what must not be written twice",
            "invalid" => "a fault of this program: report it with the notices",
            "study-unsettled" => "settle the study first",
            "subject-unsettled" => "settle the subject first",
            _ => "see the server's own log for the request",
        })
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub resource_type: &'static str,
    /// Our key: the identifier's value; of a Provenance, what it is about.
    pub key: String,
    /// The server's id, once known.
    pub id: Option<String>,
    pub outcome: Outcome,
    /// Codes and element names: `assigned-arm-corrected`, `recreated`, `dropped:assignedArm`.
    pub notices: Vec<String>,
}

/// One participant: the outcome of the ResearchSubject, then of each score and Provenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantReport {
    pub key: String,
    pub subject: Line,
    pub scores: Vec<Line>,
    pub provenances: Vec<Line>,
}

/// A request that changed, or may have changed, the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub method: &'static str,
    pub resource_type: &'static str,
    pub id: Option<String>,
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileReport {
    /// Nothing was sent; outcomes say what would have happened.
    pub dry_run: bool,
    pub study: Line,
    pub participants: Vec<ParticipantReport>,
    pub writes: Vec<Write>,
}

impl ReconcileReport {
    /// Every line of the report.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.study).chain(
            self.participants
                .iter()
                .flat_map(|p| std::iter::once(&p.subject).chain(&p.scores).chain(&p.provenances)),
        )
    }

    /// Does the hospital agree with us in everything?
    pub fn is_settled(&self) -> bool {
        self.lines().all(|line| line.outcome.is_settled())
    }
}
