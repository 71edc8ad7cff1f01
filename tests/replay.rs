//! `pilotage replay` from the command line. Durations are never asserted.
//!
//! The reference is a recorded drive of the simulated car: its engine must answer again what was
//! recorded. The other figures are those of known changes to the recording.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pilotage_engine::{Bundle, FrameSize, Meaning};
use serde_json::Value;
use tempfile::TempDir;

fn pilotage(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A drive in `it`, in lossless pictures.
fn recorded() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let drive = ["drive", "--pace", "fast", "--latency", "40", "--seed", "5"];
    let record = ["--time-limit", "8", "--record", "it", "--png"];
    pilotage(folder.path(), &[&drive[..], &record].concat());
    assert!(folder.path().join("it/000100.png").exists());
    folder
}

/// The results, and the exit status.
fn replayed(folder: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = pilotage(folder, &[&["replay", "it", "--json"], arguments].concat());
    let results = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let message = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?}: {error}: {message}")
    });
    (results, output.status.code())
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = pilotage(folder, &[&["replay"], arguments].concat());
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

/// The number at `path`, a list of names separated by dots.
fn number(of: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(of, |of, name| &of[name]);
    found.as_f64().unwrap_or_else(|| panic!("{path}: {found}"))
}

/// Writes data.csv anew with the rows that `change` makes of the present ones.
fn edit(folder: &Path, change: impl Fn(&[Vec<String>]) -> Vec<Vec<String>>) {
    let list = folder.join("it/data.csv");
    let text = fs::read_to_string(&list).unwrap();
    let (titles, rows) = text.split_once('\n').unwrap();
    let rows: Vec<Vec<String>> = rows
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect();
    let mut edited = format!("{titles}\n");
    for row in change(&rows) {
        writeln!(edited, "{}", row.join(",")).unwrap();
    }
    fs::write(list, edited).unwrap();
}

/// The columns of `image_name,v,w,timestamp,steering,throttle`.
const SPEED: usize = 1;
const YAW_RATE: usize = 2;
const STEERING: usize = 4;
const THROTTLE: usize = 5;

#[test]
fn an_engine_answers_again_what_it_drove() {
    let folder = recorded();
    let (results, status) = replayed(folder.path(), &["--max-mae", "0.0001"]);
    assert_eq!(status, Some(0), "{results}");
    let engine = &results["engines"][0];
    assert_eq!(engine["name"], "pilotnet");
    assert_eq!(results["compared"], "yaw rate and speed");
    assert_eq!(engine["frames"], results["recording"]["records"]);
    assert!((number(&results, "recording.rate") - 20.0).abs() < 1e-3);
    for quantity in ["yaw_rate", "speed"] {
        let figures = &engine[quantity];
        // data.csv has six digits.
        assert!(number(figures, "largest") < 1e-4, "{quantity}: {figures}");
        assert!(number(figures, "correlation") > 0.999, "{figures}");
        assert_eq!(figures["lag"]["frames"], 0);
    }
    assert!(number(engine, "yaw_rate.always_straight.mae") > 0.01);
    assert_eq!(engine["vision"]["count"], engine["frames"]);
    assert!(number(engine, "inference.p50_us") <= number(engine, "inference.p99_us"));

    // With a car, in what its guard gets.
    let car = folder.path().join("car.toml");
    fs::write(&car, "").unwrap();
    let (results, status) = replayed(folder.path(), &["--car", "car.toml", "--max-mae", "0.0001"]);
    assert_eq!(status, Some(0), "{results}");
    assert_eq!(results["compared"], "steering and throttle");
    assert!(number(&results["engines"][0], "steering.largest") < 1e-5);

    // What a tub has: no v and w.
    edit(folder.path(), |rows| {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            row[SPEED].clear();
            row[YAW_RATE].clear();
        }
        rows
    });
    let error = refused(folder.path(), &["it"]);
    assert!(
        error.contains("only steering and throttle: name the car"),
        "{error}"
    );
    let (results, _) = replayed(folder.path(), &["--car", "car.toml"]);
    assert!(number(&results["engines"][0], "steering.largest") < 1e-5);
}

#[test]
fn known_changes_of_the_recording_have_known_figures() {
    let folder = recorded();
    let moved = |rows: &[Vec<String>], lag: usize, beyond: f64| -> Vec<Vec<String>> {
        let value = |row: &[String]| row[YAW_RATE].parse::<f64>().unwrap();
        let pairs = rows.iter().zip(&rows[lag..]);
        pairs
            .map(|(row, later)| {
                let mut row = row.clone();
                row[YAW_RATE] = (value(later) - beyond).to_string();
                row
            })
            .collect()
    };
    // The driver steered three frames before the engine does, and 0.1 rad/s further right.
    edit(folder.path(), |rows| moved(rows, 3, 0.1));
    let (results, status) = replayed(folder.path(), &["--max-mae", "0.05"]);
    assert_eq!(status, Some(1));
    assert_eq!(results["limit"]["passed"], false);
    let figures = &results["engines"][0]["yaw_rate"];
    assert_eq!(figures["lag"]["frames"], 3);
    assert!((number(figures, "lag.ms") - 150.0).abs() < 0.1);
    assert!((number(figures, "bias") - 0.1).abs() < 0.03, "{figures}");
    assert!(number(figures, "mae") > 0.05);

    // Turned round, it is reported. The engine follows it at no lag.
    edit(folder.path(), |rows| {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            row[YAW_RATE] = (-row[YAW_RATE].parse::<f64>().unwrap()).to_string();
        }
        rows
    });
    let output = pilotage(folder.path(), &["replay", "it"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("steers against the recording"),
        "{message}"
    );

    // One frame is wrong by far: it is the worst.
    edit(folder.path(), |rows| {
        let mut rows = rows.to_vec();
        rows[77][YAW_RATE] = "9".to_owned();
        rows
    });
    let (results, _) = replayed(folder.path(), &[]);
    let worst = results["engines"][0]["worst"].as_array().unwrap();
    assert_eq!(worst.len(), 20);
    assert_eq!(worst[0]["picture"], "000077.png");
    assert_eq!(worst[0]["line"], 79);
    // The largest first, those that are half a second apart before all others.
    let errors: Vec<f64> = worst.iter().map(|it| -number(it, "error").abs()).collect();
    assert!(errors.is_sorted() || errors.windows(2).filter(|it| it[0] > it[1]).count() == 1);
}

/// The compiled-in engine, whose numbers now mean throttle and steering.
fn direct_engine(folder: &Path) -> PathBuf {
    let mut bundle = Bundle::read(pilotage::engines::compiled_in("pilotnet").unwrap()).unwrap();
    bundle.manifest.name = "direct <&>".into();
    for (output, meaning) in [(0, Meaning::Throttle), (1, Meaning::Steering)] {
        let output = &mut bundle.manifest.outputs[output];
        (output.meaning, output.scale, output.offset) = (meaning, 0.5, -0.25);
    }
    let file = folder.join("direct.engine");
    fs::write(&file, bundle.write().unwrap()).unwrap();
    file
}

#[test]
fn two_engines_are_compared_in_one_unit() {
    let folder = recorded();
    direct_engine(folder.path());
    let both = ["--engine", "pilotnet", "--engine", "direct.engine"];
    let error = refused(folder.path(), &[&["it"], &both[..]].concat());
    assert!(
        error.contains("`pilotnet` answers with yaw rate and speed, `direct <&>` with steering"),
        "{error}"
    );
    let (results, _) = replayed(folder.path(), &["--engine", "direct.engine"]);
    assert_eq!(results["compared"], "steering and throttle");
    fs::write(folder.path().join("car.toml"), "").unwrap();
    let files = [
        "--plot",
        "plot.png",
        "--worst",
        "worst.png",
        "--report",
        "report.html",
    ];
    let arguments = [&both[..], &["--car", "car.toml"], &files].concat();
    let (results, status) = replayed(folder.path(), &arguments);
    assert_eq!(status, Some(0));
    let error = |engine: usize| number(&results["engines"][engine], "steering.mae");
    assert!(error(0) < 1e-5 && error(1) > 0.01, "{results}");

    let size = |name: &str| image::image_dimensions(folder.path().join(name)).unwrap();
    assert_eq!(size("plot.png").0, 1600);
    let (width, height) = size("worst.png");
    // Two sections of four rows.
    assert!(width == 1600 && height > 8 * 200, "{width}x{height}");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 40);
    assert!(page.contains("direct &lt;&amp;&gt;") && !page.contains("direct <&>"));
    assert!(page.contains("<svg") && page.contains("<polyline"));
    // Nothing is loaded from elsewhere: the only address is the name of SVG's format.
    let addresses = page.matches("://").count();
    assert_eq!(
        addresses,
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
    );
    assert!(!page.contains("<script") && !page.contains("<link"));

    let output = pilotage(folder.path(), &["replay", "it", "--plot", "plot.svg"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "it: data.csv",
        "yaw rate, rad/s",
        "always straight",
        "worst frames of pilotnet",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let svg = fs::read_to_string(folder.path().join("plot.svg")).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
        "{svg:.200}"
    );
}

#[test]
fn what_cannot_be_replayed_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let it = folder.path().join("it");
    fs::create_dir(&it).unwrap();
    for index in 0..30_u8 {
        let picture = image::RgbImage::from_pixel(640, 480, image::Rgb([index, 40, 90]));
        picture.save(it.join(format!("{index}.png"))).unwrap();
    }
    for (arguments, expected) in [
        (
            &["it"][..],
            "its records have neither steering and throttle nor v and w",
        ),
        (&["nowhere"], "nowhere: No such file"),
        (
            &["it", "--plot", "it.gif"],
            "it.gif: a plot is a PNG or an SVG",
        ),
        (
            &["it", "--worst", "it.jpg"],
            "it.jpg: a contact sheet is a PNG",
        ),
        (
            &["it", "--report", "it.pdf"],
            "it.pdf: the report is a page",
        ),
        (
            &["it", "--report", "no/it.html"],
            "no/it.html cannot be written",
        ),
        (&["it", "--engine", "pilotnt"], "did you mean `pilotnet`?"),
        (&["it", "--engine", "no.engine"], "no.engine: No such file"),
        (
            &["it", "--engine", "mine.onnx"],
            "it is a model: `pilotage compile` makes an .engine file of it",
        ),
        (
            &["it", "--engine", "mine.toml"],
            "it is a recipe: `pilotage compile` makes an .engine file of it",
        ),
    ] {
        let error = refused(folder.path(), arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    // Nothing is left of a replay that fails after its files were checked.
    let files = [
        "--plot", "it.svg", "--worst", "it.png", "--report", "it.html",
    ];
    refused(folder.path(), &[&["it"], &files[..]].concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // A picture of another camera, and pictures that are too small for the engine's crop.
    fs::write(it.join("data.csv"), {
        let rows: String = (0..30)
            .map(|index| format!("{index}.png,1,0.1\n"))
            .collect();
        format!("image_name,v,w\n{rows}")
    })
    .unwrap();
    image::RgbImage::new(320, 240)
        .save(it.join("20.png"))
        .unwrap();
    let error = refused(folder.path(), &["it"]);
    assert!(
        error.contains("20.png: is 320x240 pixels, but the first picture 640x480"),
        "{error}"
    );
    for index in 0..30 {
        image::RgbImage::new(320, 240)
            .save(it.join(format!("{index}.png")))
            .unwrap();
    }
    let error = refused(folder.path(), &["it"]);
    assert!(
        error.contains("engine `pilotnet` crops 640x240 pixels at (0, 240)")
            && error.contains("the recording's pictures of 320x240: name an engine"),
        "{error}"
    );
    // Pictures that the crop fits, but of another size than those that the engine was compiled on.
    let mut bundle = Bundle::read(pilotage::engines::compiled_in("pilotnet").unwrap()).unwrap();
    bundle.manifest.preprocessing["crop"] =
        serde_json::json!({"x": 0, "y": 60, "width": 160, "height": 60});
    bundle.manifest.frame_size = Some(FrameSize {
        width: 160,
        height: 120,
    });
    fs::write(folder.path().join("small.engine"), bundle.write().unwrap()).unwrap();
    let error = refused(folder.path(), &["it", "--engine", "small.engine"]);
    assert!(
        error.contains("was compiled for frames of 160x120")
            && error.contains("replay a recording of 160x120"),
        "{error}"
    );
}

#[test]
fn an_evaluation_has_the_errors_of_known_changes() {
    let folder = recorded();
    let of = |row: &str| row.parse::<f64>().unwrap();
    // The engine's throttle is 0.1 too high, and in every fourth frame its steering 0.2 too far to the
    // left.
    edit(folder.path(), |rows| {
        let changed = |(index, row): (usize, &Vec<String>)| {
            let mut row = row.clone();
            row[THROTTLE] = (of(&row[THROTTLE]) - 0.1).to_string();
            let turned = if index % 4 == 0 { 0.2 } else { 0.0 };
            row[STEERING] = (of(&row[STEERING]) - turned).to_string();
            row
        };
        rows.iter().enumerate().map(changed).collect()
    });
    // Without an ENGINE it is the car's.
    let built_in = pilotage::engines::compiled_in("pilotnet").unwrap();
    fs::write(folder.path().join("own.engine"), built_in).unwrap();
    let car = "[car]\nname = \"it\"\n[engine]\nfile = \"own.engine\"\n";
    fs::write(folder.path().join("car.toml"), car).unwrap();
    let arguments = [
        "evaluate", "--data", "it", "--car", "car.toml", "--out", "out", "--count", "20",
    ];
    let output = pilotage(folder.path(), &arguments);
    let table = String::from_utf8(output.stdout).unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let out = folder.path().join("out");
    assert_eq!(fs::read_to_string(out.join("evaluate.md")).unwrap(), table);
    let columns = "| Method | Model size (MB) | MSE | Inference time (s) | Framework |";
    assert!(table.starts_with(columns), "{table}");
    let json: Value =
        serde_json::from_slice(&fs::read(out.join("evaluate.json")).unwrap()).unwrap();
    let engine = &json["engines"][0];
    let output = |name: &str| {
        let outputs = engine["outputs"].as_array().unwrap().iter();
        outputs.clone().find(|it| it["output"] == name).unwrap()
    };
    let (steering, throttle) = (output("steering"), output("throttle"));
    for (of, name, expected) in [
        (throttle, "mse", 0.01),
        (throttle, "worst", 0.1),
        (steering, "mae", 0.2 / 4.0),
        (steering, "mse_normalised", 0.04 / 4.0),
        (engine, "mse", 0.5 * (0.01 + 0.04 / 4.0)),
        (engine, "worst", 0.2),
    ] {
        let found = number(of, name);
        assert!(
            (found - expected).abs() < 1e-3,
            "{name}: {found} {expected}"
        );
    }
    let list = fs::read_to_string(folder.path().join("it/data.csv")).unwrap();
    assert_eq!(engine["frames"], list.lines().count() - 1);
    assert!(number(engine, "resident_bytes") > 1e5, "{engine}");
    assert!(number(engine, "weight_bytes") > 1e5, "{engine}");
    assert_eq!(engine["name"], "own");
    assert_eq!(engine["inference"]["count"], 20);
    assert_eq!(engine["source"], "frames");
    let csv = fs::read_to_string(out.join("evaluate.csv")).unwrap();
    assert!(
        csv.starts_with("engine,precision,bytes,weight_bytes,sha256,"),
        "{csv}"
    );
    // The energy: a number, or nothing.
    let energy = csv.trim_end().rsplit(',').next().unwrap();
    assert!(energy.is_empty() || energy.parse::<f64>().is_ok(), "{csv}");
    for picture in ["evaluate-pareto.png", "evaluate-bars.png"] {
        assert!(image::open(out.join(picture)).unwrap().width() > 800);
    }
    let refused = |arguments: &[&str]| {
        let output = pilotage(folder.path(), &[&["evaluate"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    fs::write(folder.path().join("no.engine"), "no engine").unwrap();
    direct_engine(folder.path());
    let both = ["--data", "it", "--count", "20", "pilotnet", "direct.engine"];
    for (arguments, expected) in [
        (&["--data", "nothing"][..], "nothing"),
        (&["--data", "it", "pilotnett"], "did you mean `pilotnet`?"),
        (&["--data", "it", "no.engine"], "no.engine"),
        (&["--data", "it", "a.toml"], "name a folder with --out"),
        (&["--data", "it", "a.onnx"], "--save-recipe"),
        (
            &["--data", "it", "pilotnet", "pilotnet"],
            "two engines are called `pilotnet`",
        ),
        (&both, "name the car with --car"),
        (
            &["--data", "it", "--instruction-set", "sse"],
            "--instruction-set",
        ),
    ] {
        let message = refused(arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}
