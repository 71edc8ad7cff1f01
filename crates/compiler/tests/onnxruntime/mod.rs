//! ONNX Runtime, in the Python that `cargo xtask test --install` makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// ONNX Runtime's answers, frame after frame; ONNX's own checker has looked at the model.
pub fn answers(model: &[u8], frames: &[&[u8]]) -> Vec<f32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join("../../target/python/bin/python"),
    };
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("model.onnx"), model).unwrap();
    fs::write(place("frames"), frames.concat()).unwrap();
    let status = Command::new(&python)
        .arg(root.join("tests/onnxruntime_answers.py"))
        .args([place("model.onnx"), place("frames"), place("answers")])
        .status()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask test --install` puts ONNX Runtime there",
                python.display()
            )
        });
    assert!(status.success());
    let answers = fs::read(place("answers")).unwrap();
    let words = answers.as_chunks::<4>().0.iter();
    words.map(|&word| f32::from_le_bytes(word)).collect()
}
