//! Mutation testing of the guard: every bug planted in it has to be noticed.

use anyhow::Result;

use crate::checkout::Checkout;
use crate::requirements::{self, Requirement};

/// True when no planted bug went unnoticed. What is left out, and why, is in
/// `.cargo/mutants.toml`.
pub fn run(checkout: &Checkout, install: bool, arguments: &[String]) -> Result<bool> {
    requirements::ensure(checkout, &[Requirement::Mutants], install)?;
    let mut mutants = requirements::mutants(checkout)?
        .arg("--package=pilotage-guard")
        .arg("--dir")
        .path(checkout.root())
        .arg("--output")
        .path(&checkout.root().join("target"))
        .arg("--colors=never");
    for argument in arguments {
        mutants = mutants.arg(argument.clone());
    }
    mutants.succeeds()
}
