//! The command line; all work is the library's.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use trialbridge::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(&Cli::parse())
}
