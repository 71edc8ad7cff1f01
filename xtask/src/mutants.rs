//! Mutation testing of the guard: every fault planted in it has to be noticed.

use std::env;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::invocation::Invocation;
use crate::requirements::{self, Requirement};

/// A faulty guard may kill any process that it sees, and write what other guards read in
/// /run: it sees neither others' processes nor their /run.
const APART: &str = "unshare --pid --fork --mount --mount-proc --kill-child sh -c";
const OWN_RUN: &str = r#"mount -t tmpfs none /run && exec "$@""#;

/// True when every planted fault was noticed. What is left out, and why, and how the tests
/// are run, is in `.cargo/mutants.toml`.
pub fn run(checkout: &Checkout, install: bool, arguments: &[String]) -> Result<bool> {
    let required = [Requirement::Mutants, Requirement::Nextest];
    requirements::ensure(checkout, &required, install)?;
    let tools = checkout.tools().join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools].into_iter().chain(env::split_paths(&path)))
        .context("target/tools cannot be added to PATH")?;
    let mut mutants = requirements::mutants(checkout)?
        .env("PATH", path)
        .arg("--package=pilotage-guard")
        .arg("--dir")
        .path(checkout.root())
        .arg("--output")
        .path(&checkout.root().join("target"))
        .arg("--colors=never");
    for argument in arguments {
        mutants = mutants.arg(argument.clone());
    }
    let apart = Invocation::new(APART).arg(OWN_RUN).arg("sh");
    if apart.clone().arg("true").answer().is_some() {
        mutants = mutants.under(apart);
    }
    mutants.succeeds()
}
