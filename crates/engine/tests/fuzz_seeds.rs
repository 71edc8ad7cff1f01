//! The seeds of the fuzzers pass all checks and reach the code under test. Without this test a
//! fuzzer whose inputs all fail the first check would go unnoticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure is a panic"
)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// The committed inputs of a target.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let seeds = fs::read_dir(&folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.display().to_string(), fs::read(&path).unwrap())
    });
    seeds.collect()
}

#[test]
fn every_plan_is_run() {
    let seeds = seeds("plan_run");
    assert!(seeds.len() >= 8);
    for (name, seed) in seeds {
        assert!(targets::run(&seed), "{name}");
    }
}

#[test]
fn every_engine_file_is_read() {
    let seeds = seeds("engine_read");
    assert!(seeds.len() >= 4);
    for (name, seed) in seeds {
        let sealed = targets::sealed(&seed).expect(&name);
        assert!(targets::read(&sealed).is_some(), "{name}");
    }
}
