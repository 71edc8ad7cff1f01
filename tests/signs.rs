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
    let options = ["--pace", "fast", "--latency", "40", "--time-limit", "24"];
    let record = ["--record", "it"];
    pilotage(
        &[&["drive"], &options[..], &record, circuit].concat(),
        folder,
    );
}

/// The columns of `image_name,v,w,timestamp,steering,throttle`.
const YAW_RATE: usize = 2;
const STEERING: usize = 4;

/// Agreeing votes, and turns.
fn votes(found: &Value, cue: &str) -> (u64, u64) {
    let of = |name: &str| found[cue][name].as_u64().unwrap();
    (of("agreeing"), of("turns"))
}

/// Drives, and checks the recording as it is and with its steering negated.
fn both_signs(circuit: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let it = folder.path().join("it");
    drive(folder.path(), circuit);
    let found = signs(folder.path());
    assert_eq!(found["verdict"], "agree", "{found}");
    assert!(found["confidence"].as_f64().unwrap() > 0.95, "{found}");

    edit(&it, |_, fields| {
        fields[STEERING] = negated(&fields[STEERING]);
    });
    let other = signs(folder.path());
    assert_eq!(other["verdict"], "reversed", "{other}");
    for cue in ["lane", "motion"] {
        let (agreeing, turns) = votes(&found, cue);
        assert_eq!(votes(&other, cue), (turns - agreeing, turns), "{cue}");
    }
    folder
}

#[test]
fn signs_are_found_on_the_open_road() {
    both_signs(&["--circuit", "simple"]);
}

#[test]
fn signs_are_found_with_other_looks() {
    both_signs(&["--seed", "7", "--looks", "9", "--kind", "ackermann"]);
}

#[test]
fn signs_are_found_between_walls_and_from_the_yaw_rate() {
    let folder = both_signs(&["--circuit", "walled"]);
    let it = folder.path().join("it");
    let shown = pilotage(&["data", "show", "it"], folder.path());
    assert!(shown.contains("signs are REVERSED"), "{shown}");
    // Without a steering the yaw rate is looked at.
    edit(&it, |_, fields| fields[STEERING].clear());
    assert_eq!(signs(folder.path())["verdict"], "agree");
    edit(&it, |_, fields| fields[YAW_RATE].clear());
    assert!(signs(folder.path()).is_null());
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

/// A number below `most`, by a linear congruential generator (Knuth's MMIX).
fn random(state: &mut u64, most: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % most
}

/// A camera that turns in a room of coloured stripes, which has no lane: a left turn moves them to
/// the right.
#[test]
fn without_a_lane_the_motion_tells() {
    const ROUND: i64 = 1440;
    const WIDTH: u32 = 160;
    let folder = tempfile::tempdir().unwrap();
    let it = folder.path().join("it");
    fs::create_dir(&it).unwrap();
    let mut state = 1;
    let mut stripes = Vec::new();
    while stripes.len() < ROUND as usize {
        let colour = [(); 3].map(|()| random(&mut state, 256) as u8);
        let width = 3 + random(&mut state, 12) as usize;
        stripes.extend(vec![colour; width]);
    }
    let mut list = "image_name,timestamp,steering\n".to_owned();
    let (mut heading, mut index) = (0_i64, 0);
    for turn in 0..24 {
        let left = random(&mut state, 2) == 0;
        for frame in 0..20 + random(&mut state, 20) {
            let steering: i64 = match (turn % 2 == 1 && frame > 3, left) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => -1,
            };
            let picture = image::RgbImage::from_fn(WIDTH, 48, |x, _| {
                let at = (i64::from(x) + heading).rem_euclid(ROUND);
                image::Rgb(stripes[at as usize])
            });
            picture.save(it.join(format!("{index:04}.png"))).unwrap();
            let time = f64::from(index) / 20.0;
            writeln!(list, "{index:04}.png,{time},{}", 0.4 * steering as f64).unwrap();
            heading -= 6 * steering;
            index += 1;
        }
    }
    fs::write(it.join("data.csv"), &list).unwrap();
    let found = signs(folder.path());
    assert_eq!(found["verdict"], "agree", "{found}");
    assert_eq!(
        found["motion"]["agreeing"], found["motion"]["turns"],
        "{found}"
    );

    edit(&it, |_, fields| fields[2] = negated(&fields[2]));
    let found = signs(folder.path());
    assert_eq!(found["verdict"], "reversed", "{found}");
}
