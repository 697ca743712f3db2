//! placeholder
use super::{Global, Outcome};
#[derive(clap::Args, Debug)]
pub struct Arguments {}
pub fn run(_: &Global, _: &Arguments) -> Outcome { Ok(0) }
