//! A network with a memory, from its recipe to a lap.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{pilotage, printed};

#[path = "../support/memory.rs"]
mod network;

#[test]
fn a_network_with_a_memory_drives_a_lap() {
    let folder = TempDir::new().unwrap();
    network::write(
        concat!(env!("CARGO_MANIFEST_DIR"), "/engines"),
        folder.path(),
    );
    let run = |arguments: &[&str]| printed(pilotage(folder.path(), arguments));
    let out = run(&["compile", "memory.toml"]).unwrap();
    assert!(out.starts_with("memory.engine: int8, "), "{out}");
    let shown = run(&["inspect", "memory.engine"]).unwrap();
    for rule in [
        "2 pictures",
        "h from filtered, starts at 0.5",
        "latest from the latest speed, yaw_rate",
        "after a missed frame reset",
    ] {
        assert!(shown.contains(rule), "{rule}: {shown}");
    }

    fs::write(
        folder.path().join("car.toml"),
        "[engine]\nfile = \"memory.engine\"\n",
    )
    .unwrap();
    run(&["check", "car.toml"]).unwrap();
    let drive = [
        "drive",
        "--car=car.toml",
        "--pace=fast",
        "--latency=10",
        "--json",
    ];
    let report: Value = serde_json::from_str(&run(&drive).unwrap()).unwrap();
    assert_eq!(report["completed"], true, "{report}");

    // What it steers by is not in one picture.
    let film = ["film", "frames", "a.gif", "--engine=memory.engine"];
    let frames = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/frames");
    let refused = run(&[film[0], frames, film[2], film[3]]).unwrap_err();
    assert!(refused.contains("gets more than one picture"), "{refused}");

    // Without a frame its memory is not valid, if the recipe says so. What was measured is reused.
    let recipe = fs::read_to_string(folder.path().join("memory.toml")).unwrap();
    let recipe = recipe.replace("\"reset\"", "\"stop\"");
    fs::write(folder.path().join("memory.toml"), recipe).unwrap();
    run(&["compile", "memory.toml"]).unwrap();
    let drive = [
        "drive",
        "--car=car.toml",
        "--pace=fast",
        "--latency=10",
        "--drop-frames=0.02",
    ];
    let stopped = run(&drive).unwrap_err();
    assert!(stopped.contains("frame(s) were missed"), "{stopped}");
    assert!(stopped.contains("memory.after_gap"), "{stopped}");
}
