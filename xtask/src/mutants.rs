//! Mutation testing of the guard: its tests have to detect every planted fault.

use std::env;

use anyhow::{Context, Result};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};

/// Runs the tests in their own PID and mount namespaces. A faulty guard may kill any process that
/// it sees and write records of other guards in /run. In the namespaces it sees neither other
/// processes nor the host's /run.
const ISOLATED: &str = "unshare --pid --fork --mount --mount-proc --kill-child sh -c";
const OWN_RUN: &str = r#"mount -t tmpfs none /run && exec "$@""#;

/// Returns true when every planted fault was detected. `.cargo/mutants.toml` configures what is
/// excluded, with the reasons, and how the tests run.
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
        .arg("--package=pilotage-guard-policy")
        .arg("--package=pilotage-linux")
        .arg("--dir")
        .path(checkout.root())
        .arg("--output")
        .path(&checkout.root().join("target"))
        .arg("--colors=never");
    for argument in arguments {
        mutants = mutants.arg(argument.clone());
    }
    let isolated = Invocation::new(ISOLATED).arg(OWN_RUN).arg("sh");
    if isolated.clone().arg("true").answer().is_some() {
        mutants = mutants.under(isolated);
    }
    mutants.succeeds()
}
