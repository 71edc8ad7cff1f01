//! Runs ONNX Runtime, in the Python environment that `cargo xtask test --install` creates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// ONNX Runtime's outputs, frame after frame. ONNX's checker validates the model first.
pub fn answers(model: &[u8], frames: &[&[u8]]) -> Vec<f32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join("../../target/python/bin/python"),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("model.onnx"), model).unwrap();
    fs::write(file("frames"), frames.concat()).unwrap();
    let status = Command::new(&python)
        .arg(root.join("tests/onnxruntime_answers.py"))
        .args([file("model.onnx"), file("frames"), file("answers")])
        .status()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask test --install` puts ONNX Runtime there",
                python.display()
            )
        });
    assert!(status.success());
    let answers = fs::read(file("answers")).unwrap();
    let words = answers.as_chunks::<4>().0.iter();
    words.map(|&word| f32::from_le_bytes(word)).collect()
}
