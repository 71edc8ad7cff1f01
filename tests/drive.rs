//! `pilotage drive` and `pilotage check` from the command line.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pilotage_engine::InstructionSet;
use serde_json::Value;

#[path = "support/program.rs"]
mod program;

use program::{json, pilotage, refusal};

fn report(arguments: &[&str]) -> Value {
    json(&[&["drive", "--json", "--pace", "fast"], arguments].concat())
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_lap_of_simple_meets_the_requirements() {
    let report = report(&["--latency", "10"]);
    let metric = |name: &str| report["metrics"][name].as_f64().unwrap();
    assert_eq!(report["completed"], true, "{report}");
    assert_eq!(report["circuit"], "simple");
    assert!(metric("average_speed") >= 11.8, "{report}");
    assert!(metric("deviation_mean") <= 0.03, "{report}");
    assert!(metric("deviation_p95") <= 0.10, "{report}");
}

/// docs/results.md is of this engine, this loop and this simulator: its first table has what a
/// drive reports now.
#[test]
fn the_published_results_are_those_of_this_program() {
    for circuit in ["chicane", "simple", "walled"] {
        let report = report(&["--latency", "10", "--circuit", circuit]);
        let metric = |name: &str| report["metrics"][name].as_f64().unwrap();
        let row = format!(
            "| {circuit} | {:.0} m | {:.2} s | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} |",
            report["circuit_length"].as_f64().unwrap(),
            metric("lap_time"),
            metric("average_speed"),
            metric("deviation_mean"),
            metric("deviation_p95"),
            metric("deviation_max"),
            metric("position_deviation_mae"),
        );
        assert!(
            include_str!("../docs/results.md").contains(&row),
            "docs/results.md lacks `{row}`: run `cargo xtask evaluate` and commit it"
        );
    }
}

#[test]
fn the_report_of_a_simulated_drive_has_its_keys() {
    let report = report(&["--latency", "10", "--time-limit", "1"]);
    for key in [
        "completed",
        "outcome",
        "circuit",
        "circuit_length",
        "car",
        "engine",
        "backend",
        "metrics",
        "timing",
        "guard",
        "wall_seconds",
        "first_command_seconds",
    ] {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    assert_eq!(report["car"], "unicycle");
    assert_eq!(report["outcome"], "the time limit was reached");
}

#[test]
fn a_car_with_tyres_prints_its_limits_and_how_near_to_them_it_drove() {
    let always = ["drive", "--json", "--pace", "fast", "--latency", "10"];
    let tyres = [
        "--kind",
        "tyres",
        "--preset",
        "f1tenth",
        "--friction",
        "0.8",
    ];
    let output = pilotage(&[&always[..], &tyres, &["--time-limit", "2"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["car"], "tyres, f1tenth");
    let used = &report["metrics"]["tyres"];
    assert_eq!(used["friction"], 0.8);
    let peak = used["peak_lateral_acceleration"].as_f64().unwrap();
    assert!((0.0..=0.8 * 9.81).contains(&peak), "{used}");
    let share = used["largest_friction_share"].as_f64().unwrap();
    assert!(share > 0.5 && share <= 1.0, "{used}");
    let messages = String::from_utf8(output.stderr).unwrap();
    let limits = "limits  friction 0.80: 7.8 m/s2 to the side";
    assert!(messages.contains(limits), "{messages}");
    let both = refusal(&["drive", "--kind", "tyres", "--friction", "9"]);
    assert!(
        both.contains("`simulator.friction`: must be from 0.1 to 2, and is 9"),
        "{both}"
    );
}

/// Removes from a report the values that depend on the wall clock.
fn without_clocks(mut report: Value) -> Value {
    let map = report.as_object_mut().unwrap();
    for clocked in ["timing", "wall_seconds", "first_command_seconds"] {
        map.remove(clocked).unwrap();
    }
    let averages = map["behavior_metrics"].as_object_mut().unwrap();
    averages.remove("mean_inference_time").unwrap();
    let metrics = map["metrics"].as_object_mut().unwrap();
    for clocked in [
        "brain_iteration_frequency",
        "mean_inference_time",
        "real_time_factor",
    ] {
        metrics.remove(clocked).unwrap();
    }
    report
}

#[test]
fn with_a_latency_and_a_seed_a_run_repeats_bit_for_bit() {
    let run = || {
        let arguments = ["--seed", "5", "--looks", "2", "--latency", "35"];
        without_clocks(report(&[&arguments[..], &["--time-limit", "8"]].concat()))
    };
    assert_eq!(run(), run());
}

#[test]
fn an_engines_drive_is_recorded_and_is_the_same_as_without() {
    let tape = tempfile::tempdir().unwrap();
    let tape = tape.path().join("tape");
    let arguments = ["--latency", "10", "--time-limit", "3"];
    let record = ["--record", tape.to_str().unwrap(), "--jpeg-quality", "80"];
    let mut recorded = report(&[&arguments[..], &record].concat());
    let frames = recorded["timing"]["frames"].as_u64().unwrap();
    let recording = recorded
        .as_object_mut()
        .unwrap()
        .remove("recording")
        .unwrap();
    let written = recording["written"].as_u64().unwrap();
    // The guard may not have accepted the first command when its frame is recorded.
    assert!(written + 2 > frames && frames > 50, "{recording}");
    assert_eq!(
        (&recording["dropped"], &recording["failed"]),
        (&Value::from(0), &Value::from(0))
    );
    let mut plain = report(&arguments);
    assert_eq!(
        plain.as_object_mut().unwrap().remove("recording"),
        Some(Value::Null)
    );
    assert_eq!(without_clocks(recorded), without_clocks(plain));

    let mut data = pilotage_training::dataset::Dataset::default();
    let read = pilotage_training::recording::read(&tape, &mut data).unwrap();
    assert_eq!(read.frames as u64, written);
    // A speed of the shipped engine's range: it drove, and did not rest.
    let list = std::fs::read_to_string(tape.join("data.csv")).unwrap();
    for row in list.lines().skip(1) {
        let speed: f64 = row.split(',').nth(1).unwrap().parse().unwrap();
        assert!((5.0..=25.0).contains(&speed), "{row}");
    }
}

/// Drives with each of this machine's instruction sets among `sets`. All reports must be equal,
/// except for values of the wall clock and the name of the set.
fn drive_alike(sets: &[InstructionSet], arguments: &[&str]) {
    let mut first: Option<(InstructionSet, Value)> = None;
    for &set in sets {
        if !set.is_available() {
            println!("not driven: this machine has no {set}");
            continue;
        }
        let chosen = ["--latency", "10", "--instruction-set", set.name()];
        let mut report = without_clocks(report(&[&chosen, arguments].concat()));
        let backend = report.as_object_mut().unwrap().remove("backend").unwrap();
        assert!(
            backend.as_str().unwrap().contains(&set.to_string()),
            "{backend}"
        );
        match &first {
            None => first = Some((set, report)),
            Some((other, expected)) => assert_eq!(&report, expected, "{set} and {other}"),
        }
    }
    let (_, report) = first.unwrap();
    assert!(
        report["metrics"]["distance"].as_f64().unwrap() > 10.0,
        "{report}"
    );
}

#[test]
fn a_lap_is_the_same_to_the_last_digit_with_every_instruction_set() {
    use InstructionSet::{Avx2, Avx512, Avx512Vnni, AvxVnni, Neon, NeonDotprod, NeonI8mm};
    let vectors = [Avx512Vnni, AvxVnni, Avx2, NeonI8mm, NeonDotprod, Neon];
    drive_alike(&vectors, &[]);
    // Sets that are slow, or use the INT8 kernels of another set, only drive a short distance.
    let all = [Avx512Vnni, Avx512, Avx2, Neon, InstructionSet::Scalar];
    drive_alike(&all, &["--time-limit", "3"]);
}

#[test]
fn a_circuit_from_a_csv_is_driven_and_drawn() {
    let folder = folder("csv");
    let csv = folder.join("oval.csv");
    let mut text = String::from("x,y\n");
    for i in 0..60 {
        let angle = f64::from(i) / 60.0 * std::f64::consts::TAU;
        text += &format!("{:.4},{:.4}\n", 30.0 * angle.cos(), 15.0 * angle.sin());
    }
    std::fs::write(&csv, text).unwrap();
    let picture = folder.join("oval.png");
    let report = report(&[
        "--circuit",
        csv.to_str().unwrap(),
        "--road-width",
        "3.5",
        "--line-width",
        "0.12",
        "--latency",
        "10",
        "--plot",
        picture.to_str().unwrap(),
    ]);
    assert_eq!(report["completed"], true, "{report}");
    let drawn = image::open(picture).unwrap();
    assert!(drawn.width() > 800);
}

#[test]
fn a_run_that_does_not_finish_reports_why_and_exits_with_1() {
    let output = pilotage(&[
        "drive",
        "--pace",
        "fast",
        "--latency",
        "10",
        "--time-limit",
        "2",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("the time limit was reached"), "{message}");
}

#[test]
fn missing_things_are_named_before_anything_moves() {
    for (arguments, expected) in [
        (&["--circuit", "simpel"][..], "simple"),
        (&["--circuit", "nowhere.csv"], "nowhere.csv"),
        (&["--engine", "nothing"], "pilotnet"),
        (&["--engine", "nothing.engine"], "nothing.engine"),
        (&["--car", "nothing.toml"], "nothing.toml"),
        (&["--deadline", "100"], "150"),
        (&["--latency", "-1"], "latency"),
        (&["--drop-frames", "2"], "0.9"),
        (&["--road-width", "NaN"], "road_width"),
        (&["--threads", "1000"], "threads"),
        (&["--instruction-set", "mmx"], InstructionSet::best().name()),
        (&["--reference", "nothing.csv"], "nothing.csv"),
        (&["--start-offset", "nan"], "--start-offset"),
        (&["--start-heading", "400"], "--start-heading"),
        (&["--plot", "/nowhere/lap.png"], "/nowhere/lap.png"),
        (&["--path", "/nowhere/lap.csv"], "/nowhere/lap.csv"),
        (&["--latency", "200"], "max_age"),
    ] {
        let message = refusal(&[&["drive", "--pace", "fast"], arguments].concat());
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn files_of_garbage_are_errors() {
    let folder = folder("garbage");
    for (name, option, bytes) in [
        ("noise.csv", "--circuit", &b"\xff\x00,,,\n1,2"[..]),
        ("short.csv", "--circuit", b"x,y\n0,0\n1,1\n"),
        (
            "huge.csv",
            "--circuit",
            b"0,0\n1e300,0\n1e300,1e300\n0,1e300\n",
        ),
        ("noise.toml", "--circuit", b"[[[["),
        ("car.toml", "--car", b"[car]\nnmae = \"x\"\n"),
        ("cut.engine", "--engine", b"PILOTENG\x01\0\0\0\x03\0\0\0"),
        ("other.engine", "--engine", b"GIF89a"),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, bytes).unwrap();
        let message = refusal(&["drive", "--pace", "fast", option, file.to_str().unwrap()]);
        assert!(message.starts_with("error: "), "{name}: {message}");
        assert!(!message.contains("panicked"), "{name}: {message}");
    }
}

#[test]
fn check_only_checks() {
    let folder = folder("check");
    let file = folder.join("car.toml");
    std::fs::write(&file, "[mixer]\nwheelbse = 0.3\n").unwrap();
    let message = refusal(&["check", file.to_str().unwrap()]);
    assert!(message.contains(":2: "), "{message}");
    assert!(message.contains("did you mean `wheelbase`?"), "{message}");
    std::fs::write(&file, "[mixer]\nwheelbase = 0.3\n").unwrap();
    assert!(
        pilotage(&["check", file.to_str().unwrap()])
            .status
            .success()
    );
    // The engine is compiled after its car is described.
    std::fs::write(&file, "[engine]\nfile = \"mine.engine\"\n").unwrap();
    let output = pilotage(&["check", file.to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("still to be made"), "{printed}");
    // A figure of eight is driven, half a circle is not.
    let csv = |name: &str, share: f64, turns: f64, phase: f64| {
        let points = (0..60).map(|i| f64::from(i) / 60.0 * share * std::f64::consts::TAU);
        let lines = points.map(|t| {
            format!(
                "{:.3},{:.3}\n",
                20.0 * t.sin(),
                9.0 * (turns * t + phase).sin()
            )
        });
        std::fs::write(folder.join(name), lines.collect::<String>()).unwrap();
    };
    csv("eight.csv", 1.0, 2.0, 0.0);
    csv("half.csv", 0.5, 1.0, 1.57);
    std::fs::create_dir_all(folder.join("small")).unwrap();
    let picture = image::RgbImage::new(8, 6);
    picture.save(folder.join("small/1.png")).unwrap();
    std::fs::write(&file, "[simulator]\ncircuit = \"eight.csv\"\n").unwrap();
    let output = pilotage(&["check", file.to_str().unwrap()]);
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{warned}");
    assert!(
        warned.contains("eight.csv: the line crosses itself at "),
        "{warned}"
    );
    for (text, expected) in [
        (
            "[simulator]\ncircuit = \"half.csv\"\n",
            "half.csv: the line jumps ",
        ),
        (
            "[engine]\nname = \"pilotnett\"\n",
            ":2: `engine.name`: there is no compiled-in engine `pilotnett`: did you mean `pilotnet`?",
        ),
        ("[camera]\nwidth = 320\nheight = 240\n", "crop"),
        (
            "model = \"mine.onnx\"\nprecision = \"int8\"\n",
            "is an engine's recipe (docs/recipes.md), not a car.toml (docs/car.md); `pilotage compile`",
        ),
        (
            "[engine]\nname = \"mine.engine\"\n",
            "`mine.engine`: a file is named by `engine.file`",
        ),
        ("[simulator]\ncircuit = \"nowhere.csv\"\n", "nowhere.csv"),
        (
            "[camera]\nkind = \"folder\"\nfolder = \"unseen\"\n[actuator]\nkind = \"dry-run\"\n",
            "unseen",
        ),
        (
            "[camera]\nkind = \"folder\"\nfolder = \"small\"\n[actuator]\nkind = \"dry-run\"\n",
            "small: 1 of 1 pictures have another size than `camera.width` and `camera.height`, 640x480; \
             the first is 1.png, 8x6",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = refusal(&["check", file.to_str().unwrap()]);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

/// Before the lap, not after it.
#[test]
fn a_plot_that_is_neither_png_nor_svg_is_refused_at_once() {
    for name in ["lap.bmp", "lap", "lap.svgz", ".png"] {
        let message = refusal(&["drive", "--pace", "fast", "--plot", name]);
        assert!(message.contains("end its name with .png"), "{message}");
        let message = refusal(&["drive", "--pace", "fast", "--path", name]);
        assert!(
            message.contains("end its name with .csv or .json"),
            "{message}"
        );
    }
}

#[test]
fn every_car_file_that_comes_with_pilotage_is_valid() {
    let mut files = 0;
    let cars = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    for entry in std::fs::read_dir(cars).unwrap() {
        let file = entry.unwrap().path();
        let output = pilotage(&["check", file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("still to be made"), "{printed}");
        files += 1;
    }
    assert!(files >= 5);
}

#[test]
fn ctrl_c_and_sigterm_bring_the_car_to_neutral() {
    for signal in ["INT", "TERM"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pilotage"))
            .args(["drive", "--laps", "50"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Signals are handled before the car is announced.
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut message = String::new();
        while !message.contains("deadline") {
            assert!(stderr.read_line(&mut message).unwrap() > 0, "{message}");
        }
        std::thread::sleep(Duration::from_millis(500));
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{signal}: hangs");
            std::thread::sleep(Duration::from_millis(20));
        };
        stderr.read_to_string(&mut message).unwrap();
        assert_eq!(status.code(), Some(1), "{message}");
        assert!(
            message.contains("the car is disarmed, steering 0, throttle 0"),
            "{message}"
        );
    }
}
