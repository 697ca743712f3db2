//! `hl7`: sends HL7 v2 messages to a receiver and listens for what a sender sends, to try a connection.
//!
//! Stores nothing and needs no configuration. What identifies a person is not printed unless asked for.

mod generate;
mod listen;
mod send;
mod tls;
mod wire;

use super::{Global, Outcome};
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Send messages over MLLP and print the answers
    Send(send::Arguments),
    /// A test receiver: prints what comes, acknowledges it, stores nothing
    Listen(listen::Arguments),
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    match command {
        Command::Send(arguments) => send::run(global, arguments),
        Command::Listen(arguments) => listen::run(global, arguments),
    }
}
