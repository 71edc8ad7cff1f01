//! Tests the program `pilotage-training`: its errors are one line, and nothing is overwritten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use image::{Rgb, RgbImage};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage-training"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(
        text.starts_with("error: ") && !text.contains('\n'),
        "{text}"
    );
    text
}

#[test]
fn errors_are_one_line_and_name_each_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let missing = error(&run(folder, &["train", "--data", "none", "--out", "car"]));
    assert_eq!(missing.matches("No such file").count(), 1, "{missing}");
    fs::write(folder.join("it.toml"), "network = \"small\"\nwidth = 3\n").unwrap();
    let recipe = [
        "train", "--data", "none", "--recipe", "it.toml", "--out", "car",
    ];
    let key = error(&run(folder, &recipe));
    assert!(key.contains("it.toml:2: unknown key `width`"), "{key}");
    let engine = "model = \"it.onnx\"\nprecision = \"int8\"\n";
    fs::write(folder.join("it.toml"), engine).unwrap();
    let kind = error(&run(folder, &recipe));
    assert!(
        kind.contains("is an engine's recipe (docs/recipes.md), not a training recipe"),
        "{kind}"
    );
    let same = [
        "train", "--data", "none", "--recipe", "it.toml", "--out", "it", "--force",
    ];
    fs::write(folder.join("it.toml"), "network = \"small\"\n").unwrap();
    let same = error(&run(folder, &same));
    assert!(same.contains("it.toml is the training recipe"), "{same}");
}

#[test]
fn neither_the_shipped_model_nor_another_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("engines")).unwrap();
    let shipped = folder.join("engines/pilotnet.onnx");
    fs::write(&shipped, "the shipped model").unwrap();
    let out = [
        "train",
        "--data",
        "none",
        "--force",
        "--out",
        "engines/pilotnet.onnx",
    ];
    let refused = error(&run(folder, &out));
    assert!(refused.contains("shipped model"), "{refused}");
    let imitate = error(&run(folder, &["imitate", "--data", "none"]));
    assert!(imitate.contains("need --out"), "{imitate}");
    fs::write(folder.join("car.toml"), "settings").unwrap();
    let exists = error(&run(folder, &["train", "--data", "none", "--out", "car"]));
    assert!(exists.contains("car.toml exists"), "{exists}");
    assert_eq!(fs::read(&shipped).unwrap(), b"the shipped model");
    assert_eq!(fs::read(folder.join("car.toml")).unwrap(), b"settings");
}

/// Writes a recording of a physical car to `tub`.
fn recording(folder: &Path) {
    fs::create_dir(folder.join("tub")).unwrap();
    let mut csv = "image_name,steering,throttle\n".to_owned();
    for index in 0..40u32 {
        let steering = (f64::from(index) * 0.3).sin();
        let picture = RgbImage::from_fn(32, 24, |x, y| {
            let near = (f64::from(x) - 16.0 + 12.0 * steering).abs() < 3.0;
            Rgb([if near { 240 } else { 30 }, (y * 5) as u8, 90])
        });
        picture
            .save(folder.join(format!("tub/{index}.png")))
            .unwrap();
        csv += &format!("{index}.png,{steering},0.3\n");
    }
    fs::write(folder.join("tub/data.csv"), csv).unwrap();
    fs::write(
        folder.join("tub/recording.json"),
        "{\"domain\": \"physical\"}",
    )
    .unwrap();
}

/// Kills the program with SIGKILL as soon as there is a checkpoint, and resumes: the model is that
/// of a run that was not killed.
#[test]
fn a_killed_run_is_resumed_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    recording(folder);
    fs::write(
        folder.join("training.toml"),
        "network = \"small\"\n[input]\nwidth = 32\nheight = 24\n[training]\nbatch = 4\n",
    )
    .unwrap();
    let arguments = |out, more: &[&'static str]| {
        let common = [
            "train",
            "--data",
            "tub",
            "--recipe",
            "training.toml",
            "--epochs",
            "8",
        ];
        [&common[..], &["--out", out], more].concat()
    };
    // The name is a part of the model's metadata.
    fs::create_dir(folder.join("whole")).unwrap();
    let whole = run(folder, &arguments("whole/it", &[]));
    assert!(whole.status.success(), "{whole:?}");

    let mut killed = Command::new(env!("CARGO_BIN_EXE_pilotage-training"))
        .args(arguments("it", &[]))
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.join("it.checkpoint").exists() && killed.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    if folder.join("it.checkpoint").exists() {
        let refused = error(&run(folder, &arguments("it", &[])));
        assert!(refused.contains("--resume"), "{refused}");
    }
    // Where the run was killed while it wrote its files, they exist.
    let resumed = run(folder, &arguments("it", &["--resume", "--force"]));
    assert!(resumed.status.success(), "{resumed:?}");
    let model = |name: &str| fs::read(folder.join(name)).unwrap();
    // The path of the calibration frames differs.
    let recipe = |name: &str| {
        String::from_utf8(model(name))
            .unwrap()
            .replace("../tub", "tub")
    };
    assert_eq!(recipe("it.toml"), recipe("whole/it.toml"));
    let weights = |name: &str| {
        let graph = pilotage_graph::Graph::read(&model(name), &Default::default()).unwrap();
        graph
            .values
            .into_iter()
            .map(|value| value.constant)
            .collect::<Vec<_>>()
    };
    assert!(weights("it.onnx") == weights("whole/it.onnx"));
}

#[test]
fn an_interrupted_run_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    recording(folder);
    // Far longer than the test.
    let recipe = "network = \"small\"\n[input]\nwidth = 32\nheight = 24\n[training]\nbatch = 4\n\
                  patience = 10000\nepochs = 10000\n";
    fs::write(folder.join("training.toml"), recipe).unwrap();
    let arguments = [
        "train",
        "--data",
        "tub",
        "--recipe",
        "training.toml",
        "--out",
        "my car",
    ];
    let mut running = Command::new(env!("CARGO_BIN_EXE_pilotage-training"))
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !folder.join("my car.checkpoint").exists() && running.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    let id = running.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(
        text.contains("interrupted; the same command with --resume"),
        "{text}"
    );

    // With another number of passes, it is another run; a new one says what comes next.
    let few = |more: &str| {
        let few = ["--epochs", "1", more];
        run(folder, &[&arguments[..], &few].concat())
    };
    let refused = String::from_utf8(few("--resume").stderr).unwrap();
    assert!(refused.contains("or other --epochs"), "{refused}");
    let trained = few("--force");
    let text = String::from_utf8(trained.stdout).unwrap();
    assert!(
        text.contains("next: pilotage compile 'my car.toml'"),
        "{text}"
    );
}

#[test]
fn a_recording_without_commands_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    recording(folder);
    fs::create_dir(folder.join("pictures")).unwrap();
    for index in 0..40 {
        let name = format!("{index}.png");
        fs::copy(
            folder.join("tub").join(&name),
            folder.join("pictures").join(&name),
        )
        .unwrap();
    }
    let arguments = [
        "train", "--data", "pictures", "--domain", "physical", "--out", "car",
    ];
    let refused = error(&run(folder, &arguments));
    assert!(
        refused.contains("error: pictures: most frames have neither steering"),
        "{refused}"
    );
}
