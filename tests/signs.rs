//! The sign check of `pilotage data show`, with frames of the simulator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn pilotage(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // A drive that ends at its time limit has not done its lap: 1.
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Applies `change` to row, line and fields of data.csv.
fn edit(recording: &Path, change: impl Fn(usize, &mut Vec<String>)) {
    let list = recording.join("data.csv");
    let text = fs::read_to_string(&list).unwrap();
    let (titles, rows) = text.split_once('\n').unwrap();
    let mut edited = format!("{titles}\n");
    for (row, line) in rows.lines().enumerate() {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        change(row, &mut fields);
        writeln!(edited, "{}", fields.join(",")).unwrap();
    }
    fs::write(list, edited).unwrap();
}

fn negated(field: &str) -> String {
    (-field.parse::<f64>().unwrap()).to_string()
}

fn signs(folder: &Path) -> Value {
    let shown = pilotage(&["data", "show", "it", "--json"], folder);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["signs"].clone()
}

fn drive(folder: &Path, circuit: &[&str]) {
    let options = ["--pace", "fast", "--latency", "40", "--time-limit", "30"];
    let record = ["--record", "it"];
    pilotage(
        &[&["drive"], &options[..], &record, circuit].concat(),
        folder,
    );
}

/// The columns of `image_name,v,w,timestamp,steering,throttle`.
const YAW_RATE: usize = 2;
const STEERING: usize = 4;

#[test]
fn signs_are_found_without_walls_and_with() {
    for circuit in [
        &["--circuit", "simple"][..],
        &["--circuit", "walled"],
        &["--seed", "5"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let it = folder.path().join("it");
        drive(folder.path(), circuit);
        let found = signs(folder.path());
        assert_eq!(found["verdict"], "agree", "{circuit:?}: {found}");
        assert!(found["confidence"].as_f64().unwrap() > 0.95, "{found}");
        let votes = |found: &Value, cue: &str| {
            let of = |name: &str| found[cue][name].as_u64().unwrap();
            (of("agreeing"), of("turns"))
        };
        let (lane, motion) = (votes(&found, "lane"), votes(&found, "motion"));

        edit(&it, |_, fields| {
            fields[STEERING] = negated(&fields[STEERING])
        });
        let found = signs(folder.path());
        assert_eq!(found["verdict"], "reversed", "{circuit:?}: {found}");
        assert_eq!(votes(&found, "lane"), (lane.1 - lane.0, lane.1));
        assert_eq!(votes(&found, "motion"), (motion.1 - motion.0, motion.1));
        let shown = pilotage(&["data", "show", "it"], folder.path());
        assert!(shown.contains("signs are REVERSED"), "{shown}");

        // Without a steering the yaw rate is looked at.
        edit(&it, |_, fields| fields[STEERING].clear());
        assert_eq!(signs(folder.path())["verdict"], "agree", "{circuit:?}");
        edit(&it, |_, fields| fields[YAW_RATE].clear());
        assert!(signs(folder.path()).is_null());
    }
}

#[test]
fn a_steering_that_has_nothing_to_do_with_the_pictures_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let it = folder.path().join("it");
    drive(folder.path(), &["--circuit", "simple"]);
    // Straight, left, straight, right, two seconds each.
    edit(&it, |row, fields| {
        fields[STEERING] = [0.0, 0.5, 0.0, -0.5][row / 40 % 4].to_string();
    });
    let found = signs(folder.path());
    assert_eq!(found["verdict"], "cannot-tell", "{found}");
    // A car that only stands or goes straight.
    edit(&it, |_, fields| fields[STEERING] = "0".to_owned());
    let found = signs(folder.path());
    assert_eq!(found["verdict"], "cannot-tell", "{found}");
    assert_eq!(found["confidence"], 0.0);
}
