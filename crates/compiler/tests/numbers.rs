//! Networks that get numbers measured on the car and a high-level command: compiled, and their
//! recordings and recipes refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use image::RgbImage;
use pilotage_engine::ValidationSet;
use pilotage_graph::{ElementType, Graph, GraphBuilder, Op, TensorType};
use pilotage_vehicle::{Measurement, Measurements};
use tempfile::TempDir;

mod formula;

use formula::{Running, compiled, is_interleaved, layer, means, refusal};

const WIDTH: usize = 12;
const HEIGHT: usize = 8;
const PIXELS: usize = WIDTH * HEIGHT;
/// Weights of the means of the three channels, of speed and yaw rate, and of the command.
const SEEN: [[f32; 3]; 2] = [[-0.9, 0.4, 0.3], [0.2, 0.3, -0.6]];
const MEASURED: [[f32; 2]; 2] = [[0.8, -0.5], [-0.4, 0.7]];
const COMMANDED: [[f32; 3]; 2] = [[0.6, 0.0, -0.6], [-0.2, 0.3, -0.1]];
const COMMANDS: [&str; 3] = ["left", "straight", "right"];

fn recipe(precision: &str) -> String {
    format!(
        r#"model = "net.onnx"
precision = "{precision}"
domain = "physical"

[input]
width = {WIDTH}
height = {HEIGHT}

[[measurement]]
input = "motion"
values = ["speed", "yaw_rate"]
scale = [0.25, 0.5]
offset = 0.125

[command]
input = "turn"
values = ["left", "straight", "right"]
default = "straight"

[[output]]
name = "drive"
meaning = "steering"

[[output]]
name = "drive"
index = 1
meaning = "throttle"

[calibration]
frames = "frames"
"#
    )
}

/// `drive = tanh(SEEN * means + MEASURED * motion + COMMANDED * turn)`.
fn network() -> Graph {
    let mut b = GraphBuilder::new("numbers");
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let turn = b.input("turn", float(&[1, 3])).unwrap();
    let picture = b.input("picture", float(&[1, 3, HEIGHT, WIDTH])).unwrap();
    let motion = b.input("motion", float(&[1, 2])).unwrap();
    let means = means(&mut b, picture, vec![2, 3]);
    let seen = layer(&mut b, "seen", means, SEEN.concat());
    let measured = layer(&mut b, "measured", motion, MEASURED.concat());
    let commanded = layer(&mut b, "commanded", turn, COMMANDED.concat());
    let sum = b.node("sum", Op::Add, &[seen, measured]).unwrap();
    let sum = b.node("all", Op::Add, &[sum, commanded]).unwrap();
    let drive = b.node("tanh", Op::Tanh, &[sum]).unwrap();
    b.output("drive", drive).unwrap();
    b.finish().unwrap()
}

/// Levels of the channels, speed, yaw rate and the place of the command at a frame.
fn given(frame: usize) -> ([u8; 3], [f32; 2], usize) {
    let wave = |rate: f64| (frame as f64 * rate).sin();
    let levels = [0.21, 0.29, 0.37].map(|rate| (128.0 + 90.0 * wave(rate)) as u8);
    let motion = [2.0 + 2.0 * wave(0.13) as f32, 1.5 * wave(0.17) as f32];
    (levels, motion, frame / 7 % 3)
}

fn folder(recipe: &str, titles: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("net.onnx"), network().write()).unwrap();
    fs::write(folder.path().join("net.toml"), recipe).unwrap();
    let to = folder.path().join("frames");
    fs::create_dir(&to).unwrap();
    let mut list = format!("image_name,{titles}\n");
    for index in 0..200 {
        let (levels, [speed, yaw_rate], command) = given(index);
        let picture = RgbImage::from_pixel(WIDTH as u32, HEIGHT as u32, image::Rgb(levels));
        picture.save(to.join(format!("{index:04}.png"))).unwrap();
        writeln!(
            list,
            "{index:04}.png,{speed},{yaw_rate},{}",
            COMMANDS[command]
        )
        .unwrap();
    }
    fs::write(to.join("data.csv"), list).unwrap();
    folder
}

const TITLES: &str = "measured_speed,measured_yaw_rate,command";

/// The answer by the network's formula, in f64.
fn expected(frame: usize) -> [f64; 2] {
    let (levels, [speed, yaw_rate], command) = given(frame);
    let means = levels.map(|level| f64::from(level) / 255.0);
    let motion = [0.25 * speed + 0.125, 0.5 * yaw_rate + 0.125].map(f64::from);
    std::array::from_fn(|i| {
        let dot =
            |a: &[f32], b: &[f64]| -> f64 { a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum() };
        let sum = dot(&SEEN[i], &means) + dot(&MEASURED[i], &motion);
        (sum + f64::from(COMMANDED[i][command])).tanh()
    })
}

#[test]
fn a_network_with_measurements_and_a_command_answers_as_its_formula() {
    for (precision, most) in [("fp32", 1e-5), ("int8", 0.03)] {
        let folder = folder(&recipe(precision), TITLES);
        let bundle = compiled(folder.path());
        assert!(bundle.manifest.gate.iter().all(|result| result.passes()));
        let sample = PIXELS * 3 + 5 * 4;
        let validation = ValidationSet::of(&bundle).unwrap();
        assert!(validation.frames().iter().all(|it| it.len() == sample));
        let interleaved = is_interleaved(&bundle);
        let mut running = Running::new(&bundle, PIXELS, 3);
        for frame in 0..200 {
            let (levels, [speed, yaw_rate], command) = given(frame);
            // All pixels are the same.
            running.show(|place| match interleaved {
                true => levels[place % 3],
                false => levels[place / PIXELS],
            });
            let mut measured = Measurements::default();
            measured.set(Measurement::Speed, Some(speed));
            measured.set(Measurement::YawRate, Some(yaw_rate));
            running.inputs.measure(&measured, Duration::ZERO).unwrap();
            running.inputs.command(command);
            let drive = running.answer();
            for (found, wanted) in drive.into_iter().zip(expected(frame)) {
                let error = (f64::from(found) - wanted).abs();
                assert!(error < most, "{precision}, frame {frame}: {error}");
            }
        }
    }
}

fn error(recipe: &str, titles: &str) -> String {
    refusal(folder(recipe, titles).path())
}

#[test]
fn a_recording_without_a_number_is_refused_with_its_column() {
    for (titles, column) in [
        ("v,measured_yaw_rate,command", "no column `measured_speed`"),
        ("measured_speed,w,command", "no column `measured_yaw_rate`"),
        (
            "measured_speed,measured_yaw_rate,other",
            "no column `command`",
        ),
    ] {
        let message = error(&recipe("fp32"), titles);
        assert!(message.contains(column), "{message}");
    }
    let other = recipe("fp32").replace("\"right\"]", "\"back\"]");
    let message = error(&other, TITLES);
    assert!(
        message.contains("`right`") && message.contains("left, straight, back"),
        "{message}"
    );

    let folder = folder(&recipe("fp32"), TITLES);
    let list = folder.path().join("frames/data.csv");
    let text = fs::read_to_string(&list).unwrap();
    let row = text.lines().nth(1).unwrap();
    let without = row.replacen(",2,", ",,", 1);
    assert_ne!(row, without);
    fs::write(&list, text.replacen(row, &without, 1)).unwrap();
    let message = refusal(folder.path());
    assert!(
        message.contains("0000.png has no `measured_speed`"),
        "{message}"
    );
    // A number in its place is a rule, too.
    let tolerant = recipe("fp32").replace("offset = 0.125", "offset = 0.125\nmissing = 2.0");
    fs::write(folder.path().join("net.toml"), tolerant).unwrap();
    compiled(folder.path());
}

#[test]
fn a_rule_of_numbers_that_does_not_fit_is_named() {
    let recipe = recipe("fp32");
    for (old, new, reason) in [
        ("\"motion\"", "\"motoin\"", "did you mean `motion`?"),
        ("\"turn\"", "\"trun\"", "did you mean `turn`?"),
        ("\"turn\"", "\"motion\"", "has two rules"),
        ("\"speed\", \"yaw_rate\"", "\"yaw_rate\"", "a list of 1"),
        (
            "\"speed\", \"yaw_rate\"",
            "\"speed\", \"speed\"",
            "there twice",
        ),
        ("\"speed\", \"yaw_rate\"", "\"speed\", \"yaw\"", "yaw_rate"),
        ("\"speed\", \"yaw_rate\"", "", "at least one number"),
        (
            "scale = [0.25, 0.5]",
            "scale = [0.25, 0.0]",
            "must not be 0",
        ),
        ("offset = 0.125", "missing = \"go\"", "missing"),
        ("offset = 0.125", "missing = nan", "a finite number"),
        ("offset = 0.125", "max_age_ms = 0", "1 to 10000 ms"),
        (
            "[\"left\", \"straight\", \"right\"]",
            "[\"straight\"]",
            "2 to 16 names",
        ),
        ("\"left\"", "\"Go left\"", "on a command line"),
        ("\"left\"", "\"right\"", "there twice"),
        (
            "default = \"straight\"",
            "default = \"strait\"",
            "did you mean `straight`?",
        ),
        (
            "default = \"straight\"",
            "default = \"straight\"\nencoding = \"index\"",
            "makes 1 element(s)",
        ),
        (
            "[command]\ninput = \"turn\"",
            "[command]\ninput = \"picture\"",
            "picture",
        ),
    ] {
        assert!(recipe.contains(old), "{old}");
        let message = error(&recipe.replacen(old, new, 1), TITLES);
        assert!(message.contains(reason), "{new}: {message}");
    }
    // Rules that are missing.
    let start = recipe.find("[[measurement]]").unwrap();
    let end = recipe.find("[[output]]").unwrap();
    let message = error(&format!("{}{}", &recipe[..start], &recipe[end..]), TITLES);
    assert!(
        message.contains("[[measurement]]") && message.contains("[command]"),
        "{message}"
    );
}
