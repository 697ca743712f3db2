//! Who signs: the one place in which a name given on the command line becomes a signature.
//!
//! Without accounts the name is taken as said, and the signature says so.

use super::shell::{Shell, now};
use super::{Failure, exit};
use crate::access::{self, Permission, Role};
use crate::pipeline::stamp;
use crate::store::{NewSignature, SignatureMethod, Store};

/// The signature of `by` under `record`, for the transaction of what is signed.
///
/// # Errors
/// Exit code 17 where this name may not do it.
pub fn sign(
    shell: &Shell,
    _store: &dyn Store,
    by: &str,
    permission: Permission,
    meaning: &str,
    subject: Option<&str>,
    record: serde_json::Value,
) -> Result<NewSignature, Failure> {
    super::attest::signed(by)?;
    let role = Role::Operator;
    if !access::may(role, permission, &shell.masking()) {
        return Err(Failure::new(exit::NOT_PERMITTED, format!("the role {role} may not do this"), ""));
    }
    Ok(NewSignature {
        actor: by.to_owned(),
        printed_name: by.to_owned(),
        role: role.name().to_owned(),
        meaning: meaning.to_owned(),
        subject: subject.map(str::to_owned),
        record: record.to_string(),
        method: SignatureMethod::Unauthenticated,
        at: stamp(now()),
    })
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
