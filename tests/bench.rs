//! `pilotage bench` from the command line. Durations are never asserted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::process::{Command, Output, Stdio};

use pilotage_engine::InstructionSet;
use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn measured(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let message = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?}: {error}: {message}")
    })
}

/// The message of a command that must measure nothing.
fn refusal(arguments: &[&str]) -> String {
    let output = bench(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// The number at `path`, a list of names separated by dots.
fn number(of: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(of, |of, name| &of[name]);
    found.as_f64().unwrap_or_else(|| panic!("{path}: {found}"))
}

/// Checks that the percentiles rise.
fn ordered(times: &Value) {
    let names = [
        "fastest_us",
        "p50_us",
        "p90_us",
        "p99_us",
        "p999_us",
        "max_us",
    ];
    let values = names.map(|name| number(times, name));
    assert!(values[0] > 0.0 && values.is_sorted(), "{times}");
}

#[test]
fn the_numbers_agree_with_each_other() {
    let measured = measured(&["pilotnet", "--count", "60"]);
    assert_eq!(measured["engine"]["name"], "pilotnet");
    assert_eq!(measured["inputs"]["source"], "frames");
    assert_eq!(measured["inputs"]["frames"], 64);
    assert_eq!(measured["options"]["count"], 60);
    assert_eq!(measured["options"]["threads"], 1);
    let set = InstructionSet::best();
    assert_eq!(measured["options"]["instruction_set"], set.name());
    assert_eq!(measured["machine"]["instruction_sets"][0], set.name());
    assert_eq!(measured["inference"]["count"], 60);
    ordered(&measured["inference"]);
    ordered(&measured["counting"]);
    assert_eq!(measured["counting"]["count"], 60);
    assert!(number(&measured, "seconds") * 1e6 >= 60.0 * number(&measured, "inference.fastest_us"));

    let layers = measured["layers"].as_array().unwrap();
    let sum = |name: &str| -> f64 { layers.iter().map(|layer| number(layer, name)).sum() };
    for name in ["multiply_adds", "weight_bytes", "fastest_us", "median_us"] {
        let total = number(&measured["total"], name);
        assert!((sum(name) - total).abs() <= 1e-9 * total, "{name}");
    }
    assert!((sum("share") - 1.0).abs() < 1e-9);
    for layer in layers {
        let (fastest, median) = (number(layer, "fastest_us"), number(layer, "median_us"));
        assert!(fastest <= median, "{layer}");
    }
    let fc1 = layers.iter().find(|layer| layer["name"] == "fc1").unwrap();
    assert_eq!(fc1["multiply_adds"], 1152 * 1164);
    let gmacs = 1152.0 * 1164.0 / number(fc1, "fastest_us") * 1e-3;
    assert!((number(fc1, "gmacs") - gmacs).abs() < 1e-6 * gmacs);
    if set != InstructionSet::Scalar {
        let peak = number(
            &measured["limits"]["arithmetic"][0],
            "multiply_adds_per_second",
        );
        assert!((number(fc1, "of_peak") - gmacs * 1e9 / peak).abs() < 1e-6);
        let speed = number(&measured["limits"]["reading"][0], "bytes_per_second");
        let bound = (1152.0 * 1164.0 / peak).max(1152.0 * 1164.0 / speed) * 1e6;
        assert!((number(fc1, "bound_us") - bound).abs() < 1e-6 * bound);
    }

    let vision = &measured["vision"];
    assert_eq!(vision["frame"], serde_json::json!([640, 480]));
    assert_eq!(vision["input"], serde_json::json!([200, 66]));
    ordered(&vision["times"]);
}

#[test]
fn every_instruction_set_here_and_several_threads_are_measured() {
    for set in InstructionSet::available() {
        let measured = measured(&["--count", "3", "--instruction-set", set.name()]);
        assert_eq!(measured["options"]["instruction_set"], set.name());
        let description = measured["engine"]["description"].as_str().unwrap();
        assert!(description.contains(&set.to_string()), "{description}");
        let bound = &measured["total"]["bound_us"];
        assert_eq!(bound.is_null(), set == InstructionSet::Scalar, "{set}");
    }
    let measured = measured(&["--seconds", "0.05", "--threads", "2"]);
    assert_eq!(measured["options"]["threads"], 2);
    assert!(measured["options"]["count"].is_null());
    assert!(number(&measured, "inference.count") >= 1.0);
    let peaks = measured["limits"]["arithmetic"].as_array().unwrap();
    let threads: Vec<_> = peaks.iter().map(|peak| &peak["threads"]).collect();
    assert_eq!(threads, [1, 2]);
}

#[test]
fn the_table_names_every_layer_and_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.engine");
    fs::write(&file, small_engine()).unwrap();
    let output = bench(&[file.to_str().unwrap(), "--count", "20"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "machine  ",
        "small, fp32, on the CPU",
        "noise: no frames travel in the engine",
        "GB/s when 0.00 MB of weights are read",
        "\ndense  fully connected  fp32",
        "1x4",
        "\ncurve  activation",
        "\ntotal ",
        "99.9 %",
        "\ninference ",
        "\na loop that only counts ",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
    // Its input is not a camera's picture.
    assert!(!text.contains("vision"), "{text}");
}

/// A fully connected layer and an activation.
fn small_engine() -> Vec<u8> {
    use pilotage_engine::conformance::PlanBuilder;
    use pilotage_engine::plan::{Activation, Operation};
    let mut builder = PlanBuilder::default();
    let x = builder.input_f32(&[1, 3]);
    let weights = builder.weights(&[4, 3], 1.0);
    let dense = Operation::FullyConnected {
        weights,
        bias: None,
        activation: Activation::None,
    };
    let y = builder.step(dense, &[x], &[1, 4]);
    let curve = Operation::Unary {
        activation: Activation::Tanh,
    };
    let z = builder.step(curve, &[y], &[1, 4]);
    let mut plan = builder.finish(&[z]);
    plan.steps[0].name = "dense".into();
    plan.steps[1].name = "curve".into();
    let bytes = pilotage::engines::compiled_in("pilotnet").unwrap();
    let mut bundle = pilotage_engine::Bundle::read(bytes).unwrap();
    bundle.manifest.name = "small".into();
    bundle.manifest.precision = "fp32".into();
    bundle.plan = plan;
    bundle.sections.clear();
    bundle.write().unwrap()
}

#[test]
fn the_picture_is_a_png_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("times.png");
    let output = bench(&["--count", "50", "--picture", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let picture = image::open(file).unwrap();
    assert_eq!((picture.width(), picture.height()), (1600, 900));
}

#[test]
fn invalid_measurements_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.engine");
    fs::write(&file, b"GIF89a, and then some").unwrap();
    let message = refusal(&[file.to_str().unwrap()]);
    assert!(message.contains("not an engine file"), "{message}");
    let here = InstructionSet::best().name();
    for (arguments, expected) in [
        (&["nothing.engine"][..], "nothing.engine"),
        (&["pilotnt"], "did you mean `pilotnet`?"),
        (&["--count", "0"], "must be 1 to"),
        (&["--count", "many"], "not a whole number"),
        (&["--seconds", "0"], "must be 0.001 to"),
        (&["--seconds", "nan"], "must be 0.001 to"),
        (&["--count", "5", "--seconds", "1"], "cannot be used with"),
        (&["--threads", "0"], "ask for 1 to 64"),
        (&["--threads", "65"], "ask for 1 to 64"),
        (&["--instruction-set", "mmx"], here),
        (&["--picture", "/nowhere/times.png"], "/nowhere/times.png"),
    ] {
        let message = refusal(arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    for set in InstructionSet::ALL {
        if !set.is_available() {
            let message = refusal(&["--instruction-set", set.name()]);
            assert!(message.contains(&set.to_string()), "{message}");
            assert!(message.contains(here), "{message}");
        }
    }
}
