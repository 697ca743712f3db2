//! One file a command. Data go to standard output, everything else to standard error.

pub mod allocation;
pub mod attest;
pub mod audit;
mod audit_text;
pub mod check;
pub mod definition;
pub mod demo;
pub mod deviation;
pub mod doctor;
pub mod files;
pub mod funnel;
pub mod hl7;
pub mod identity;
pub mod inbound;
pub mod init;
pub mod operations;
pub mod output;
pub mod pull;
pub mod randomize;
pub mod score;
pub mod screen;
pub mod serve;
pub mod sheet;
pub mod shell;
pub mod sign;
pub mod sub;
pub mod subjects;
pub mod trial;
pub mod unblind;
pub mod user;
mod whole;
pub mod writeback;

use crate::config::{Config, ConfigError};
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a command stopped, with the exit code that says so to a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    pub hint: String,
}

/// The stable exit codes.
pub mod exit {
    pub const PROBLEMS: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const CONFIG: u8 = 10;
    pub const UNREACHABLE: u8 = 11;
    pub const REFUSED: u8 = 12;
    pub const PARTIAL: u8 = 13;
    pub const LOCKED: u8 = 15;
    pub const UNVERIFIED: u8 = 16;
    pub const NOT_PERMITTED: u8 = 17;
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: hint.into() }
    }
    pub fn problem(message: impl Into<String>) -> Failure {
        Failure::new(exit::PROBLEMS, message, "")
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(exit::CONFIG, error.to_string(), "`trialbridge check` shows every finding with its line")
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::problem(error.to_string())
    }
}

/// What a command that ran came to.
pub type Outcome = Result<u8, Failure>;

#[derive(Parser, Debug)]
#[command(name = "trialbridge", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// Configuration file; else TRIALBRIDGE_CONFIG, else /etc/trialbridge/trialbridge.toml
    #[arg(long, global = true, value_name = "FILE", env = "TRIALBRIDGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the store lives
    #[arg(long, global = true, value_name = "DIR", env = "TRIALBRIDGE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folder of the trial definition; default: the shipped NCT06242405
    #[arg(long, global = true, value_name = "DIR", env = "TRIALBRIDGE_TRIAL")]
    pub trial: Option<PathBuf>,
    /// What the hospital sends differently: its systems, codes, units, complete feeds
    #[arg(long, global = true, value_name = "FILE", env = "TRIALBRIDGE_SITE")]
    pub site: Option<PathBuf>,
    /// Default: a table on a terminal, NDJSON elsewhere
    #[arg(short, long, global = true, value_enum, env = "TRIALBRIDGE_OUTPUT")]
    pub output: Option<Output>,
    /// Say nothing but errors
    #[arg(short, long, global = true, env = "TRIALBRIDGE_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, env = "TRIALBRIDGE_VERBOSE")]
    pub verbose: u8,
    /// No progress bar
    #[arg(long, global = true, env = "TRIALBRIDGE_NO_PROGRESS", value_parser = FalseyValueParser::new())]
    pub no_progress: bool,
    /// The password of whoever signs, mode 0600; else TRIALBRIDGE_PASSWORD, else it is asked for
    #[arg(long, global = true, value_name = "FILE", env = "TRIALBRIDGE_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, env = "TRIALBRIDGE_COLOR")]
    pub color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// The whole path on a synthetic hospital inside this process
    Demo(demo::Arguments),
    /// Only the synthetic hospital server
    Sandbox(serve::SandboxArguments),
    /// Write a commented configuration
    Init(init::Arguments),
    /// Check configuration, trial, mappings and connections; print every finding
    Check(check::Arguments),
    /// One pull from the configured FHIR server
    Pull(pull::Arguments),
    /// Files of FHIR into the store
    Import(pull::ImportArguments),
    /// Scheduler, pages and operations port
    Serve,
    /// Screen FHIR files without any store
    Screen(screen::Arguments),
    /// Whom the trial could enrol and what stops the others: counts by criterion, and a chart
    Funnel(funnel::Arguments),
    /// Compute the scores of named variables, one NDJSON line each
    Score(score::Arguments),
    /// The stored subjects with their decisions
    Subjects(subjects::SubjectsArguments),
    /// One subject: all criteria, evidence, and what is missing
    Explain(subjects::ExplainArguments),
    /// Record a judgement that only a person can make
    Attest(attest::Arguments),
    /// Record or withdraw a consent
    #[command(subcommand)]
    Consent(attest::ConsentCommand),
    /// Whom the data leave open to be one person or two
    #[command(subcommand)]
    Identity(identity::Command),
    /// What changed behind an allocation after it was made
    #[command(subcommand)]
    Deviation(deviation::Command),
    /// The sealed allocation list
    #[command(subcommand)]
    Allocation(allocation::Command),
    /// Allocate one subject, once
    Randomize(randomize::Arguments),
    /// Tell the arm of one participant against the masking; signed, and shown wherever the participant is
    Unblind(unblind::Arguments),
    /// The trial definition that is in force
    #[command(subcommand)]
    Definition(definition::Command),
    /// Make the hospital's resources agree with the committed rows
    Writeback(writeback::Arguments),
    /// What could not be used
    #[command(subcommand)]
    Quarantine(operations::QuarantineCommand),
    /// FHIR Subscriptions that we hold at the hospital's server
    #[command(subcommand)]
    Sub(sub::Command),
    /// Find what is wrong with this installation, while `serve` runs or not
    Doctor(doctor::Arguments),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Who may work here, as what, and how they prove it
    #[command(subcommand)]
    User(user::Command),
    /// Send HL7 v2 messages over MLLP, or listen for them: to try a connection
    #[command(subcommand)]
    Hl7(hl7::Command),
    /// Prove the store: integrity, hashes, one slot a participant, audit chain
    Verify,
    /// Work everything out again from the inbox
    Replay(operations::ReplayArguments),
    /// Copy the store while it runs
    Backup(operations::BackupArguments),
}

impl Global {
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref(), std::env::vars())?;
        if let Some(dir) = &self.data_dir {
            config.data_dir = dir.clone();
        }
        if let Some(dir) = &self.trial {
            config.trial = Some(dir.clone());
        }
        if let Some(file) = &self.site {
            config.site = Some(file.clone());
        }
        Ok(config)
    }

    /// The output form: as asked, else by where the output goes.
    pub fn output(&self) -> Output {
        use std::io::IsTerminal;
        self.output.unwrap_or(if std::io::stdout().is_terminal() { Output::Table } else { Output::Ndjson })
    }

    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

/// Runs one command and says what went wrong.
pub fn run(cli: &Cli) -> ExitCode {
    shell::logging(&cli.global);
    crate::pipeline::poison::install_hook();
    let global = &cli.global;
    let result = match &cli.command {
        Command::Demo(a) => demo::run(global, a),
        Command::Sandbox(a) => serve::sandbox(global, a),
        Command::Init(a) => init::run(global, a),
        Command::Check(a) => check::run(global, a),
        Command::Pull(a) => pull::run(global, a),
        Command::Import(a) => pull::import(global, a),
        Command::Serve => serve::run(global),
        Command::Screen(a) => screen::run(global, a),
        Command::Funnel(a) => funnel::run(global, a),
        Command::Score(a) => score::run(global, a),
        Command::Subjects(a) => subjects::run(global, a),
        Command::Explain(a) => subjects::explain(global, a),
        Command::Attest(a) => attest::run(global, a),
        Command::Consent(c) => attest::consent(global, c),
        Command::Identity(c) => identity::run(global, c),
        Command::Deviation(c) => deviation::run(global, c),
        Command::Allocation(c) => allocation::run(global, c),
        Command::Randomize(a) => randomize::run(global, a),
        Command::Unblind(a) => unblind::run(global, a),
        Command::Definition(c) => definition::run(global, c),
        Command::Writeback(a) => writeback::run(global, a),
        Command::Quarantine(c) => operations::quarantine(global, c),
        Command::Sub(c) => sub::run(global, c),
        Command::Doctor(a) => doctor::run(global, a),
        Command::Audit(c) => audit::run(global, c),
        Command::User(c) => user::run(global, c),
        Command::Hl7(c) => hl7::run(global, c),
        Command::Verify => operations::verify(global),
        Command::Replay(a) => operations::replay(global, a),
        Command::Backup(a) => operations::backup(global, a),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        // The reader of our output has gone: nothing is wrong.
        Err(failure) if failure.message == output::CLOSED => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            if !failure.hint.is_empty() {
                eprintln!("\nhint: {}", failure.hint);
            }
            ExitCode::from(failure.code)
        }
    }
}
