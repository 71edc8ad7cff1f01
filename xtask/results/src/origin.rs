//! The date and commit of a run, and the JSON of its results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

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
