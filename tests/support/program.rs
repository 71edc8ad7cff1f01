//! The program `pilotage`, run to its end.

#![allow(dead_code, reason = "no test uses all of it")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A drive of the simulated car that is faster than the clock and repeats bit for bit.
pub const DRIVE: [&str; 7] = [
    "drive",
    "--json",
    "--no-log",
    "--pace",
    "fast",
    "--latency",
    "10",
];

/// Runs the program without input.
pub fn pilotage(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What it prints as JSON.
pub fn json(arguments: &[&str]) -> Value {
    let output = pilotage(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The message of a command that must fail before it does anything.
pub fn refusal(arguments: &[&str]) -> String {
    let output = pilotage(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The largest error of the two answers of `engine` to a recording.
pub fn replayed(recording: &str, engine: &str) -> f64 {
    let report = json(&["replay", recording, "--engine", engine, "--json"]);
    let engine = report["engines"][0].as_object().unwrap();
    let largest = engine.values().filter_map(|it| it["largest"].as_f64());
    let largest: Vec<f64> = largest.collect();
    assert_eq!(largest.len(), 2, "{report}");
    largest.into_iter().fold(0.0, f64::max)
}
