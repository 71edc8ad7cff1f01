//! Networks with several pictures, a state and signals: compiled, and run over a drive.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;

use image::RgbImage;
use pilotage_engine::{
    Buffer, Bundle, CpuEngine, CpuOptions, Engine, TensorMut, TensorRef, ValidationSet,
};
use pilotage_graph::{ElementType, Graph, GraphBuilder, Op, TensorType};
use tempfile::TempDir;

mod formula;

use formula::{Running, compiled, is_interleaved, layer, means, refusal};

const WIDTH: usize = 12;
const HEIGHT: usize = 8;
const PIXELS: usize = WIDTH * HEIGHT;
/// Weights of the means of the six channels of two pictures, of the state and of the signal.
const SEEN: [[f32; 6]; 2] = [
    [-0.9, 0.4, 0.3, 1.1, -0.5, -0.2],
    [0.2, 0.3, -0.6, 0.5, 0.1, 0.4],
];
const KEPT: [[f32; 2]; 2] = [[0.6, -0.2], [0.1, 0.5]];
const GIVEN: [f32; 2] = [0.3, -0.4];

/// How two pictures lie in the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Nchw,
    Nhwc,
    TimeNchw,
    TimeNhwc,
}

impl Form {
    const ALL: [Self; 4] = [Self::Nchw, Self::Nhwc, Self::TimeNchw, Self::TimeNhwc];

    fn shape(self) -> Vec<usize> {
        match self {
            Self::Nchw => vec![1, 6, HEIGHT, WIDTH],
            Self::Nhwc => vec![1, HEIGHT, WIDTH, 6],
            Self::TimeNchw => vec![1, 2, 3, HEIGHT, WIDTH],
            Self::TimeNhwc => vec![1, 2, HEIGHT, WIDTH, 3],
        }
    }

    /// The axes of rows and columns.
    fn places(self) -> Vec<usize> {
        match self {
            Self::Nchw => vec![2, 3],
            Self::Nhwc => vec![1, 2],
            Self::TimeNchw => vec![3, 4],
            Self::TimeNhwc => vec![2, 3],
        }
    }

    fn recipe(self, precision: &str) -> String {
        let layout = match self {
            Self::Nchw | Self::TimeNchw => "nchw",
            Self::Nhwc | Self::TimeNhwc => "nhwc",
        };
        let axis = match self {
            Self::Nchw | Self::Nhwc => "channels",
            Self::TimeNchw | Self::TimeNhwc => "time",
        };
        format!(
            r#"model = "net.onnx"
precision = "{precision}"
domain = "physical"

[input]
width = {WIDTH}
height = {HEIGHT}
layout = "{layout}"

[memory]
pictures = 2
axis = "{axis}"
after_gap = "reset"

[[memory.state]]
input = "h"
output = "h_next"
start = [0.25, -0.5]

[[memory.signal]]
input = "car"
values = ["throttle"]
scale = 0.5
offset = 0.125

[[output]]
name = "drive"
meaning = "steering"

[[output]]
name = "drive"
index = 1
meaning = "throttle"
scale = 0.5
offset = 0.25

[calibration]
frames = "frames"
"#
        )
    }
}

/// `drive = tanh(SEEN * means + KEPT * h + GIVEN * car)`, `h_next = drive`. The state is the first input.
fn network(form: Form) -> Graph {
    let mut b = GraphBuilder::new("memory");
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let h = b.input("h", float(&[1, 2])).unwrap();
    let pictures = b.input("pictures", float(&form.shape())).unwrap();
    let car = b.input("car", float(&[1, 1])).unwrap();
    let means = means(&mut b, pictures, form.places());
    let means = b.node("flat", Op::Flatten { axis: 1 }, &[means]).unwrap();
    let seen = layer(&mut b, "seen", means, SEEN.concat());
    let kept = layer(&mut b, "kept", h, KEPT.concat());
    let given = layer(&mut b, "given", car, GIVEN.to_vec());
    let sum = b.node("sum", Op::Add, &[seen, kept]).unwrap();
    let sum = b.node("all", Op::Add, &[sum, given]).unwrap();
    let drive = b.node("tanh", Op::Tanh, &[sum]).unwrap();
    b.output("drive", drive).unwrap();
    let next = b.node("next", Op::Identity, &[drive]).unwrap();
    b.output("h_next", next).unwrap();
    b.finish().unwrap()
}

/// Frames of a drive: each channel wanders.
fn frames(count: usize) -> Vec<RgbImage> {
    let level = |frame: usize, channel: usize, place: usize| {
        let wave = (frame as f64 * (0.21 + 0.08 * channel as f64) + channel as f64).sin();
        let level = 128.0 + 90.0 * wave + ((place * 37 + frame * 11) % 32) as f64 - 16.0;
        level.clamp(0.0, 255.0) as u8
    };
    let frame = |frame: usize| {
        let pixels = (0..PIXELS).flat_map(|place| (0..3).map(move |c| level(frame, c, place)));
        RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, pixels.collect()).unwrap()
    };
    (0..count).map(frame).collect()
}

fn folder(form: Form, recipe: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("net.onnx"), network(form).write()).unwrap();
    fs::write(folder.path().join("net.toml"), recipe).unwrap();
    let to = folder.path().join("frames");
    fs::create_dir(&to).unwrap();
    for (index, frame) in frames(400).iter().enumerate() {
        frame.save(to.join(format!("{index:04}.png"))).unwrap();
    }
    folder
}

fn error(form: Form, recipe: &str) -> String {
    refusal(folder(form, recipe).path())
}

/// The answers by the network's formula, in f64. The memory starts anew with each frame in `gaps`.
fn expected(frames: &[RgbImage], gaps: &[usize]) -> Vec<[f64; 2]> {
    let means = |frame: &RgbImage| -> [f64; 3] {
        std::array::from_fn(|c| {
            let levels = frame.pixels().map(|pixel| f64::from(pixel.0[c]));
            levels.sum::<f64>() / (PIXELS as f64 * 255.0)
        })
    };
    let (mut before, mut h, mut car) = (None, [0.25, -0.5], 0.125);
    let mut answers = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let now = means(frame);
        if gaps.contains(&index) {
            (before, h) = (None, [0.25, -0.5]);
        }
        let seen = [before.unwrap_or(now), now].concat();
        let dot =
            |a: &[f32], b: &[f64]| -> f64 { a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum() };
        let unit = |i: usize| {
            (dot(&SEEN[i], &seen) + dot(&KEPT[i], &h) + f64::from(GIVEN[i]) * car).tanh()
        };
        h = [unit(0), unit(1)];
        car = 0.5 * (0.5 * h[1] + 0.25) + 0.125;
        before = Some(now);
        answers.push(h);
    }
    answers
}

/// The engine's answers over a drive, as a pilot lets it run.
fn driven(bundle: &Bundle, frames: &[RgbImage], gaps: &[usize]) -> Vec<[f64; 2]> {
    let interleaved = is_interleaved(bundle);
    let mut running = Running::new(bundle, PIXELS, 3);
    let mut answers = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        running.show(|place| match interleaved {
            true => frame.as_raw()[place],
            false => frame.as_raw()[place % PIXELS * 3 + place / PIXELS],
        });
        let Running { engine, inputs } = &mut running;
        assert!(inputs.advance(gaps.contains(&index)));
        let (mut drive, mut next) = ([0.0; 2], [0.0; 2]);
        let tensors = &mut [TensorMut::F32(&mut drive), TensorMut::F32(&mut next)];
        engine.infer(&inputs.tensors(), tensors).unwrap();
        assert!(inputs.remember(&[drive, next].concat()));
        answers.push(drive.map(f64::from));
    }
    answers
}

fn worst(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.as_flattened().iter().zip(b.as_flattened());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_network_with_a_memory_answers_as_its_formula_over_a_drive() {
    let frames = frames(60);
    // After a gap the recipe's rule is to start anew.
    let gaps = [17, 40];
    let formula = expected(&frames, &gaps);
    // The memory matters: without the gaps the answers are others.
    assert!(worst(&formula, &expected(&frames, &[])) > 0.05);
    for form in Form::ALL {
        for (precision, most) in [("fp32", 1e-5), ("int8", 0.03)] {
            let folder = folder(form, &form.recipe(precision));
            let bundle = compiled(folder.path());
            let error = worst(&formula, &driven(&bundle, &frames, &gaps));
            assert!(error < most, "{form:?} {precision}: {error}");
            assert!(bundle.manifest.gate.iter().all(|result| result.passes()));
        }
    }
}

#[test]
fn frames_for_validation_hold_all_inputs() {
    for form in Form::ALL {
        let folder = folder(form, &form.recipe("int8"));
        let bundle = compiled(folder.path());
        let validation = ValidationSet::of(&bundle).unwrap();
        // Two pictures, a state of two numbers and a signal of one.
        let sample = 2 * PIXELS * 3 + 3 * 4;
        assert!(validation.frames().iter().all(|it| it.len() == sample));
        let mut engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
        let mut inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
        let answer = |sample: &Vec<u8>| {
            validation.fill(sample, 128, &mut inputs).unwrap();
            assert!(matches!(inputs[0], Buffer::I8(_)));
            let given: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
            let (mut drive, mut next) = ([0.0; 2], [0.0; 2]);
            let tensors = &mut [TensorMut::F32(&mut drive), TensorMut::F32(&mut next)];
            engine.infer(&given, tensors).unwrap();
            [drive, next].concat()
        };
        let answers: Vec<Vec<f32>> = validation.frames().iter().map(answer).collect();
        let results = validation.results("here", &answers);
        assert!(
            results.iter().all(|result| result.passes()),
            "{form:?}: {results:?}"
        );
        assert!(
            results.iter().any(|result| result.worst > 0.0),
            "{results:?}"
        );
    }
}

#[test]
fn a_rule_that_does_not_fit_the_model_is_named() {
    let form = Form::Nchw;
    let recipe = form.recipe("fp32");
    let with = |old: &str, new: &str| {
        assert!(recipe.contains(old), "{old}");
        error(form, &recipe.replacen(old, new, 1))
    };
    for (old, new, reason) in [
        (
            "\"h\"",
            "\"hh\"",
            "the model has no `hh` there: did you mean `h`?",
        ),
        ("\"h_next\"", "\"h_nxt\"", "did you mean `h_next`?"),
        ("\"car\"", "\"cart\"", "did you mean `car`?"),
        ("[0.25, -0.5]", "[0.25]", "`h` has 2 elements"),
        ("[0.25, -0.5]", "inf", "must be finite"),
        (
            "[\"throttle\"]",
            "[\"throttle\", \"steering\"]",
            "one element for each",
        ),
        (
            "[\"throttle\"]",
            "[\"speed\"]",
            "there is \"steering\" and \"throttle\"",
        ),
        ("scale = 0.5\noffset = 0.125", "scale = 0.0", "other than 0"),
        (
            "pictures = 2\n",
            "",
            "for the last 2 pictures add [memory] pictures = 2",
        ),
        (
            "pictures = 2\n",
            "pictures = 3\n",
            "here make float32 [1, 9, 8, 12]",
        ),
        ("pictures = 2\n", "pictures = 65\n", "must be 1 to 64"),
        ("\"reset\"", "\"go\"", "there is `hold`, `reset`, `stop`"),
        ("\"car\"", "\"h\"", "has two rules"),
        (
            "[\"throttle\"]",
            "[\"throttle\", \"throttle\"]",
            "there twice",
        ),
        (
            "[[memory.signal]]",
            "[[memory.state]]\ninput = \"c\"\noutput = \"h_next\"\n[[memory.signal]]",
            "has this output already",
        ),
        (
            "precision = \"fp32\"",
            "precision = \"int8-integer\"",
            "use precision \"int8\"",
        ),
    ] {
        let message = with(old, new);
        assert!(message.contains(reason), "{new}: {message}");
    }
    // A rule that is missing.
    let start = recipe.find("[[memory.signal]]").unwrap();
    let end = recipe.find("[[output]]").unwrap();
    let message = error(form, &format!("{}{}", &recipe[..start], &recipe[end..]));
    assert!(
        message.contains("[[memory.signal]]") && message.contains("`car`"),
        "{message}"
    );
}
