//! `pilotage doctor` from the command line.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::Command;

fn doctor(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .arg("doctor")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_page_names_every_part_and_the_simulated_car_can_drive() {
    let (status, page, _) = doctor(&[]);
    for part in [
        "engine",
        "processor",
        "system",
        "camera",
        "I2C",
        "gamepad",
        "GPIO",
        "GPU",
        "TensorRT",
        "plans",
    ] {
        let line = page
            .lines()
            .find(|line| line.trim_start().starts_with(part));
        assert!(line.is_some(), "{part}: {page}");
    }
    // The machine may be hot, or its clocks may be low.
    assert!(matches!(status, Some(0 | 1)), "{status:?}: {page}");
    assert!(page.contains("It can drive"), "{page}");
}

#[test]
fn the_findings_are_json_for_programs() {
    let (_, json, _) = doctor(&["--json"]);
    let findings: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &findings.as_array().unwrap()[0];
    assert_eq!(
        (&first["part"], &first["level"]),
        (&"engine".into(), &"fine".into())
    );
    assert!(first["found"].as_str().unwrap().contains("pilotnet"));
}

#[test]
fn a_missing_engine_is_a_problem_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let car = folder.path().join("car.toml");
    std::fs::write(&car, "[engine]\nfile = \"gone.engine\"\n").unwrap();
    let (status, page, _) = doctor(&["--car", car.to_str().unwrap()]);
    assert_eq!(status, Some(2), "{page}");
    assert!(
        page.contains("gone.engine") && page.contains("It cannot drive: 1 problem"),
        "{page}"
    );
    std::fs::write(&car, "[engine]\nnonsense = 1\n").unwrap();
    let (status, _, error) = doctor(&["--car", car.to_str().unwrap()]);
    assert_eq!(status, Some(2));
    assert!(error.contains("nonsense"), "{error}");
}
