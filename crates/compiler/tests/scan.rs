//! Networks that get a lidar's scan and no picture, or both: compiled, and their recordings and recipes
//! refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use image::RgbImage;
use pilotage_dataset::ScanWriter;
use pilotage_engine::{Bundle, NoScan, ValidationSet};
use pilotage_graph::{ElementType, Graph, GraphBuilder, Op, TensorType};
use pilotage_vehicle::{Rays, Scan};
use tempfile::TempDir;

mod formula;

use formula::{Running, compiled, layer, means, refusal};

const FRAMES: usize = 120;
/// The lidar's rays, and those of the network: every second one.
const LIDAR: usize = 121;
const RAYS: usize = 61;
const RANGE: f32 = 8.0;
const NO_ECHO: f32 = 9.0;

fn recipe(precision: &str) -> String {
    format!(
        r#"model = "net.onnx"
precision = "{precision}"
domain = "simulated"

[scan]
input = "lidar"
rays = {RAYS}
start = -90.0
end = 90.0
range = {RANGE}
no_echo = {NO_ECHO}
scale = 0.125
offset = -0.5

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

fn weight(unit: usize, ray: usize) -> f32 {
    let side = ray as f32 / (RAYS - 1) as f32 - 0.5;
    [side, 0.4 - side * side][unit] * 0.15
}

/// `drive = tanh(WEIGHTS * scan)`, and with a picture the means of its channels are added.
fn network(shape: &[usize], has_picture: bool) -> Graph {
    let mut b = GraphBuilder::new("scan");
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let scan = b.input("lidar", float(shape)).unwrap();
    let row = b.reshape("flat", scan, &[1, RAYS]).unwrap();
    let weights = (0..2 * RAYS).map(|i| weight(i / RAYS, i % RAYS)).collect();
    let mut sum = layer(&mut b, "all", row, weights);
    if has_picture {
        let picture = b.input("picture", float(&[1, 3, 8, 12])).unwrap();
        let means = means(&mut b, picture, vec![2, 3]);
        let seen = layer(&mut b, "seen", means, vec![0.2, 0.0, 0.0, 0.0, 0.2, 0.0]);
        sum = b.node("sum", Op::Add, &[sum, seen]).unwrap();
    }
    let drive = b.node("tanh", Op::Tanh, &[sum]).unwrap();
    b.output("drive", drive).unwrap();
    b.finish().unwrap()
}

/// The scan of a frame, with rays without an echo and beyond the range.
fn given(frame: usize) -> Scan {
    let distance = |ray: usize| {
        let wave = (frame as f64 * 0.13 + ray as f64 * 0.05).sin();
        match ray % 17 {
            3 => 0,
            5 => 12_345,
            _ => (4000.0 + 3500.0 * wave) as u16,
        }
    };
    Scan {
        rays: Rays::new(LIDAR, -90.0, 90.0).unwrap(),
        millimetres: (0..LIDAR).map(distance).collect(),
    }
}

fn level(frame: usize) -> u8 {
    (128.0 + 100.0 * (frame as f64 * 0.29).sin()) as u8
}

fn folder(recipe: &str, graph: &Graph) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("net.onnx"), graph.write()).unwrap();
    fs::write(folder.path().join("net.toml"), recipe).unwrap();
    let to = folder.path().join("frames");
    fs::create_dir(&to).unwrap();
    let mut list = "image_name,scan\n".to_owned();
    let mut scans = ScanWriter::open(&to, given(0).rays).unwrap();
    for index in 0..FRAMES {
        let picture = RgbImage::from_pixel(12, 8, image::Rgb([level(index); 3]));
        picture.save(to.join(format!("{index:04}.png"))).unwrap();
        let place = scans.write(&given(index)).unwrap().unwrap();
        writeln!(list, "{index:04}.png,{place}").unwrap();
    }
    fs::write(to.join("data.csv"), list).unwrap();
    folder
}

/// The answer by the network's formula, in f64.
fn expected(frame: usize, has_picture: bool) -> [f64; 2] {
    let scan = given(frame);
    std::array::from_fn(|unit| {
        let ray = |ray: usize| {
            let metres = match scan.millimetres[2 * ray] {
                0 => NO_ECHO,
                distance => (f32::from(distance) / 1000.0).min(RANGE),
            };
            f64::from(weight(unit, ray)) * (0.125 * f64::from(metres) - 0.5)
        };
        let seen = match has_picture {
            true => 0.2 * f64::from(level(frame)) / 255.0,
            false => 0.0,
        };
        ((0..RAYS).map(ray).sum::<f64>() + seen).tanh()
    })
}

/// The pixels and channels of the network's picture.
const fn picture(has_picture: bool) -> (usize, usize) {
    match has_picture {
        true => (8 * 12, 3),
        false => (1, 1),
    }
}

fn check(bundle: &Bundle, has_picture: bool, most: f64) {
    assert!(bundle.manifest.gate.iter().all(|result| result.passes()));
    let (pixels, channels) = picture(has_picture);
    let validation = ValidationSet::of(bundle).unwrap();
    let sample = pixels * channels + RAYS * 4;
    assert!(validation.frames().iter().all(|it| it.len() == sample));
    let mut running = Running::new(bundle, pixels, channels);
    for frame in 0..FRAMES {
        running.show(|_| level(frame));
        running.inputs.scan(&given(frame), Duration::ZERO).unwrap();
        let drive = running.answer();
        for (found, wanted) in drive.into_iter().zip(expected(frame, has_picture)) {
            let error = (f64::from(found) - wanted).abs();
            assert!(error < most, "frame {frame}: {error}");
        }
    }
}

#[test]
fn a_network_with_a_scan_answers_as_its_formula() {
    for (precision, most, shape) in [
        ("fp32", 1e-5, &[1, RAYS][..]),
        ("int8", 0.02, &[1, RAYS]),
        ("fp32", 1e-5, &[1, 1, RAYS]),
        ("int8", 0.02, &[1, RAYS, 1]),
    ] {
        let folder = folder(&recipe(precision), &network(shape, false));
        let bundle = compiled(folder.path());
        assert_eq!(bundle.manifest.frame_size, None);
        check(&bundle, false, most);
    }
}

#[test]
fn a_network_may_get_a_scan_and_a_picture() {
    for (precision, most) in [("fp32", 1e-5), ("int8", 0.02)] {
        let both = format!("{}\n[input]\nwidth = 12\nheight = 8\n", recipe(precision));
        let folder = folder(&both, &network(&[1, RAYS], true));
        check(&compiled(folder.path()), true, most);
    }
}

#[test]
fn a_scan_that_is_missing_old_or_of_another_length_follows_the_rule() {
    let folder = folder(&recipe("fp32"), &network(&[1, RAYS], false));
    let mut bundle = compiled(folder.path());
    let (pixels, channels) = picture(false);
    let mut inputs = Running::new(&bundle, pixels, channels).inputs;
    let scan = given(0);
    let mut short = scan.clone();
    short.millimetres.pop();
    let mut long = scan.clone();
    long.millimetres.push(1);
    let none = Err(NoScan { age: None });
    for bad in [short, long, Scan::default()] {
        assert_eq!(inputs.scan(&bad, Duration::ZERO), none);
    }
    let age = Duration::from_millis(201);
    assert_eq!(inputs.scan(&scan, age), Err(NoScan { age: Some(age) }));
    let recent = Duration::from_millis(200);
    assert_eq!(inputs.scan(&scan, recent), Ok(()));

    bundle.manifest.recipe["scan"]["missing"] = 2.0.into();
    let mut inputs = Running::new(&bundle, pixels, channels).inputs;
    assert_eq!(inputs.scan(&scan, age), Ok(()));
    let tensors = inputs.tensors();
    let Some(pilotage_engine::TensorRef::F32(values)) = tensors.get(1) else {
        panic!("{tensors:?}");
    };
    assert!(values.iter().all(|&it| it == 0.125 * 2.0 - 0.5));
}

fn error(recipe: &str, change: impl Fn(&Path)) -> String {
    let folder = folder(recipe, &network(&[1, RAYS], false));
    change(&folder.path().join("frames"));
    refusal(folder.path())
}

#[test]
fn a_rule_of_a_scan_that_does_not_fit_is_named() {
    let recipe = recipe("fp32");
    for (old, new, reason) in [
        ("\"lidar\"", "\"lidra\"", "did you mean `lidar`?"),
        (
            "rays = 61",
            "rays = 60",
            "the recipe makes a scan of 60 rays",
        ),
        ("rays = 61", "rays = 1", "2 to 4096"),
        ("end = 90.0", "end = -90.0", "another direction"),
        ("end = 90.0", "end = 280.0", "at most 360 degrees"),
        ("end = 90.0", "end = nan", "another direction"),
        ("range = 8", "range = -8", "above 0"),
        ("no_echo = 9", "no_echo = inf", "must be finite"),
        ("scale = 0.125", "scale = 0", "other than 0"),
        ("offset = -0.5", "offset = nan", "must be finite"),
        ("offset = -0.5", "missing = \"go\"", "missing"),
        ("offset = -0.5", "missing = 3.0", "must be \"stop\" without"),
        ("offset = -0.5", "missing = nan", "scan.missing"),
        ("offset = -0.5", "max_age_ms = 0", "1 to 10000 ms"),
        ("offset = -0.5", "offest = -0.5", "did you mean `offset`?"),
        (
            "[[output]]",
            "[input]\nwidth = 12\nheight = 8\n[[output]]",
            "leave [input] out",
        ),
        (
            "[[output]]",
            "[memory]\npictures = 2\n[[output]]",
            "this model gets no picture",
        ),
    ] {
        assert!(recipe.contains(old), "{old}");
        let message = error(&recipe.replacen(old, new, 1), |_| ());
        assert!(message.contains(reason), "{new}: {message}");
    }
    let start = recipe.find("[scan]").unwrap();
    let end = recipe.find("[[output]]").unwrap();
    let message = error(&format!("{}{}", &recipe[..start], &recipe[end..]), |_| ());
    assert!(message.contains("only a model with a [scan]"), "{message}");
}

#[test]
fn a_recording_without_its_scans_is_refused() {
    let recipe = recipe("fp32");
    let list = |frames: &Path, old: &str, new: &str| {
        let path = frames.join("data.csv");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old));
        fs::write(path, text.replacen(old, new, 1)).unwrap();
    };
    let message = error(&recipe, |frames| list(frames, ",scan", ",other"));
    assert!(message.contains("no column `scan`"), "{message}");
    let message = error(&recipe, |frames| list(frames, "0003.png,3", "0003.png,"));
    assert!(message.contains("0003.png has no scan"), "{message}");
    let message = error(&recipe, |frames| list(frames, "0003.png,3", "0003.png,-3"));
    assert!(
        message.contains("line 5") && message.contains("no scan -3"),
        "{message}"
    );
    // A cut file.
    let cut = |frames: &Path, bytes: usize| {
        let path = frames.join("scans.bin");
        let whole = fs::read(&path).unwrap();
        fs::write(path, &whole[..bytes]).unwrap();
    };
    let message = error(&recipe, |frames| {
        cut(frames, 28 + 2 * LIDAR * 100 + 7);
        list(frames, "0118.png,118", "0118.png,99");
    });
    let advice = "has 100; restore scans.bin, or delete this row";
    assert!(
        message.contains("line 102") && message.ends_with(advice),
        "{message}"
    );
    // The last rows may have lost their scans to a power cut.
    let shortened = folder(&recipe, &network(&[1, RAYS], false));
    cut(&shortened.path().join("frames"), 28 + 2 * LIDAR * 100 + 7);
    compiled(shortened.path());
    let message = error(&recipe, |frames| cut(frames, 20));
    assert!(message.contains("scans.bin"), "{message}");
    let message = error(&recipe, |frames| {
        fs::remove_file(frames.join("scans.bin")).unwrap()
    });
    assert!(
        message.contains("line 2") && message.contains("has 0"),
        "{message}"
    );
    // A lidar that sees less.
    let wider = recipe.replace("-90.0", "-95.0");
    let message = error(&wider, |_| ());
    assert!(message.contains("do not cover"), "{message}");
    // A distance in the place of a missing scan is a rule, too.
    let tolerant = recipe.replace("offset = -0.5", "missing = 3.0");
    let tolerant = format!("{tolerant}\n[input]\nwidth = 12\nheight = 8\n");
    let folder = folder(&tolerant, &network(&[1, RAYS], true));
    list(&folder.path().join("frames"), "0003.png,3", "0003.png,");
    compiled(folder.path());
}

/// The networks of write_scan_exports.py, with the shapes of their inputs.
#[test]
fn exports_of_tiny_lidar_net_agree_with_onnx_runtime() {
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports");
    let answers = fs::read_to_string(exports.join("scan.json")).unwrap();
    let answers: serde_json::Value = serde_json::from_str(&answers).unwrap();
    let distance = |ray: u64| 200 + (((ray * 2_654_435_761) % (1 << 32)) >> 16) % 9800;
    let scan = Scan {
        rays: Rays::new(541, -135.0, 135.0).unwrap(),
        millimetres: (0..541).map(|ray| distance(ray) as u16).collect(),
    };
    for name in ["pytorch_lidar", "keras_lidar"] {
        let folder = TempDir::new().unwrap();
        let model = exports.join(format!("{name}.onnx"));
        let text = recipe("fp32");
        let (text, _) = text.split_once("[calibration]").unwrap();
        let text = text
            .replace("\"net.onnx\"", &format!("{model:?}"))
            .replace("rays = 61", "rays = 541")
            .replace("90.0", "135.0")
            .replace("range = 8", "range = 10")
            .replace("scale = 0.125\noffset = -0.5\n", "")
            .replace("\"lidar\"", "\"ranges\"")
            .replace("name = \"drive\"\n", "");
        fs::write(folder.path().join("net.toml"), text).unwrap();
        let bundle = compiled(folder.path());
        let (pixels, channels) = picture(false);
        let mut running = Running::new(&bundle, pixels, channels);
        running.inputs.scan(&scan, Duration::ZERO).unwrap();
        let drive = running.answer();
        for (found, expected) in drive.into_iter().zip(answers[name].as_array().unwrap()) {
            let error = (f64::from(found) - expected.as_f64().unwrap()).abs();
            assert!(error < 1e-6, "{name}: {found} {expected}");
        }
    }
}
