//! Compares the calibration table for trtexec with ONNX Runtime's ranges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage_compiler::{Frames, Recipe, compile};
use pilotage_engine::Bundle;

/// Enough frames to be split. ONNX Runtime runs on the frames that were not held back.
const FRAMES: usize = 18;

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join("../../target/python/bin/python"),
    }
}

/// A line of tensor_ranges.py: name, largest magnitude, scale.
fn parse(line: &str) -> (String, f64, f64) {
    let parts: Vec<&str> = line.split('\t').collect();
    let [name, largest, scale] = parts[..] else {
        panic!("{line}");
    };
    let number = |text: &str| text.parse::<f64>().unwrap();
    (name.to_owned(), number(largest), number(scale))
}

#[test]
fn every_tensor_of_the_file_has_onnxruntimes_range() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The gate is wide: the ranges of minmax are compared, and these pictures are of another world.
    for (name, layout, outputs, gate) in [
        (
            "pytorch",
            "nchw",
            ["index = 0", "index = 1"],
            "gate = { mse = 0.035, worst = 0.4 }",
        ),
        (
            "keras",
            "nhwc",
            ["name = \"Identity:0\"", "name = \"Identity_1:0\""],
            "gate = { mse = 0.035, worst = 0.4 }",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file_in = |name: &str| folder.path().join(name);
        fs::create_dir(file_in("frames")).unwrap();
        for number in 0..FRAMES {
            let file = format!("{number:03}.jpg");
            let shipped = root.join("../../engines/frames").join(&file);
            fs::copy(shipped, file_in("frames").join(file)).unwrap();
        }
        let model = root.join(format!("tests/exports/{name}.onnx"));
        let [first, second] = outputs;
        let text = format!(
            "model = {model:?}\nprecision = \"int8\"\ndomain = \"physical\"\n\
             [input]\nwidth = 200\nheight = 66\nlayout = \"{layout}\"\n\
             [[output]]\n{first}\nmeaning = \"steering\"\n{gate}\n\
             [[output]]\n{second}\nmeaning = \"throttle\"\n{gate}\n\
             [calibration]\nframes = \"frames\"\nmethod = \"minmax\"\n"
        );
        fs::write(file_in("net.toml"), text).unwrap();
        let compiled = compile(&file_in("net.toml")).unwrap_or_else(|error| panic!("{error}"));
        let bundle = Bundle::read(&compiled.bytes).unwrap();
        fs::write(file_in("table"), &bundle.sections["calibration.cache"]).unwrap();

        let (recipe, _) = Recipe::read(&file_in("net.toml")).unwrap();
        let frames = Frames::read(&file_in("frames"), &recipe.input).unwrap();
        fs::write(file_in("pixels"), frames.split().0.concat()).unwrap();
        let python = python();
        let output = Command::new(&python)
            .arg(root.join("tests/tensor_ranges.py"))
            .args([model, file_in("pixels"), file_in("table")])
            .output()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; `cargo xtask test --install` puts ONNX Runtime there",
                    python.display()
                )
            });
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = lines.lines().map(parse).collect();
        assert!(lines.len() > 15, "{lines:?}");
        for (tensor, largest, scale) in lines {
            // False too if either number is missing.
            let near = (scale * 127.0 / largest - 1.0).abs() < 1e-4;
            assert!(near, "{name}: {tensor}: {scale} for {largest}");
        }
    }
}
