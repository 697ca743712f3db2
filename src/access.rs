//! Who may do what: roles, permissions, and what the trial's masking adds to them.
//!
//! One table, asked by the command line, the API and the pages alike. Pure: who somebody is, is found out
//! above. The rule is the strictest that works: what is not granted here is refused, and what is refused
//! looks as if it did not exist.
//!
//! Invariant: nobody sees an arm before its allocation is committed, whatever the role; and no role that
//! enrols or treats sees one afterwards unless the trial's masking says so.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What an account is for. One account has one role: two hats are two accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Enrols at one site: subjects, consent, randomization. Blinded.
    Coordinator,
    /// Judges and signs at one site; may unblind one participant in an emergency. Blinded until then.
    Investigator,
    /// Hands out what was allocated. Sees arms, no clinical data.
    Pharmacist,
    /// Unblinded statistician: draws up, opens and verifies the list. Sees arms.
    Statistician,
    /// Reads everything but arms; changes nothing.
    Monitor,
    /// Accounts and operation. Neither clinical data nor arms.
    Administrator,
    /// Whoever works on the command line of an installation that has no accounts yet. Not assignable.
    Operator,
}

impl Role {
    /// The roles that an account can have.
    pub const ASSIGNABLE: [Role; 6] = [
        Role::Coordinator,
        Role::Investigator,
        Role::Pharmacist,
        Role::Statistician,
        Role::Monitor,
        Role::Administrator,
    ];

    /// As it stands in files, tables and the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Role::Coordinator => "coordinator",
            Role::Investigator => "investigator",
            Role::Pharmacist => "pharmacist",
            Role::Statistician => "statistician",
            Role::Monitor => "monitor",
            Role::Administrator => "administrator",
            Role::Operator => "operator",
        }
    }

    /// An assignable role by its name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ASSIGNABLE.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Subjects with decisions, evidence, gaps, deviations.
    ViewSubjects,
    /// Whether, when and under which id somebody was allocated: never the arm.
    ViewAllocations,
    /// The arm of a committed allocation.
    ViewArm,
    /// The audit log, arms masked.
    ViewAudit,
    RecordConsent,
    /// A judgement of the criteria. Signed.
    Attest,
    /// Signed.
    Randomize,
    /// Break the blind of one participant, with category and reason. Signed.
    Unblind,
    /// Say that an allocation or its stratum was wrong; it stays. Signed.
    CorrectAllocation,
    /// Who is who, deviations, quarantine.
    ResolveQuestions,
    /// Draw up or import the list; stop and resume randomization. Signed.
    ManageList,
    /// Open the whole list at the end of the trial. Signed.
    RevealList,
    /// Put the trial definition in force. Signed.
    SignDefinition,
    ManageAccounts,
    /// Pull, replay, back up, write back, subscribe.
    Operate,
    /// Go on after the audit log and its anchor disagreed. Signed.
    AcceptAudit,
}

impl Permission {
    pub const ALL: [Permission; 16] = [
        Permission::ViewSubjects,
        Permission::ViewAllocations,
        Permission::ViewArm,
        Permission::ViewAudit,
        Permission::RecordConsent,
        Permission::Attest,
        Permission::Randomize,
        Permission::Unblind,
        Permission::CorrectAllocation,
        Permission::ResolveQuestions,
        Permission::ManageList,
        Permission::RevealList,
        Permission::SignDefinition,
        Permission::ManageAccounts,
        Permission::Operate,
        Permission::AcceptAudit,
    ];
}

/// Whether what is written to the hospital names the arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disclosure {
    /// The arm's name.
    Disclose,
    /// The allocation's id, which only the unblinded can read.
    Code,
    /// Nothing.
    Withhold,
}

/// Who is kept from knowing arms, as the trial defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masking {
    /// The roles that may see the arm of a committed allocation.
    pub arm_visible_to: BTreeSet<Role>,
    /// The most that may be written to the hospital.
    pub write_back: Disclosure,
}

impl Masking {
    /// For a trial that says nothing: only the unblinded roles know arms, and nobody else is told.
    pub fn strictest() -> Masking {
        Masking {
            arm_visible_to: BTreeSet::from([Role::Pharmacist, Role::Statistician]),
            write_back: Disclosure::Withhold,
        }
    }
}

/// May somebody in this role do this, in a trial masked like this?
///
/// [`Role::Operator`] may do everything: it stands for an installation without accounts, in which nobody's
/// name is proved; the arm it sees only where the hospital is told the arm too.
pub fn may(role: Role, permission: Permission, masking: &Masking) -> bool {
    use Permission::*;
    use Role::*;
    match permission {
        ViewArm if role == Operator => masking.write_back == Disclosure::Disclose,
        ViewArm => masking.arm_visible_to.contains(&role) && !matches!(role, Monitor | Administrator),
        ViewSubjects => matches!(role, Coordinator | Investigator | Statistician | Monitor | Operator),
        ViewAllocations => role != Administrator,
        ViewAudit => matches!(role, Investigator | Statistician | Monitor | Administrator | Operator),
        RecordConsent | Randomize => matches!(role, Coordinator | Investigator | Operator),
        Attest | Unblind | CorrectAllocation => matches!(role, Investigator | Operator),
        ResolveQuestions => matches!(role, Coordinator | Investigator | Operator),
        ManageList | RevealList => matches!(role, Statistician | Operator),
        SignDefinition => matches!(role, Investigator | Statistician | Operator),
        ManageAccounts | Operate => matches!(role, Administrator | Operator),
        AcceptAudit => matches!(role, Investigator | Statistician | Administrator | Operator),
    }
}

/// Is this role tied to a site, and sees the subjects of that site alone?
pub fn is_bound_to_site(role: Role) -> bool {
    matches!(role, Role::Coordinator | Role::Investigator)
}

/// Seconds that nobody may try again after so many failed attempts in a row; `None`: until an administrator
/// resets the account.
// # Source
// > "the verifier SHALL implement controls to protect against online guessing attacks. … the verifier SHALL
// > limit consecutive failed authentication attempts on a single account to no more than 100."
// > NIST SP 800-63B, 5.2.2
pub fn wait_after(failures: u32) -> Option<i64> {
    match failures {
        0..5 => Some(0),
        5..12 => Some(30 << (failures - 5)),
        12..100 => Some(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_becomes_slow_and_then_ends() {
        for (failures, wait) in [
            (0, Some(0)),
            (4, Some(0)),
            (5, Some(30)),
            (6, Some(60)),
            (7, Some(120)),
            (11, Some(1920)),
            (12, Some(3600)),
            (99, Some(3600)),
            (100, None),
            (u32::MAX, None),
        ] {
            assert_eq!(wait_after(failures), wait, "{failures}");
        }
    }

    #[test]
    fn the_whole_table() {
        use Permission::*;
        // Columns: coordinator, investigator, pharmacist, statistician, monitor, administrator, operator.
        let table: [(Permission, &str); 16] = [
            (ViewSubjects, "yy.yy.y"),
            (ViewAllocations, "yyyyy.y"),
            (ViewArm, "..yy..."),
            (ViewAudit, ".y.yyyy"),
            (RecordConsent, "yy....y"),
            (Attest, ".y....y"),
            (Randomize, "yy....y"),
            (Unblind, ".y....y"),
            (CorrectAllocation, ".y....y"),
            (ResolveQuestions, "yy....y"),
            (ManageList, "...y..y"),
            (RevealList, "...y..y"),
            (SignDefinition, ".y.y..y"),
            (ManageAccounts, ".....yy"),
            (Operate, ".....yy"),
            (AcceptAudit, ".y.y.yy"),
        ];
        assert_eq!(table.map(|(permission, _)| permission), Permission::ALL);
        let masking = Masking::strictest();
        for (permission, row) in table {
            let roles = Role::ASSIGNABLE.into_iter().chain([Role::Operator]);
            let found: String =
                roles.map(|role| if may(role, permission, &masking) { 'y' } else { '.' }).collect();
            assert_eq!(found, row, "{permission:?}");
        }
    }

    #[test]
    fn an_open_trial_shows_arms_to_those_it_names_and_never_to_monitor_or_administrator() {
        let masking = Masking {
            arm_visible_to: Role::ASSIGNABLE.into_iter().collect(),
            write_back: Disclosure::Disclose,
        };
        for (role, sees) in [
            (Role::Coordinator, true),
            (Role::Investigator, true),
            (Role::Pharmacist, true),
            (Role::Statistician, true),
            (Role::Monitor, false),
            (Role::Administrator, false),
            (Role::Operator, true),
        ] {
            assert_eq!(may(role, Permission::ViewArm, &masking), sees, "{role}");
        }
    }

    #[test]
    fn a_role_is_read_back_by_its_name_and_the_operator_is_not_assignable() {
        for role in Role::ASSIGNABLE {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(serde_json::to_string(&role).expect("a role"), format!("\"{role}\""));
        }
        for refused in ["operator", "Coordinator", ""] {
            assert_eq!(Role::named(refused), None);
        }
    }
}
