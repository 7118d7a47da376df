//! `tidegate replay`.

use std::path::PathBuf;

use clap::Args;

pub(super) const HELP: &str = "\
Examples:
  tidegate replay tidegate-state/records/shop/01KAM4Z7J8T0YQ6W3V5X9B2C1D.jsonl
  tidegate replay record.jsonl --gates stricter.yaml
  tidegate replay - --json < record.jsonl

The file of --gates has the keys of a plan, like gates: [{ errors: { limit: 1% } }].
Exits 0 when judged, 10 when these gates would have rolled back, 1 when the record cannot be read.";

/// `tidegate replay`.
#[derive(Debug, Clone, Args)]
pub struct Replay {
    /// The record; - reads standard input
    #[arg(value_name = "FILE")]
    pub record: PathBuf,
    /// Judge by these gates instead of the record's own: a file with the keys of a plan
    #[arg(long, value_name = "FILE")]
    pub gates: Option<PathBuf>,
    /// Print the evidence of every test after each line, as JSON lines
    #[arg(long)]
    pub json: bool,
}
