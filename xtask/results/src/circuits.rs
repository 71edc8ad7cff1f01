//! The circuits that are driven.

use std::fs;

use anyhow::{Context, Result};
use tooling::checkout::Checkout;

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

#[cfg(test)]
mod tests {
    #[test]
    fn unseen_circuits_are_those_of_the_simulator() {
        assert_eq!(super::UNSEEN, pilotage_simulator::Circuit::UNSEEN);
    }
}
