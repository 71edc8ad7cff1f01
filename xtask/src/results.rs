//! What the tasks share that drive or measure, and write a page of results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The seeds of random circuits on which no shipped network was trained begin here:
/// `pilotage_simulator::Circuit::UNSEEN`.
pub const UNSEEN: u64 = 1 << 40;

/// The folder of the shipped circuits.
const SHIPPED_FOLDER: &str = "crates/simulator/circuits";

/// The names of the shipped circuits, in the order of the alphabet.
///
/// # Errors
/// When their folder cannot be read.
pub fn shipped_circuits(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.root().join(SHIPPED_FOLDER);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// The day and the commit of this run.
pub fn origin(checkout: &Checkout) -> String {
    let of = |command: &str| {
        let command = Invocation::new(command).within(checkout.root());
        let answer = command.answer().unwrap_or_default();
        answer.trim().to_owned()
    };
    let changed = match of("git status --porcelain --untracked-files=no").as_str() {
        "" => "",
        _ => ", with changes",
    };
    format!(
        "{}, commit {}{changed}",
        of("date +%F"),
        of("git rev-parse --short HEAD")
    )
}

/// The JSON in `file`.
///
/// # Errors
/// When the file cannot be read, or is not JSON.
pub fn read_json(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn unseen_circuits_are_those_of_the_simulator() {
        assert_eq!(super::UNSEEN, pilotage_simulator::Circuit::UNSEEN);
    }
}
