//! Networks that answer with a path, from their recipes to a lap.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::{pilotage, printed};

#[path = "../../crates/compiler/tests/paths/networks.rs"]
mod networks;

use networks::{crop, write};

/// The width of the simulated camera's frames.
const WIDTH: usize = 640;

/// Writes a network, its recipe and a car that drives with it.
fn prepare(folder: &Path, kind: &str, precision: &str) {
    write(folder, WIDTH, kind, precision);
    fs::write(
        folder.join("car.toml"),
        "[engine]\nfile = \"path.engine\"\n",
    )
    .unwrap();
}

fn run(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    printed(pilotage(folder, arguments))
}

/// Frames of the simulated camera, of a lap that the shipped network drives.
fn record(folder: &Path) {
    let drive = ["drive", "--pace=fast", "--latency=10", "--record=frames"];
    run(folder, &drive).unwrap();
}

const DRIVE: [&str; 5] = [
    "drive",
    "--car=car.toml",
    "--pace=fast",
    "--latency=10",
    "--json",
];

#[test]
fn a_network_that_answers_with_a_mask_drives_a_lap() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    record(folder);
    prepare(folder, "mask", "int8");
    let out = run(folder, &["compile", "path.toml"]).unwrap();
    assert!(out.contains("curvature") && out.contains("mask"), "{out}");
    let shown = run(folder, &["inspect", "path.engine"]).unwrap();
    assert!(shown.contains("mask path 80x30, 1.2 m ahead"), "{shown}");
    assert!(shown.contains("constant 3"), "{shown}");
    let report: Value = serde_json::from_str(&run(folder, &DRIVE).unwrap()).unwrap();
    assert_eq!(report["completed"], true, "{report}");
    // Answers can be compared with a drive, as those of other engines.
    let replay = [
        "replay",
        "frames",
        "--engine=path.engine",
        "--json",
        "--car=car.toml",
    ];
    let replayed = run(folder, &replay).unwrap();
    assert!(replayed.contains("steering"), "{replayed}");
}

#[test]
fn a_car_that_sees_no_path_stops() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    prepare(folder, "mask", "fp32");
    let recipe = fs::read_to_string(folder.join("path.toml")).unwrap();
    let (recipe, _) = recipe.split_once("[calibration]").unwrap();
    // No pixel is as red as this.
    let blind = recipe.replace("threshold = 0.5", "threshold = 2.0");
    fs::write(folder.join("path.toml"), blind).unwrap();
    run(folder, &["compile", "path.toml"]).unwrap();
    let stopped = run(folder, &DRIVE).unwrap_err();
    assert!(stopped.contains("the network sees no path"), "{stopped}");
}

#[test]
fn a_decoder_that_finds_no_path_on_the_frames_is_refused() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    super::frames(folder, 20);
    prepare(folder, "mask", "fp32");
    let recipe = fs::read_to_string(folder.join("path.toml")).unwrap();
    let cropped = recipe.replace(
        &crop(WIDTH),
        "crop = { x = 0, y = 20, width = 160, height = 40 }",
    );
    let camera = cropped.replace("width = 640, height = 480", "width = 200, height = 66");
    let camera = camera.replace("forward", "pitch = 0.5, forward");
    let blind = camera.replace("threshold = 0.5", "threshold = 2.0");
    fs::write(folder.join("path.toml"), blind).unwrap();
    let refused = run(folder, &["compile", "path.toml"]).unwrap_err();
    assert!(refused.contains("finds no path"), "{refused}");
    assert!(refused.contains("its mask is empty"), "{refused}");
}
