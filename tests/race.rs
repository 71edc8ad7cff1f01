//! `pilotage race` and `pilotage drive --path` from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Short drives that repeat bit for bit.
const SHORT: [&str; 6] = [
    "--circuits",
    "simple",
    "--latency",
    "10",
    "--time-limit",
    "2",
];

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotage"));
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn pilotage(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// What a race prints, which must be complete.
fn raced(folder: &Path, arguments: &[&str]) -> String {
    let output = pilotage(folder, &[&["race"], arguments].concat());
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {messages}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = pilotage(folder, &[&["race"], arguments].concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// What of a drive depends on no clock: seed, metres, outcome.
fn driving(folder: &Path) -> Vec<(u64, f64, String)> {
    let runs = json(&folder.join("race.json"));
    let runs = runs["runs"].as_array().unwrap().iter().map(|run| {
        (
            run["seed"].as_u64().unwrap(),
            run["distance"].as_f64().unwrap(),
            run["outcome"].as_str().unwrap().to_owned(),
        )
    });
    runs.collect()
}

#[test]
fn parts_joined_are_the_whole_race() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let drive = |more: &[&str]| {
        let lost = [
            "--drop-frames",
            "0.2",
            "--deadline",
            "600",
            "--seeds",
            "1-3",
        ];
        raced(folder.path(), &[&SHORT[..], &lost, more].concat())
    };
    drive(&["--out", "whole", "--jobs", "2"]);
    drive(&["--out", "one", "--partition", "1/2"]);
    drive(&["--out", "two", "--partition", "2/2"]);
    assert_eq!(
        (driving(&at("one")).len(), driving(&at("two")).len()),
        (2, 1)
    );
    let table = raced(folder.path(), &["merge", "two", "one", "--out", "out"]);
    assert_eq!(driving(&at("out")), driving(&at("whole")));
    // The frames that are lost differ from seed to seed.
    let runs = driving(&at("out"));
    assert!(runs[0].1 != runs[1].1 && runs[1].1 != runs[2].1, "{runs:?}");
    for expected in [
        "| Method | Circuit | Average speed (m/s) | Position deviation MAE |",
        "| 0 of 3 |",
        "| 10 ms | 600 ms | 20 % | usual | unicycle, 640x480 at 20 Hz |",
        "- pilotnet on simple, seed 2: the time limit was reached, after",
    ] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    let path = fs::read_to_string(at("out/paths/pilotnet+simple+2.csv")).unwrap();
    assert_eq!(
        path.lines().count(),
        1 + 41,
        "20 rows per second, and the start"
    );
    for picture in ["race-bars.png", "race-paths-simple.png"] {
        assert!(image::open(at("out").join(picture)).unwrap().width() > 800);
    }
    // A part is missing.
    let output = pilotage(folder.path(), &["race", "merge", "one", "--out", "less"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("1 of 3 drives have no result yet"),
        "{table}"
    );
    // Other conditions.
    let other = ["--out", "one", "--deadline", "700", "--drop-frames", "0.2"];
    let message = refused(folder.path(), &[&SHORT[..], &other].concat());
    assert!(message.contains("`deadline_ms` is 600"), "{message}");
}

#[test]
fn the_cars_own_engine_races_and_friction_is_a_condition() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let built_in = pilotage::engines::compiled_in("pilotnet").unwrap();
    fs::write(at("own.engine"), built_in).unwrap();
    fs::write(at("car.toml"), "[engine]\nfile = \"own.engine\"\n").unwrap();
    let with = |friction: &'static str| {
        let more = ["--seeds", "1", "--car", "car.toml", "--kind", "tyres"];
        [&SHORT[..], &more, &["--out", "one", "--friction", friction]].concat()
    };
    let table = raced(folder.path(), &with("0.5"));
    assert!(table.contains(", friction 0.5 |"), "{table}");
    assert!(at("one/runs/own+simple+1.json").exists());
    let message = refused(folder.path(), &with("0.9"));
    assert!(message.contains("`friction` is 0.5"), "{message}");
    // What only pictures need is missing.
    fs::remove_file(at("one/circuits/simple.json")).unwrap();
    assert_eq!(
        raced(folder.path(), &["merge", "one", "--out", "out"]),
        table
    );
    assert!(at("out/race-bars.png").exists());
    assert!(!at("out/race-paths-simple.png").exists());
}

/// The results that are there.
fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder.join("runs")).into_iter().flatten();
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|it| it == "json"));
    let mut results: Vec<_> = files
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(file).unwrap())
        })
        .collect();
    results.sort();
    results
}

fn killed_after_a_result(mut child: Child, folder: &Path) {
    let start = Instant::now();
    while results(folder).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(120), "no result");
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_race_that_was_killed_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let arguments = [
        &SHORT[..],
        &["--seeds", "1-8", "--jobs", "1", "--out", "out"],
    ]
    .concat();
    let child = command(folder.path(), &[&["race"], &arguments[..]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    killed_after_a_result(child, &out);
    let before = results(&out);
    assert!(before.len() < 8, "it was not killed in time");
    raced(folder.path(), &arguments);
    let after = results(&out);
    assert_eq!(after.len(), 8);
    // A second drive has other times.
    assert!(before.iter().all(|result| after.contains(result)));
    // Whatever was cut off is not counted as a result.
    raced(folder.path(), &arguments);
    assert_eq!(results(&out), after);
}

#[test]
fn what_is_wrong_is_named_before_anything_is_driven() {
    let folder = tempfile::tempdir().unwrap();
    let with = |more: &[&str]| refused(folder.path(), &[&["--out", "out"], more].concat());
    for (arguments, expected) in [
        (
            &["--circuits", "simpel"][..],
            "there is no circuit `simpel`",
        ),
        (&["--circuits", "random:x"], "random:SEED"),
        (
            &["--circuits", "simple,simple"],
            "two circuits are called `simple`",
        ),
        (&["--circuits", "nowhere.csv"], "nowhere.csv"),
        (
            &["--circuits", "simple", "--partition", "3/2"],
            "the Ith of N parts",
        ),
        (
            &["--circuits", "simple", "--seeds", "5-2"],
            "larger than the last",
        ),
        (
            &["--circuits", "simple", "--drop-frames", "2"],
            "--drop-frames",
        ),
        (&["--circuits", "simple", "--latency", "900"], "latency"),
        (&["--circuits", "simple", "nothing"], "nothing"),
        (
            &["--circuits", "simple", "nothing.engine"],
            "nothing.engine",
        ),
        (
            &["--circuits", "simple", "--reference", "grand=a.csv"],
            "`grand` is not among the --circuits",
        ),
        (
            &["--circuits", "simple", "--reference", "simple=nowhere.csv"],
            "nowhere.csv",
        ),
    ] {
        let message = with(arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(!folder.path().join("out/runs").exists());
    let message = refused(folder.path(), &["merge", ".", "--out", "out"]);
    assert!(message.contains("is not the folder of a race"), "{message}");
}

#[test]
fn a_drive_exports_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let drive = |more: &[&str]| {
        let always = ["drive", "--json", "--pace", "fast", "--latency", "10"];
        let output = pilotage(
            folder.path(),
            &[&always[..], &["--time-limit", "3"], more].concat(),
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report
    };
    let report = drive(&["--path", "it.csv"]);
    assert_eq!(report["deviation_reference"], "centre line");
    // Behavior Metrics divides by whole seconds, which these are; ten inferences are cut at each
    // end.
    let (own, theirs) = (&report["metrics"], &report["behavior_metrics"]);
    assert_eq!(own["average_speed"], theirs["average_speed"]);
    assert!(theirs["mean_inference_time"].as_f64().unwrap() > 0.0);
    let text = fs::read_to_string(folder.path().join("it.csv")).unwrap();
    let mut lines = text.lines();
    let titles = "time,x,y,heading,speed,steering,throttle,deviation";
    assert_eq!(lines.next(), Some(titles));
    let rows: Vec<Vec<f64>> = lines
        .map(|line| line.split(',').map(|it| it.parse().unwrap()).collect())
        .collect();
    assert_eq!(rows.len(), 61);
    let metres: f64 = (rows.windows(2))
        .map(|two| (two[1][1] - two[0][1]).hypot(two[1][2] - two[0][2]))
        .sum();
    let driven = own["distance"].as_f64().unwrap();
    assert!((metres / driven - 1.0).abs() < 0.01, "{metres} {driven}");
    let mean = rows.iter().map(|row| row[7].abs()).sum::<f64>() / rows.len() as f64;
    assert!((mean - own["deviation_mean"].as_f64().unwrap()).abs() < 1e-12);
    // The car moves where it points.
    let last = [&rows[59], &rows[60]];
    let moved = (last[1][2] - last[0][2]).atan2(last[1][1] - last[0][1]);
    assert!((moved - last[1][3]).abs() < 0.1, "{moved} {last:?}");
    drive(&["--path", "it.json"]);
    let same = json(&folder.path().join("it.json"));
    assert_eq!(same[60]["deviation"], rows[60][7]);
}
