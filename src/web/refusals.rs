//! Why nobody comes in and nothing is done: the troubles of sessions, signatures and draws, in words.
//!
//! Each has a fixed code for programs. None says whether an account exists, and none names an arm.

use super::trouble::Trouble;
use axum::http::StatusCode;

impl Trouble {
    pub fn no_accounts() -> Trouble {
        let happened = "This installation has no accounts, and nobody can sign in or change anything here.";
        let next = "Make the first account with `trialbridge user add` while the service is stopped, or work on the command line.";
        Trouble::refused(StatusCode::FORBIDDEN, "no-accounts", happened, next)
    }

    pub fn no_session() -> Trouble {
        let happened = "Nobody is signed in, or the session is over.";
        let next = "Sign in: POST /api/v1/session, or the page /login.";
        Trouble::refused(StatusCode::UNAUTHORIZED, "session-missing", happened, next)
    }

    /// Says nothing of whether there is such an account.
    pub fn not_signed_in() -> Trouble {
        let happened = "Account and password do not fit.";
        let next = "Try again. After several failures the account waits, longer each time; an administrator can reset it with `trialbridge user reset`.";
        Trouble::refused(StatusCode::UNAUTHORIZED, "login-refused", happened, next)
    }

    /// The session is good, and the signature is not.
    pub fn not_signed() -> Trouble {
        let happened = "The signature was not accepted: who signs proves it anew, for each signature.";
        let next = "Send the password of the account that is signed in, or a grant of the hospital's identity provider for this record.";
        Trouble::refused(StatusCode::UNAUTHORIZED, "signature-refused", happened, next)
    }

    /// The password is an initial one.
    pub fn must_change() -> Trouble {
        let happened = "This password was set by an administrator and opens nothing but its own change.";
        let next = "Change it on the command line: `trialbridge user password`.";
        Trouble::refused(StatusCode::FORBIDDEN, "password-must-change", happened, next)
    }

    pub fn too_many_attempts(seconds: Option<u64>) -> Trouble {
        let happened = "There were too many attempts to sign in.";
        let next =
            "Wait for the time in Retry-After; without one, an administrator has to reset the account.";
        let trouble = Trouble::refused(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", happened, next);
        match seconds {
            Some(seconds) => trouble.after(seconds),
            None => trouble,
        }
    }

    pub fn cross_origin() -> Trouble {
        let happened = "Another site's page asked for this, or a page of no site.";
        let next = "Ask from the pages of this address, or from a program that is no browser.";
        Trouble::refused(StatusCode::FORBIDDEN, "cross-origin", happened, next)
    }

    pub fn token() -> Trouble {
        let happened = "The request does not carry the token of its session.";
        let next =
            "Send the `csrf` of GET /api/v1/session in the header X-CSRF-Token. A form: load its page again.";
        Trouble::refused(StatusCode::FORBIDDEN, "csrf-token", happened, next)
    }

    pub fn not_json() -> Trouble {
        let happened = "The body is not sent as JSON.";
        let next = "Send Content-Type: application/json, once.";
        Trouble::refused(StatusCode::FORBIDDEN, "not-json", happened, next)
    }

    pub fn body_unreadable() -> Trouble {
        let happened = "The body is not what this address reads.";
        let next = "docs/api.md names the members and their types; others are refused.";
        Trouble::refused(StatusCode::BAD_REQUEST, "body-invalid", happened, next)
    }

    pub fn role() -> Trouble {
        let happened = "The role of this account may not do that.";
        let next = "Ask somebody whose role may: docs/api.md names it for every route.";
        Trouble::refused(StatusCode::FORBIDDEN, "role", happened, next)
    }

    pub fn value(code: &'static str, happened: &'static str, next: &'static str) -> Trouble {
        Trouble::refused(StatusCode::UNPROCESSABLE_ENTITY, code, happened, next)
    }

    pub fn key_missing() -> Trouble {
        let happened = "The request has no Idempotency-Key, or one that is none.";
        let next = "Send a key of your own, 1 to 128 visible ASCII characters, and the same one with every repetition.";
        Trouble::refused(StatusCode::BAD_REQUEST, "idempotency-key", happened, next)
    }

    pub fn in_progress() -> Trouble {
        let happened = "A request with this key is being worked on.";
        let next = "Send the same request again after Retry-After: it gets the same allocation.";
        Trouble::refused(StatusCode::CONFLICT, "in-progress", happened, next).after(1)
    }

    pub fn record_changed() -> Trouble {
        let happened = "The record is not the one that was shown for signing.";
        let next = "Read it again (GET …/signing) and sign what stands there now.";
        Trouble::refused(StatusCode::CONFLICT, "record-changed", happened, next)
    }

    pub fn not_a_form() -> Trouble {
        let happened = "The body is not what a form sends.";
        let next = "Load the page again and send its form.";
        Trouble::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-a-form", happened, next)
    }

    pub fn busy() -> Trouble {
        let happened = "Too much is being done just now; nothing of this was.";
        let next = "Send it again in a moment.";
        Trouble::refused(StatusCode::SERVICE_UNAVAILABLE, "busy", happened, next).after(2)
    }

    /// `broken`: the rule, never the password.
    pub fn password(broken: &str) -> Trouble {
        let happened = "The new password cannot be taken.";
        let next = "At least 12 characters; several words that do not belong together are good.";
        Trouble::value("password-weak", happened, next).with("rule", broken)
    }

    pub fn no_such_allocation() -> Trouble {
        let happened = "No allocation of a subject with this key.";
        let next = "Look the subject up in the worklist: it says who is randomized.";
        Trouble::refused(StatusCode::NOT_FOUND, "no-such-allocation", happened, next)
    }

    /// The identity provider named nobody who may work here. Which rule its answer broke is not said.
    pub fn not_identified() -> Trouble {
        let happened = "The hospital's sign-in did not show who this is, or they have no role in this trial.";
        let next = "Begin again at /login. If it stays so, ask the administrator whether your role is set at the hospital.";
        Trouble::refused(StatusCode::UNAUTHORIZED, "login-refused", happened, next)
    }

    pub fn no_provider() -> Trouble {
        let happened = "The hospital's sign-in cannot be used just now.";
        let next = "Try again in a minute, or sign in with a local account. The log names the cause.";
        Trouble::refused(StatusCode::SERVICE_UNAVAILABLE, "provider-unavailable", happened, next)
    }

    pub fn no_such_meaning() -> Trouble {
        let happened = "That cannot be signed for.";
        let next = "A meaning is `randomize`; `attest` with criterion, verdict and reason; `consent.record` or `consent.withdraw`; or `unblind` with category and reason. What has a reason is sent with POST.";
        Trouble::value("no-such-meaning", happened, next)
    }

    pub fn no_such_category() -> Trouble {
        let happened = "There is no such reason to unblind.";
        let next = "The category is `emergency`, `planned` or `inadvertent`.";
        Trouble::value("no-such-category", happened, next)
    }

    pub fn no_reason() -> Trouble {
        let happened = "The reason is missing, or too long.";
        let next = "Say why, in at most 1000 characters.";
        Trouble::value("no-reason", happened, next)
    }

    pub fn reason_names_an_arm() -> Trouble {
        let happened = "The reason names an arm, and it is read by those who must not know it.";
        let next = "Say it without the name of an arm.";
        Trouble::value("reason-names-arm", happened, next)
    }

    pub fn no_such_criterion() -> Trouble {
        let happened = "The trial has no such criterion and no such grade.";
        Trouble::value("no-such-criterion", happened, "`known` names those that there are.")
    }

    pub fn no_such_verdict() -> Trouble {
        let happened = "That is no answer to it.";
        Trouble::value("no-such-verdict", happened, "`known` names those that there are.")
    }

    pub fn no_such_date() -> Trouble {
        let happened = "The date is none.";
        Trouble::value("no-such-date", happened, "YYYY-MM-DD, or an instant with a time zone.")
    }

    /// Why nobody was allocated, by the code of the draw. No slot was used.
    pub fn not_randomized(code: &str) -> Trouble {
        let row = NOT_RANDOMIZED.iter().find(|row| row.0 == code).unwrap_or(&OTHERWISE);
        let (code, status, happened, next) = *row;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::CONFLICT);
        let mut trouble = Trouble::refused(status, code, happened, next);
        trouble.safe = "Nobody was randomized, and no slot was used.";
        trouble
    }
}

const OTHERWISE: (&str, u16, &str, &str) = (
    "not-randomized",
    409,
    "Nobody can be randomized as things are.",
    "`trialbridge randomize --dry-run` says why.",
);

/// Code, status, what happened, what to do.
#[rustfmt::skip]
pub(super) const NOT_RANDOMIZED: [(&str, u16, &str, &str); 19] = [
    ("duplicate",          409, "This participant is randomized already, under another key.", "A participant has one allocation, for ever; `allocation` names it."),
    ("key-reuse",          409, "This key was used for another participant.", "Take a new key for every participant."),
    ("stale-eligibility",  409, "Data came in that were not judged yet, or the decision is too old.", "Read the record again and sign what stands there now."),
    ("record-changed",     409, "The record is not the one that was shown for signing.", "Read it again (GET …/signing) and sign what stands there now."),
    ("not-eligible",       409, "The subject is not eligible.", "`criteria` names what keeps the subject out; correct the record at the source if it is wrong."),
    ("no-consent",         409, "No valid consent is recorded.", "Record it: POST …/consent."),
    ("undetermined",       422, "It is not decided whether the subject is eligible.", "`criteria` names each criterion that is open, with what it needs; `gaps` names data that could not be used."),
    ("no-decision",        422, "The subject was never judged.", "Pull or send the subject's data first."),
    ("identity-open",      409, "It is not settled who this is.", "A person has to answer: `trialbridge identity list`."),
    ("definition-changed", 409, "The list was made under another trial definition.", "The new definition has to be signed: `trialbridge definition sign`."),
    ("list-exhausted",     409, "Every planned participant of this list is allocated.", "There is no further slot, and there will be none."),
    ("no-list",            409, "There is no allocation list yet.", "The statistician makes one: `trialbridge allocation generate`."),
    ("not-found",          409, "There is no allocation list yet.", "The statistician makes one: `trialbridge allocation generate`."),
    ("trial-closed",       409, "Randomization in this trial was stopped.", "Who stopped it, and why, stands in the audit log."),
    ("list-unverified",    423, "The sealed list does not agree with its commitment.", "Randomize nobody; docs/operating.md, exit code 16, says what to look at."),
    ("audit-unanchored",   423, "The audit log does not agree with its anchor.", "Randomization is sealed off until a person accepts that: docs/operating.md."),
    ("clock-anomaly",      423, "The machine's clock is behind the audit log.", "Set the clock right; docs/operating.md says how to go on."),
    ("audit-broken",       423, "The audit log does not hang together.", "Randomize nobody; docs/operating.md, exit code 16, says what to look at."),
    ("no-key",             503, "The key of the allocation list cannot be read.", "Tell whoever runs the server; the log names the cause."),
];
