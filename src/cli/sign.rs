//! Who signs: the one place in which a name given on the command line becomes a signature.
//!
//! Without accounts the name is taken as said, and the signature says so. With accounts the name is one of
//! them, and proves itself for every signature: by `--password-file`, TRIALBRIDGE_PASSWORD, or at the
//! terminal. Never: a password from a flag, or in an error.

use super::shell::{Shell, now};
use super::{Failure, Global, exit};
use crate::access::{self, Permission, Role};
use crate::account::{Accounts, Credential, Denied, Intent, Settings, Signer, Viewer};
use crate::pipeline::detail;
use crate::secret::{self, Secret};
use crate::store::{NewAudit, NewSignature, SignatureMethod, Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// The signature of `by` under `record`, for the transaction of what is signed.
///
/// # Errors
/// Exit code 17 where this name may not do it, or does not prove itself; it is not told which.
pub fn sign(
    shell: &Shell,
    store: &dyn Store,
    by: &str,
    permission: Permission,
    meaning: &str,
    subject: Option<&str>,
    record: serde_json::Value,
) -> Result<NewSignature, Failure> {
    super::attest::signed(by)?;
    let intent = Intent { permission, meaning, subject, record: &record, shown: None };
    let settings = Settings::from(&shell.config.access);
    let accounts = Accounts::new(store, &settings);
    if !accounts.exist()? {
        let role = Role::Operator;
        if !access::may(role, permission, &shell.masking()) {
            return Err(Failure::new(exit::NOT_PERMITTED, format!("the role {role} may not do this"), ""));
        }
        let signer = Signer {
            actor: by.to_owned(),
            printed_name: by.to_owned(),
            role,
            method: SignatureMethod::Unauthenticated,
        };
        return Ok(signer.sign(&intent, now()));
    }
    let password = password(shell.password_file.as_deref(), PASSWORD, by)?;
    accounts
        .sign(by, Credential::Password(&password), &intent, now())
        .map_err(|error| denied(&error, by, permission))
}

/// Whether this name may know of another subject as well. The name has signed already.
///
/// # Errors
/// As if the subject were not there.
pub fn sees(shell: &Shell, store: &dyn Store, by: &str, subject: &str) -> Result<(), Failure> {
    let Some(account) = store.account(by)? else { return Ok(()) };
    let settings = Settings::from(&shell.config.access);
    match Accounts::new(store, &settings).sees(&Viewer::from(&account), subject)? {
        true => Ok(()),
        false => Err(super::attest::unknown()),
    }
}

/// The role in which this name, which has signed, works here.
///
/// # Errors
/// The store's.
pub fn role_of(store: &dyn Store, by: &str) -> Result<Role, Failure> {
    Ok(store.account(by)?.map_or(Role::Operator, |account| account.role))
}

/// Who gave an order, for the audit entries of what follows.
pub struct Ordered {
    pub actor: String,
    pub role: String,
}

/// Signs for what the machine is about to do on somebody's word, and writes it down before it is done.
/// Without accounts nobody signs for the machine.
///
/// # Errors
/// As [`sign`]; exit code 17 without a name where there are accounts.
pub fn order(
    shell: &Shell,
    store: &dyn Store,
    by: Option<&str>,
    permission: Permission,
    meaning: &str,
    record: serde_json::Value,
) -> Result<Ordered, Failure> {
    if store.accounts()?.is_empty() {
        return unproved(by);
    }
    let signature = sign(shell, store, named(by, permission)?, permission, meaning, None, record)?;
    let ordered = Ordered { actor: signature.actor.clone(), role: signature.role.clone() };
    let entry = NewAudit {
        at: signature.at.clone(),
        actor: ordered.actor.clone(),
        role: ordered.role.clone(),
        action: "sign".into(),
        subject: None,
        detail: detail(&[("meaning", meaning)]),
    };
    store.sign(signature, vec![entry])?;
    Ok(ordered)
}

/// Like [`order`], for what only reads and may be done while a service writes. Then the password is proved
/// without the count of failed attempts, which only the writer keeps: whoever can read the database here
/// could try passwords without this program.
///
/// # Errors
/// As [`order`].
pub fn order_beside(
    global: &Global,
    shell: &Shell,
    store: &Arc<dyn Store>,
    by: Option<&str>,
    permission: Permission,
    meaning: &str,
) -> Result<Ordered, Failure> {
    if store.accounts()?.is_empty() {
        return unproved(by);
    }
    let record = serde_json::json!({"data": "copied whole"});
    match shell.open(meaning) {
        Ok(writing) => order(shell, &*writing, by, permission, meaning, record),
        Err(failure) if failure.code == exit::LOCKED => {
            let by = named(by, permission)?;
            let password = password(shell.password_file.as_deref(), PASSWORD, by)?;
            let settings = Settings::from(&shell.config.access);
            let holds = Accounts::new(&**store, &settings).holds(by, &password, permission)?;
            if !holds {
                return Err(denied(&Denied::Refused, by, permission));
            }
            global.note("a service writes the store: this is in its log file, not in the audit log");
            tracing::warn!(event = "order", actor = by, meaning);
            // What the account may do was proved; which role that is, the writer would say.
            Ok(Ordered { actor: by.to_owned(), role: roles(permission) })
        }
        Err(failure) => Err(failure),
    }
}

/// An order where nobody can prove a name.
fn unproved(by: Option<&str>) -> Result<Ordered, Failure> {
    let actor = by.unwrap_or("operator");
    super::attest::signed(actor)?;
    Ok(Ordered { actor: actor.to_owned(), role: Role::Operator.name().to_owned() })
}

fn named(by: Option<&str>, permission: Permission) -> Result<&str, Failure> {
    by.ok_or_else(|| {
        let hint = format!("--by NAME, an account of the role {}", roles(permission));
        Failure::new(exit::NOT_PERMITTED, "this installation has accounts, and nobody signs for it", hint)
    })
}

/// Where the password of whoever signs may stand.
pub const PASSWORD: &str = "TRIALBRIDGE_PASSWORD";

/// A password: from a file that only its owner reads, from the environment, or typed where somebody sits.
///
/// # Errors
/// Exit code 10 for a file that cannot be used, 17 where nobody can be asked.
pub fn password(file: Option<&Path>, variable: &str, whose: &str) -> Result<Secret, Failure> {
    use std::io::IsTerminal;
    let none = |hint: &str| Failure::new(exit::NOT_PERMITTED, "no password was given", hint);
    if let Some(path) = file {
        let unusable = |text: String| Failure::new(exit::CONFIG, text, "a file of mode 0600 with one line");
        let bytes = secret::private_file(path).map_err(unusable)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| unusable(format!("{}: it is not UTF-8", path.display())))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(unusable(format!("{}: it is empty", path.display())));
        }
        return Ok(Secret::new(text.to_owned()));
    }
    if let Ok(text) = std::env::var(variable) {
        let secret = Secret::new(text.trim_end_matches(['\r', '\n']).to_owned());
        return if secret.expose().is_empty() { Err(none("the variable is empty")) } else { Ok(secret) };
    }
    if !std::io::stdin().is_terminal() {
        return Err(none(&format!("--password-file FILE, or {variable}; at a terminal it is asked for")));
    }
    let text = rpassword::prompt_password(format!("password of {whose}: "))
        .map_err(|e| Failure::new(exit::NOT_PERMITTED, format!("no password was read: {e}"), ""))?;
    Ok(Secret::new(text))
}

/// The roles that may do this, for a hint.
fn roles(permission: Permission) -> String {
    let masking = access::Masking::strictest();
    let may = Role::ASSIGNABLE.into_iter().filter(|role| access::may(*role, permission, &masking));
    may.map(Role::name).collect::<Vec<_>>().join(" or ")
}

/// Why somebody was refused, with its exit code.
pub fn denied(error: &Denied, by: &str, permission: Permission) -> Failure {
    let refused = |text: &str, hint: String| Failure::new(exit::NOT_PERMITTED, text, hint);
    match error {
        Denied::Refused => refused(
            "not signed: no enabled account of this name, another password, or a role that may not do this",
            format!(
                "it takes the role {}; `trialbridge user list` shows who is there. Accounts of the identity \
                 provider sign on the pages",
                roles(permission)
            ),
        ),
        Denied::Wait { seconds: Some(seconds) } => refused(
            "not signed: too many failed attempts under this name",
            format!("again in {seconds} s; an administrator can `trialbridge user reset` it"),
        ),
        Denied::Wait { seconds: None } => refused(
            "not signed: too many failed attempts under this name",
            "an administrator has to `trialbridge user reset` it".into(),
        ),
        Denied::MustChange => refused(
            "not signed: the initial password has to be changed first",
            format!("`trialbridge user password {by}`"),
        ),
        Denied::NotFound => super::attest::unknown(),
        Denied::Changed => refused("not signed: the record has changed since", "look at it again".into()),
        Denied::Password(_) | Denied::Request(_) => {
            Failure::new(exit::USAGE, error.to_string(), "docs/access.md says what is taken")
        }
        Denied::NoEntropy => Failure::problem(error.to_string()),
        Denied::Store(StoreError::Conflict { code: "first-account", .. }) => refused(
            &error.to_string(),
            "`trialbridge user add NAME --role administrator` for the first; later ones with --by".into(),
        ),
        Denied::Store(StoreError::Conflict { code: "last-administrator", .. }) => {
            refused(&error.to_string(), "`trialbridge user add NAME --role administrator --by …`".into())
        }
        Denied::Store(error) => Failure::from(error.clone()),
    }
}

/// A reason is given, and names no arm: it is read by the blinded.
pub fn reason<'a>(shell: &Shell, text: &'a str) -> Result<&'a str, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::new(exit::USAGE, "this is not done without a reason", "--reason TEXT"));
    }
    if crate::draw::names_an_arm(&shell.trial, text) {
        let hint = "say it without the arm: whoever reads the log may be blinded";
        return Err(Failure::new(exit::USAGE, "the reason names an arm of the trial", hint));
    }
    Ok(text)
}
