//! `pilotage compile` from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The folder of the shipped model, its recipe and its frames.
const ENGINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/engines");

fn pilotage(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The program's standard output, or its standard error if it failed.
fn printed(output: Output) -> Result<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

fn model() -> String {
    format!("{ENGINES}/pilotnet.onnx")
}

/// Copies the first `count` of the shipped frames.
fn frames(folder: &Path, count: usize) {
    let frames = folder.join("frames");
    fs::create_dir(&frames).unwrap();
    for i in 0..count {
        let name = format!("{i:03}.jpg");
        fs::copy(format!("{ENGINES}/frames/{name}"), frames.join(name)).unwrap();
    }
}

#[test]
fn a_model_becomes_an_engine_that_a_car_takes() {
    let folder = TempDir::new().unwrap();
    let model = model();
    let meanings = ["--outputs", "speed,yaw_rate", "--save-recipe", "my.toml"];
    let arguments = [&["compile", &model][..], &meanings, &["-o", "my.engine"]].concat();
    let out = printed(pilotage(folder.path(), &arguments)).unwrap();
    assert!(out.starts_with("my.engine: fp32, "), "{out}");
    assert!(out.contains("Not held against the model"), "{out}");

    fs::write(
        folder.path().join("car.toml"),
        "[engine]\nfile = \"my.engine\"\n",
    )
    .unwrap();
    printed(pilotage(folder.path(), &["check", "car.toml"])).unwrap();
    // The saved recipe makes the same engine.
    let engine = || fs::read(folder.path().join("my.engine")).unwrap();
    let first = engine();
    printed(pilotage(folder.path(), &["compile", "my.toml"])).unwrap();
    assert!(first == engine());
}

#[test]
fn frames_make_an_int8_engine_and_its_error_is_reported() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 45);
    let arguments = [
        "compile",
        &model(),
        "--outputs=speed,yaw_rate",
        "--calibration=frames",
        "--method=percentile",
        "--report",
        "--report-picture=layers.png",
        "--export=for others",
    ];
    let output = pilotage(folder.path(), &arguments);
    let warned = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(warned.contains("only 45 pictures"), "{warned}");
    let out = printed(output).unwrap();
    for expected in [
        "int8, ",
        "CPU plan",
        "QDQ model",
        "bias correction",
        "conv1",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let picture = image::open(folder.path().join("layers.png")).unwrap();
    assert_eq!(picture.width(), 1600);
    let qdq = fs::read(folder.path().join("for others/pilotnet.qdq.onnx")).unwrap();
    assert!(qdq.windows(16).any(|w| w == b"DequantizeLinear"));
    let table = folder.path().join("for others/pilotnet.calibration.cache");
    let table = fs::read_to_string(table).unwrap();
    assert!(table.starts_with("TRT-"), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("controls: ")),
        "{table}"
    );

    let json = printed(pilotage(
        folder.path(),
        &["inspect", "--json", "pilotnet.engine"],
    ));
    let json: Value = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(json["precision"], "int8");
    assert_eq!(json["domain"], "simulated");
    assert_eq!(json["calibration"]["method"], "percentile");
    assert_eq!(json["calibration"]["frames"], 40);
    assert_eq!(json["gate"].as_array().unwrap().len(), 4);
}

/// As in `pilotage compile ... --export=folder | head -1`.
#[test]
fn all_files_are_written_when_nothing_reads_the_output() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 45);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(["compile", &model(), "--outputs=speed,yaw_rate"])
        .args(["--calibration=frames", "--export=others"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{complaint}");
    for file in ["pilotnet.qdq.onnx", "pilotnet.calibration.cache"] {
        assert!(folder.path().join("others").join(file).is_file(), "{file}");
    }
}

#[test]
fn nothing_is_written_when_the_gate_fails() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 9);
    let recipe = fs::read_to_string(format!("{ENGINES}/pilotnet.toml")).unwrap();
    let recipe = recipe
        .replace("\"pilotnet.onnx\"", &format!("{:?}", model()))
        .replace("worst = 0.6", "worst = 1e-9");
    fs::write(folder.path().join("strict.toml"), recipe).unwrap();
    fs::write(folder.path().join("strict.engine"), "what was there before").unwrap();
    let complaint = printed(pilotage(folder.path(), &["compile", "strict.toml"])).unwrap_err();
    for expected in ["TOO FAR", "speed", "1.000e-9", "dB", "on_gate_failure"] {
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    }
    let left = fs::read_to_string(folder.path().join("strict.engine")).unwrap();
    assert_eq!(left, "what was there before");
}

#[test]
fn errors_are_reported_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("torn.onnx"), [8, 7, 0xff, 0xff]).unwrap();
    fs::write(folder.path().join("notes.md"), "# not a model").unwrap();
    let model = model();
    let cases: [(&[&str], &str); 7] = [
        (&["torn.onnx", "--outputs=steering"], "torn.onnx: "),
        (&["notes.md"], "neither a recipe (.toml) nor a model"),
        (&["gone.toml"], "gone.toml: cannot be read"),
        (&[&model], "--outputs steering,throttle"),
        (&[&model, "--outputs=steering,gas"], "unknown variant `gas`"),
        (
            &[&model, "--outputs=speed,yaw_rate", "--precision=int8"],
            "[calibration]",
        ),
        (
            &[
                &model,
                "--outputs=speed,yaw_rate",
                "--out=no such folder/my.engine",
            ],
            "cannot be written",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments = [&["compile"], arguments].concat();
        let complaint = printed(pilotage(folder.path(), &arguments)).unwrap_err();
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "something was written after all");
}
