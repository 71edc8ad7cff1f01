//! Checks that docs/tensorrt.md lists every function of the shim.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

mod real;

use std::collections::BTreeSet;
use std::fs;

#[test]
fn each_function_of_the_shim_is_in_the_table_of_what_has_run() {
    let header = fs::read_to_string(real::checkout("crates/tensorrt/shim/shim.h")).unwrap();
    let functions: BTreeSet<&str> = header
        .split("tensorrt_rs_")
        .filter_map(|text| {
            let name = text
                .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .next()?;
            text[name.len()..].starts_with('(').then_some(name)
        })
        .collect();
    assert!(functions.len() >= 15, "{functions:?}");
    let docs = fs::read_to_string(real::checkout("docs/tensorrt.md")).unwrap();
    let table = docs.split("| of the shim |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| ")?.split(" |").next())
        .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`')))
        .collect();
    let missing: Vec<_> = functions.difference(&documented).collect();
    assert!(
        missing.is_empty(),
        "docs/tensorrt.md does not list {missing:?}"
    );
}
