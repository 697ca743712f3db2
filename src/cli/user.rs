//! `user`: who may work here, as what, and how they prove it.
//!
//! The first account is made by whoever runs the program; every later one, and every change, is signed by an
//! administrator. Initial passwords come from a file or are made up and shown once.

use super::output::{Out, table};
use super::shell::{Shell, now};
use super::sign::{PASSWORD, denied, password};
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::{Permission, Role};
use crate::account::{Accounts, By, Credential, Denied, NewPerson, Settings};
use crate::secret::Secret;
use crate::store::{Account, Store, Word};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make an account. The first one is an administrator and needs nobody; --password-file is its initial
    /// password
    Add(AddArguments),
    /// Every account: its role, its site, whether it can sign in
    List,
    /// Give another role or site
    Role(RoleArguments),
    /// Shut an account; its sessions end at once
    Disable(ChangeArguments),
    /// Open it again
    Enable(ChangeArguments),
    /// Give a new initial password and forget failed attempts; --password-file is the initial password
    Reset(ResetArguments),
    /// Change the own password; --password-file is the one until now
    Password(PasswordArguments),
}

#[derive(Args, Debug)]
pub struct AddArguments {
    /// A pseudonymous id such as `dr-li`: it stands in the audit log for ever
    pub name: String,
    /// coordinator, investigator, pharmacist, statistician, monitor or administrator
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Role,
    /// As it stands in signatures
    #[arg(long, value_name = "TEXT")]
    pub printed_name: String,
    /// The site whose subjects a coordinator or investigator sees: an id of `[[access.site]]`
    #[arg(long, value_name = "SITE")]
    pub site_id: Option<String>,
    #[command(flatten)]
    pub by: Administrator,
}

/// Who makes the change. The password of an account that is made or reset has `--password-file` to itself.
#[derive(Args, Debug)]
pub struct Administrator {
    /// The administrator who does it
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// The administrator's password; else TRIALBRIDGE_PASSWORD, else it is asked for
    #[arg(long, value_name = "FILE")]
    pub by_password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct RoleArguments {
    pub name: String,
    #[arg(value_name = "ROLE", value_parser = role)]
    pub role: Role,
    /// The site whose subjects a coordinator or investigator sees: an id of `[[access.site]]`
    #[arg(long, value_name = "SITE")]
    pub site_id: Option<String>,
    /// The administrator who does it
    #[arg(long, value_name = "NAME")]
    pub by: String,
}

#[derive(Args, Debug)]
pub struct ChangeArguments {
    pub name: String,
    /// The administrator who does it
    #[arg(long, value_name = "NAME")]
    pub by: String,
}

#[derive(Args, Debug)]
pub struct ResetArguments {
    pub name: String,
    #[command(flatten)]
    pub by: Administrator,
}

#[derive(Args, Debug)]
pub struct PasswordArguments {
    pub name: String,
    /// The new password; else TRIALBRIDGE_NEW_PASSWORD, else it is asked for, twice
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

/// Where the new password may stand.
const NEW_PASSWORD: &str = "TRIALBRIDGE_NEW_PASSWORD";

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| {
        let names: Vec<&str> = Role::ASSIGNABLE.into_iter().map(Role::name).collect();
        format!("roles: {}", names.join(", "))
    })
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    let shell = Shell::new(global)?;
    if let Command::List = command {
        return list(global, &shell);
    }
    let store = shell.open("user")?;
    let settings = Settings::from(&shell.config.access);
    let accounts = Accounts::new(&*store, &settings);
    let refused = |name: &str, error: &Denied| denied(error, name, Permission::ManageAccounts);
    let own = shell.password_file.as_deref();
    match command {
        Command::List => Ok(0),
        Command::Add(a) => {
            let initial = initial(own)?;
            let secret = a.by.by.as_deref().map(|by| administrator(&a.by, by)).transpose()?;
            let by = a.by.by.as_deref().zip(secret.as_ref());
            let by = by.map(|(name, secret)| By { name, credential: Credential::Password(secret) });
            let person = NewPerson {
                name: &a.name,
                printed_name: &a.printed_name,
                role: a.role,
                site: a.site_id.as_deref(),
                password: initial.as_ref(),
            };
            let shown = accounts.add(&person, by, now()).map_err(|e| refused(&a.name, &e))?;
            say(global, &*store, &a.name, shown.as_ref())
        }
        Command::Role(a) => {
            let secret = password(own, PASSWORD, &a.by)?;
            let by = By { name: &a.by, credential: Credential::Password(&secret) };
            accounts
                .set_role(&a.name, a.role, a.site_id.as_deref(), by, now())
                .map_err(|e| refused(&a.by, &e))?;
            say(global, &*store, &a.name, None)
        }
        Command::Disable(a) | Command::Enable(a) => {
            let secret = password(own, PASSWORD, &a.by)?;
            let by = By { name: &a.by, credential: Credential::Password(&secret) };
            let disabled = matches!(command, Command::Disable(_));
            accounts.set_disabled(&a.name, disabled, by, now()).map_err(|e| refused(&a.by, &e))?;
            say(global, &*store, &a.name, None)
        }
        Command::Reset(a) => {
            let initial = initial(own)?;
            let Some(name) = a.by.by.as_deref() else {
                let hint = "--by NAME, an administrator";
                return Err(Failure::new(exit::USAGE, "nobody resets an account in nobody's name", hint));
            };
            let secret = administrator(&a.by, name)?;
            let by = By { name, credential: Credential::Password(&secret) };
            let shown =
                accounts.reset(&a.name, initial.as_ref(), by, now()).map_err(|e| refused(name, &e))?;
            say(global, &*store, &a.name, shown.as_ref())
        }
        Command::Password(a) => {
            let old = password(own, PASSWORD, &a.name)?;
            let new = chosen(a)?;
            accounts.change_password(&a.name, &old, &new, now()).map_err(|e| refused(&a.name, &e))?;
            say(global, &*store, &a.name, None)
        }
    }
}

fn initial(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    file.map(|file| password(Some(file), PASSWORD, "")).transpose()
}

fn administrator(by: &Administrator, name: &str) -> Result<Secret, Failure> {
    password(by.by_password_file.as_deref(), PASSWORD, name)
}

/// The new password. What is typed unseen is typed twice.
fn chosen(a: &PasswordArguments) -> Result<Secret, Failure> {
    let given = a.new_password_file.is_some() || std::env::var_os(NEW_PASSWORD).is_some();
    let what = format!("{} from now on", a.name);
    let new = password(a.new_password_file.as_deref(), NEW_PASSWORD, &what)?;
    if !given && password(None, NEW_PASSWORD, &format!("{what}, again"))?.expose() != new.expose() {
        return Err(Failure::new(exit::USAGE, "the two were not the same; nothing was changed", ""));
    }
    Ok(new)
}

fn say(global: &Global, store: &dyn Store, name: &str, initial: Option<&Secret>) -> Outcome {
    let account = store.account(name)?.ok_or_else(|| Failure::problem("the account is not there"))?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(table(&HEADER, &[row(&account)]).trim_end())?;
        if let Some(initial) = initial {
            out.line(&format!("initial password, shown this once: {}", initial.expose()))?;
            out.line(&format!("it opens nothing but its own change: trialbridge user password {name}"))?;
        }
    } else {
        let mut value = shown(&account);
        if let Some(initial) = initial {
            value["initialPassword"] = initial.expose().into();
        }
        out.json(&value)?;
    }
    out.finish()?;
    Ok(0)
}

const HEADER: [&str; 6] = ["name", "printed name", "role", "site", "from", "state"];

fn row(a: &Account) -> Vec<String> {
    let state = match (a.disabled, a.must_change, a.failures) {
        (true, ..) => "disabled".to_owned(),
        (_, true, _) => "initial password".to_owned(),
        (_, _, 0) => "enabled".to_owned(),
        (_, _, n) => format!("enabled, {n} failed attempts"),
    };
    vec![
        a.name.clone(),
        a.printed_name.clone(),
        a.role.name().to_owned(),
        a.site.clone().unwrap_or_default(),
        a.origin.word().to_owned(),
        state,
    ]
}

fn shown(a: &Account) -> Value {
    json!({
        "schema": "trialbridge/user/v1", "name": a.name, "printedName": a.printed_name, "role": a.role,
        "site": a.site, "from": a.origin.word(), "disabled": a.disabled,
        "mustChange": a.must_change, "failures": a.failures, "created": a.created_at, "changed": a.changed_at
    })
}

fn list(global: &Global, shell: &Shell) -> Outcome {
    let all = shell.look()?.accounts()?;
    let mut out = Out::new();
    match global.output() {
        Output::Table if all.is_empty() => {
            out.line("no accounts: names are taken as said. trialbridge user add NAME --role administrator")?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            out.line(table(&HEADER, &rows).trim_end())?;
        }
        Output::Json => out.json(&all.iter().map(shown).collect::<Vec<_>>())?,
        Output::Ndjson => all.iter().try_for_each(|a| out.json(&shown(a)))?,
    }
    out.finish()?;
    Ok(0)
}
