//! Tests the program `pilotage-training`: its errors are one line, and nothing is overwritten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage-training"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(
        text.starts_with("error: ") && !text.contains('\n'),
        "{text}"
    );
    text
}

#[test]
fn errors_are_one_line_and_name_each_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let missing = error(&run(folder, &["train", "--data", "none", "--out", "car"]));
    assert_eq!(missing.matches("No such file").count(), 1, "{missing}");
    fs::write(folder.join("it.toml"), "network = \"small\"\nwidth = 3\n").unwrap();
    let recipe = [
        "train", "--data", "none", "--recipe", "it.toml", "--out", "car",
    ];
    let key = error(&run(folder, &recipe));
    assert!(key.contains("it.toml:2: unknown key `width`"), "{key}");
    let same = [
        "train", "--data", "none", "--recipe", "it.toml", "--out", "it", "--force",
    ];
    fs::write(folder.join("it.toml"), "network = \"small\"\n").unwrap();
    let same = error(&run(folder, &same));
    assert!(same.contains("it.toml is the training recipe"), "{same}");
}

#[test]
fn neither_the_shipped_model_nor_another_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("engines")).unwrap();
    let shipped = folder.join("engines/pilotnet.onnx");
    fs::write(&shipped, "the shipped model").unwrap();
    let out = [
        "train",
        "--data",
        "none",
        "--force",
        "--out",
        "engines/pilotnet.onnx",
    ];
    let refused = error(&run(folder, &out));
    assert!(refused.contains("shipped model"), "{refused}");
    let imitate = error(&run(folder, &["imitate", "--data", "none"]));
    assert!(imitate.contains("--data needs --out"), "{imitate}");
    fs::write(folder.join("car.toml"), "settings").unwrap();
    let exists = error(&run(folder, &["train", "--data", "none", "--out", "car"]));
    assert!(exists.contains("car.toml exists"), "{exists}");
    assert_eq!(fs::read(&shipped).unwrap(), b"the shipped model");
    assert_eq!(fs::read(folder.join("car.toml")).unwrap(), b"settings");
}
