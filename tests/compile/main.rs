//! `pilotage compile` from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pilotage_graph::{
    ElementType, Function, Graph, Node, Op, ReadOptions, Tensor, TensorType, ValueId,
};
use serde_json::Value;
use tempfile::TempDir;

mod decoders;
mod memory;
mod metadata;

/// The folder of the shipped model, its recipe and its frames.
const ENGINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/engines");

fn pilotage(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The program's standard output, or its standard error if it failed.
fn printed(output: Output) -> Result<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

fn model() -> String {
    format!("{ENGINES}/pilotnet.onnx")
}

/// Copies the first `count` of the shipped frames.
fn frames(folder: &Path, count: usize) {
    let frames = folder.join("frames");
    fs::create_dir(&frames).unwrap();
    for i in 0..count {
        let name = format!("{i:03}.jpg");
        fs::copy(format!("{ENGINES}/frames/{name}"), frames.join(name)).unwrap();
    }
}

#[test]
fn a_model_becomes_an_engine_that_a_car_takes() {
    let folder = TempDir::new().unwrap();
    let model = model();
    let meanings = ["--outputs=speed,yaw_rate", "--domain=simulated"];
    let files = ["--save-recipe=my.toml", "-o", "my.engine"];
    let arguments = [&["compile", &model][..], &meanings, &files].concat();
    let out = printed(pilotage(folder.path(), &arguments)).unwrap();
    assert!(out.starts_with("my.engine: fp32, "), "{out}");
    assert!(out.contains("Not compared with the model"), "{out}");

    fs::write(
        folder.path().join("car.toml"),
        "[engine]\nfile = \"my.engine\"\n",
    )
    .unwrap();
    printed(pilotage(folder.path(), &["check", "car.toml"])).unwrap();
    // The saved recipe makes the same engine.
    let engine = || fs::read(folder.path().join("my.engine")).unwrap();
    let first = engine();
    printed(pilotage(folder.path(), &["compile", "my.toml"])).unwrap();
    assert!(first == engine());
}

/// The shipped network with the steering of its speed and yaw rate as the only output, by the
/// geometry of the simulated car (`Mixer::simulated`); with `bins`, as a classifier of that many
/// bins from 1 to -1 without a softmax at its end.
fn steering_only(folder: &Path, bins: Option<usize>) {
    let bytes = fs::read(model()).unwrap();
    let mut graph = Graph::read(&bytes, &ReadOptions::default()).unwrap();
    let controls = graph.outputs[0];
    let number = TensorType::new(ElementType::F32, [1, 1]);
    let node = |graph: &mut Graph, op: Op, inputs: [ValueId; 2], name: &str| {
        let output = graph.add_value(name, number.clone(), None);
        let inputs = match op {
            Op::Function(_) => vec![inputs[0]],
            _ => inputs.to_vec(),
        };
        graph.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs,
            outputs: vec![output],
        });
        output
    };
    let constant = |graph: &mut Graph, shape: [usize; 2], data: Vec<f32>| {
        let tensor = Tensor::new(shape, data).unwrap();
        graph.add_value("constant", tensor.tensor_type(), Some(tensor))
    };
    let unit = |graph: &mut Graph, factors: [f32; 2], offset: f32, name: &str| {
        let factors = constant(graph, [2, 1], factors.to_vec());
        let offset = constant(graph, [1, 1], vec![offset]);
        let product = node(graph, Op::MatMul, [controls, factors], name);
        node(graph, Op::Add, [product, offset], name)
    };
    let speed = unit(&mut graph, [17.5, 0.0], 6.5, "speed");
    let yaw_rate = unit(&mut graph, [0.0, 14.2], -7.1, "yaw rate");
    let ratio = node(&mut graph, Op::Div, [yaw_rate, speed], "ratio");
    let wheelbase = constant(&mut graph, [1, 1], vec![0.33]);
    let ratio = node(&mut graph, Op::Mul, [ratio, wheelbase], "curvature");
    let angle = node(
        &mut graph,
        Op::Function(Function::Atan),
        [ratio; 2],
        "angle",
    );
    let full = constant(&mut graph, [1, 1], vec![1.0 / 0.42]);
    let steering = node(&mut graph, Op::Mul, [angle, full], "steering");
    graph.outputs = vec![match bins {
        None => steering,
        Some(count) => {
            // The farther a bin is from the steering, the smaller its element.
            let last = (count - 1) as f32;
            let centres = (0..count).map(|bin| 1.0 - 2.0 * bin as f32 / last);
            let centres = constant(&mut graph, [1, count], centres.collect());
            let factor = constant(&mut graph, [1, 1], vec![-200.0]);
            let mut node = |op, inputs: [ValueId; 2], name: &str| {
                let output = node(&mut graph, op, inputs, name);
                graph.values[output.0].shape = vec![1, count];
                output
            };
            let distance = node(Op::Sub, [centres, steering], "distance");
            let square = node(Op::Mul, [distance; 2], "square");
            node(Op::Mul, [square, factor], "bins")
        }
    }];
    fs::write(folder.join("steer.onnx"), graph.write()).unwrap();
}

#[test]
fn a_network_that_only_steers_drives_a_lap() {
    let folder = TempDir::new().unwrap();
    steering_only(folder.path(), None);
    let compile = [
        "compile",
        "steer.onnx",
        "--outputs=steering",
        "--domain=simulated",
    ];
    let refused = printed(pilotage(folder.path(), &compile)).unwrap_err();
    assert!(refused.contains("--throttle 0.15"), "{refused}");

    // The shipped recipe's crop.
    let more = ["--throttle=0.15", "--save-recipe=steer.toml"];
    printed(pilotage(folder.path(), &[&compile[..], &more].concat())).unwrap();
    let recipe = fs::read_to_string(folder.path().join("steer.toml")).unwrap();
    let crop = "[input]\ncrop = { x = 0, y = 240, width = 640, height = 240 }\n";
    let recipe = recipe.replace("[input]\n", crop);
    fs::write(folder.path().join("steer.toml"), recipe).unwrap();
    let arguments = ["compile", "steer.toml", "--throttle=0.4"];
    printed(pilotage(folder.path(), &arguments)).unwrap();

    let shown = printed(pilotage(folder.path(), &["inspect", "steer.engine"])).unwrap();
    assert!(shown.contains("throttle  constant 0.4"), "{shown}");
    drives_a_lap(folder.path(), "steer.engine");
}

/// Drives the simulated car round the default circuit with throttle 0.4.
fn drives_a_lap(folder: &Path, engine: &str) {
    let car = format!("[engine]\nfile = {engine:?}\n");
    fs::write(folder.join("car.toml"), car).unwrap();
    let drive = [
        "drive",
        "--car=car.toml",
        "--pace=fast",
        "--latency=10",
        "--json",
    ];
    let report = printed(pilotage(folder, &drive)).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["completed"], true, "{report}");
    // Throttle 0.4 is 9.6 m/s of the simulated car's 24.
    let speed = report["metrics"]["average_speed"].as_f64().unwrap();
    assert!((8.6..9.8).contains(&speed), "{report}");
}

#[test]
fn a_network_that_classifies_its_steering_drives_a_lap() {
    let folder = TempDir::new().unwrap();
    steering_only(folder.path(), Some(15));
    let recipe = "model = \"steer.onnx\"\ndomain = \"simulated\"\nthrottle = { constant = 0.4 }\n\
                  [input]\ncrop = { x = 0, y = 240, width = 640, height = 240 }\n\
                  width = 200\nheight = 66\n\
                  [[output]]\nmeaning = \"steering\"\n\
                  bins = { count = 15, first = 1.0, last = -1.0, decode = \"softmax\" }\n";
    fs::write(folder.path().join("bins.toml"), recipe).unwrap();
    printed(pilotage(folder.path(), &["compile", "bins.toml"])).unwrap();
    let shown = printed(pilotage(folder.path(), &["inspect", "bins.engine"])).unwrap();
    assert!(
        shown.contains("softmax of bins[0..15], 1 to -1, * 1"),
        "{shown}"
    );
    drives_a_lap(folder.path(), "bins.engine");
}

#[test]
fn frames_make_an_int8_engine_and_its_error_is_reported() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 45);
    let arguments = [
        "compile",
        &model(),
        "--outputs=speed,yaw_rate",
        "--domain=simulated",
        "--calibration=frames",
        "--method=percentile",
        "--report",
        "--report-picture=layers.png",
        "--export=for others",
    ];
    let output = pilotage(folder.path(), &arguments);
    let warned = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(warned.contains("only 45 pictures"), "{warned}");
    let out = printed(output).unwrap();
    for expected in [
        "int8, ",
        "CPU plan",
        "QDQ model",
        "bias correction",
        "conv1",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let picture = image::open(folder.path().join("layers.png")).unwrap();
    assert_eq!(picture.width(), 1600);
    let qdq = fs::read(folder.path().join("for others/pilotnet.qdq.onnx")).unwrap();
    assert!(qdq.windows(16).any(|w| w == b"DequantizeLinear"));
    let table = folder.path().join("for others/pilotnet.calibration.cache");
    let table = fs::read_to_string(table).unwrap();
    assert!(table.starts_with("TRT-"), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("controls: ")),
        "{table}"
    );

    let json = printed(pilotage(
        folder.path(),
        &["inspect", "--json", "pilotnet.engine"],
    ));
    let json: Value = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(json["precision"], "int8");
    assert_eq!(json["domain"], "simulated");
    assert_eq!(json["calibration"]["method"], "percentile");
    assert_eq!(json["calibration"]["frames"], 40);
    assert_eq!(json["gate"].as_array().unwrap().len(), 4);
}

/// A recipe for the shipped model and frames in `frames`, in INT8 with these limits.
fn recipe(folder: &Path, name: &str, worst: &str) {
    let recipe = fs::read_to_string(format!("{ENGINES}/pilotnet.toml")).unwrap();
    let recipe = recipe
        .replace("\"pilotnet.onnx\"", &format!("{:?}", model()))
        .replace("worst = 0.6", &format!("worst = {worst}"));
    fs::write(folder.join(name), recipe).unwrap();
}

#[test]
fn progress_and_the_choice_of_frames_are_reported() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 30);
    recipe(folder.path(), "net.toml", "0.6");
    let arguments = [
        "compile",
        "net.toml",
        "--max-frames=18",
        "--gate=speed=9,yaw_rate=9",
    ];
    let output = pilotage(folder.path(), &arguments);
    let lines = String::from_utf8(output.stderr.clone()).unwrap();
    for stage in [
        "reading: 18 frames, ",
        "fp32 answers: 2 frames, ",
        "calibration: 2 passes, ",
        "search: ",
        "gate: 2 passes, ",
        "layers: ",
        "calibration table: ",
    ] {
        let found = lines.lines().filter(|line| line.starts_with(stage)).count();
        assert_eq!(found, 1, "{stage}: {lines}");
    }
    assert!(!lines.contains('\x1b'), "{lines}");
    assert!(
        lines.contains("18 of 30 pictures are used, evenly chosen"),
        "{lines}"
    );
    printed(output).unwrap();
    let json = printed(pilotage(
        folder.path(),
        &["inspect", "--json", "net.engine"],
    ));
    let json: Value = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(json["calibration"]["frames"], 16);
    assert_eq!(json["gate"][0]["most_worst"], 9.0);
    assert!((json["gate"][0]["most_mse"].as_f64().unwrap() - 3.24).abs() < 1e-9);
    assert_eq!(json["recipe"]["calibration"]["max_frames"], 18);

    // The next compilation reuses what does not change, and makes the same engine.
    let engine = || fs::read(folder.path().join("net.engine")).unwrap();
    let first = engine();
    let output = pilotage(folder.path(), &arguments);
    let lines = String::from_utf8(output.stderr.clone()).unwrap();
    printed(output).unwrap();
    for stage in ["calibration", "search", "calibration table"] {
        let reused = format!("{stage}: reused from net.compile-cache, ");
        assert!(lines.contains(&reused), "{lines}");
    }
    assert!(lines.contains("gate: 2 passes, "), "{lines}");
    assert!(engine() == first);
}

#[test]
fn the_gate_can_be_changed_on_the_command_line() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 9);
    recipe(folder.path(), "strict.toml", "1e-9");
    let compile = |more: &[&str]| {
        let arguments = [&["compile", "strict.toml"], more].concat();
        printed(pilotage(folder.path(), &arguments))
    };
    assert!(compile(&[]).unwrap_err().contains("TOO FAR"));
    let wide = "--gate=speed=2:1,yaw_rate=2:1";
    assert!(compile(&[wide]).unwrap().contains("ok"));
    let wrong = compile(&["--gate=steering=2"]).unwrap_err();
    assert!(wrong.contains("no [[output]] of the recipe"), "{wrong}");
    // With other methods of calibration it would be accurate enough. Layers stay in floating point
    // until it is.
    let mixed = [
        "--on-gate-failure=mixed",
        "--method=mse",
        "--gate=speed=0.03:0.03,yaw_rate=0.01:0.01",
    ];
    let out = compile(&mixed).unwrap();
    assert!(
        out.contains("kept in floating point to pass the gate: "),
        "{out}"
    );
}

/// As in `pilotage compile ... --export=folder | head -1`.
#[test]
fn all_files_are_written_when_nothing_reads_the_output() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 45);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(["compile", &model(), "--outputs=speed,yaw_rate"])
        .args([
            "--domain=simulated",
            "--calibration=frames",
            "--export=others",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{complaint}");
    for file in ["pilotnet.qdq.onnx", "pilotnet.calibration.cache"] {
        assert!(folder.path().join("others").join(file).is_file(), "{file}");
    }
}

#[test]
fn nothing_is_written_when_the_gate_fails() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 9);
    recipe(folder.path(), "strict.toml", "1e-9");
    fs::write(folder.path().join("strict.engine"), "what was there before").unwrap();
    let complaint = printed(pilotage(folder.path(), &["compile", "strict.toml"])).unwrap_err();
    // The warnings may name the cause.
    let few = "frames: only 9 pictures; with fewer than 100";
    for expected in ["TOO FAR", "speed", "1.000e-9", "dB", "on_gate_failure", few] {
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    }
    let left = fs::read_to_string(folder.path().join("strict.engine")).unwrap();
    assert_eq!(left, "what was there before");
}

#[test]
fn errors_are_reported_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("torn.onnx"), [8, 7, 0xff, 0xff]).unwrap();
    fs::write(folder.path().join("notes.md"), "# not a model").unwrap();
    let model = model();
    let training = "network = \"small\"\n[input]\nwidth = 32\nheight = 24\n";
    fs::write(folder.path().join("training.toml"), training).unwrap();
    recipe(folder.path(), "mine.toml", "1");
    let cases: [(&[&str], &str); 16] = [
        (
            &["training.toml"],
            "training.toml: is a training recipe (docs/training.md), not an engine's recipe",
        ),
        (
            &["mine.toml"],
            "frames: there are no frames for calibration (No such file or directory (os error 2)): \
             correct `calibration.frames` of mine.toml, or name their folder with --calibration",
        ),
        (&["torn.onnx", "--outputs=steering"], "torn.onnx: "),
        (&["notes.md"], "neither a recipe (.toml) nor a model"),
        (&["gone.toml"], "gone.toml: cannot be read"),
        (&[&model], "--outputs steering,throttle"),
        (
            &[&model, "--outputs=steering,gas"],
            "unknown value `gas`: there is `speed`",
        ),
        (&[&model, "--outputs=speed,yaw_rate"], "--domain physical"),
        (
            &[&model, "--outputs=speed,yaw_rate", "--domain=road"],
            "unknown value `road`",
        ),
        (
            &[
                &model,
                "--outputs=speed,yaw_rate",
                "--domain=physical",
                "--precision=int8",
            ],
            "[calibration]",
        ),
        (
            &[&model, "--outputs=steering,-", "--domain=physical"],
            "--throttle 0.15",
        ),
        (&[&model, "--throttle=0"], "above 0 and at most 1"),
        (&[&model, "--gate=steering"], "such as steering=0.1"),
        (
            &[&model, "--gate=steering=-1"],
            "-1 is not a number of 0 or more",
        ),
        (
            &[&model, "--gate=gas=0.1"],
            "unknown value `gas`: there is `speed`",
        ),
        (
            &[
                &model,
                "--outputs=speed,yaw_rate",
                "--domain=physical",
                "--out=no such folder/my.engine",
            ],
            "cannot be written",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments = [&["compile"], arguments].concat();
        let complaint = printed(pilotage(folder.path(), &arguments)).unwrap_err();
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 4, "something was written after all");
}
