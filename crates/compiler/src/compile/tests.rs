use std::fs;

use pilotage_engine::plan::Operation;
use pilotage_engine::{CpuOptions, FrameSize};
use pilotage_graph::ElementType;
use pilotage_graph::{Conv, Gemm, GraphBuilder, Op, Tensor, TensorType};
use pilotage_vehicle::Domain;
use pilotage_vision::Preprocess;
use tempfile::TempDir;

use super::*;
use crate::evaluate::evaluate;
use crate::permute::{TO_NHWC, permute, pick};
use crate::run::run_plan;

/// A small network like PilotNet. With `nhwc`, in the form that Keras exports.
fn model(nhwc: bool, pads: usize) -> Graph {
    let numbers = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + 11) % 64) as f32 / 64.0 - 0.5)
            .collect()
    };
    let tensor = |shape: &[usize]| Tensor::new(shape, numbers(shape.iter().product())).unwrap();
    let mut b = GraphBuilder::new("net");
    let shape = if nhwc { [1, 8, 9, 3] } else { [1, 3, 8, 9] };
    let x = b
        .input("image", TensorType::new(ElementType::F32, shape))
        .unwrap();
    let y = match nhwc {
        true => {
            let perm = vec![0, 3, 1, 2];
            b.node("nchw", Op::Transpose { perm }, &[x]).unwrap()
        }
        false => x,
    };
    let w = b.constant("w", tensor(&[4, 3, 3, 3])).unwrap();
    let conv = Conv {
        kernel: [3; 2],
        strides: [2; 2],
        pads: [pads; 4],
        dilations: [1; 2],
        groups: 1,
    };
    let y = b.node("conv", Op::Conv(conv), &[y, w]).unwrap();
    let y = b.node("relu", Op::Relu, &[y]).unwrap();
    let y = b.node("flat", Op::Flatten { axis: 1 }, &[y]).unwrap();
    let columns = if pads == 0 { 48 } else { 80 };
    let m = b.constant("m", tensor(&[2, columns])).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = b.node("fc", Op::Gemm(gemm), &[y, m]).unwrap();
    b.output("controls", y).unwrap();
    b.finish().unwrap()
}

fn recipe(layout: &str) -> String {
    format!(
        r#"model = "net.onnx"
domain = "physical"

[input]
width = 9
height = 8
layout = "{layout}"
scale = 0.0078125
mean = [0.5, 0.25, 0.75]
std = [0.5, 2.0, 1.0]

[[output]]
name = "controls"
meaning = "steering"

[[output]]
meaning = "throttle"
index = 1
scale = -2.0
"#
    )
}

/// A folder with a model and a recipe.
fn folder(graph: &Graph, recipe: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("net.onnx"), graph.write()).unwrap();
    let path = folder.path().join("net.toml");
    fs::write(&path, recipe).unwrap();
    (folder, path)
}

fn compiled(graph: &Graph, recipe: &str) -> Bundle {
    let (_folder, path) = folder(graph, recipe);
    Bundle::read(&compile(&path).unwrap().bytes).unwrap()
}

fn error(graph: &Graph, recipe: &str) -> String {
    let (folder, path) = folder(graph, recipe);
    let message = compile(&path).unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

/// The model's outputs for an image that is normalized as the recipe specifies, and the engine's
/// outputs for the raw pixels.
fn answers(graph: &Graph, nhwc: bool, bundle: &Bundle) -> (Vec<f32>, Vec<f32>) {
    let pixels: Vec<f32> = (0..216_u32).map(|i| ((i * 89 + 3) % 256) as f32).collect();
    let shape = if nhwc { [1, 8, 9, 3] } else { [1, 3, 8, 9] };
    let channel = |i: usize| if nhwc { i % 3 } else { i / 72 };
    let (mean, std) = ([0.5, 0.25, 0.75], [0.5, 2.0, 1.0]);
    let normalized: Vec<f32> = (pixels.iter().enumerate())
        .map(|(i, p)| (p * 0.0078125 - mean[channel(i)]) / std[channel(i)])
        .collect();
    let expected = evaluate(graph, &[Tensor::new(shape, normalized).unwrap()]).unwrap();

    let (shape, pixels) = match nhwc {
        true => (shape.to_vec(), pixels),
        false => (pick(&shape, &TO_NHWC), permute(&pixels, &shape, &TO_NHWC)),
    };
    let input = Tensor::new(shape, pixels).unwrap();
    let found = run_plan(&bundle.plan, CpuOptions::default(), &[input]).unwrap();
    (
        expected[0].as_f32().unwrap().to_vec(),
        found[0].as_f32().unwrap().to_vec(),
    )
}

fn assert_close((expected, found): (Vec<f32>, Vec<f32>)) {
    assert_eq!(expected.len(), 2);
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() < 1e-4, "{expected:?} {found:?}");
    }
}

#[test]
fn normalization_becomes_part_of_the_first_layer() {
    for (nhwc, layout) in [(false, "nchw"), (true, "nhwc")] {
        let graph = model(nhwc, 0);
        let bundle = compiled(&graph, &recipe(layout));
        let reshape = |operation: &Operation| *operation == Operation::Reshape;
        let steps = bundle.plan.steps.iter();
        let computing = steps.filter(|step| !reshape(&step.operation)).count();
        assert_eq!(computing, 2, "{:#?}", bundle.plan.steps);
        assert_close(answers(&graph, nhwc, &bundle));
    }
}

#[test]
fn padding_keeps_normalization_a_separate_step() {
    let graph = model(false, 1);
    let bundle = compiled(&graph, &recipe("nchw"));
    let first = &bundle.plan.steps[0].operation;
    assert!(matches!(first, Operation::Affine { .. }), "{first:?}");
    assert_close(answers(&graph, false, &bundle));
}

#[test]
fn the_manifest_describes_the_remaining_preprocessing() {
    let bundle = compiled(&model(false, 0), &recipe("nchw"));
    let manifest = bundle.manifest;
    assert_eq!(manifest.name, "net");
    assert_eq!(manifest.domain, Domain::Physical);
    assert_eq!(manifest.source_sha256.len(), 64);
    let preprocess: Preprocess = serde_json::from_value(manifest.preprocessing).unwrap();
    assert_eq!(preprocess.layout, pilotage_vision::Layout::Nhwc);
    assert_eq!((preprocess.scale, preprocess.mean), (1.0, [0.0; 3]));
    assert_eq!(preprocess.std, [1.0; 3]);
    let outputs = manifest.outputs;
    assert!(outputs.iter().all(|o| o.name == "controls"));
    assert_eq!((outputs[1].index, outputs[1].scale), (1, -2.0));
    assert_eq!(bundle.plan.inputs[0].name, "image");
}

#[test]
fn the_same_recipe_gives_the_same_bytes() {
    let (_folder, path) = folder(&model(false, 0), &recipe("nchw"));
    assert_eq!(compile(&path).unwrap().bytes, compile(&path).unwrap().bytes);
}

#[test]
fn mismatches_with_the_model_name_the_line() {
    let graph = model(false, 0);
    let good = recipe("nchw");
    let error_for = |from: &str, to: &str| error(&graph, &good.replacen(from, to, 1));
    assert_eq!(
        error_for("\"controls\"", "\"steer\""),
        "net.toml:13: `output.0.name`: the model has no output `steer`: name one of controls"
    );
    assert_eq!(
        error_for("index = 1", "index = 2"),
        "net.toml:18: `output.1.index`: the model's `controls` has 2 elements; `index` must be 0 to 1"
    );
    assert_eq!(
        error_for("height = 8", "height = 66"),
        "net.toml:4: `input`: the model's input `image` is float32 [1, 3, 8, 9], but width, \
         height, colour and layout here make float32 [1, 3, 66, 9]"
    );
    let missing = error_for("net.onnx", "net2.onnx");
    assert!(
        missing.starts_with("net.toml:1: `model`: net2.onnx cannot be read"),
        "{missing}"
    );
}

#[test]
fn a_batch_other_than_one_is_named() {
    // The same model with the batch axis of all values set to 4.
    let mut graph = model(false, 0);
    graph.outputs.clear();
    let input = graph.inputs[0];
    graph.values[input.0].shape[0] = 4;
    graph.outputs.push(input);
    let found = error(&graph, &recipe("nchw"));
    let expected = "net.toml:1: `model`: its input `image` is [4, 3, 8, 9], a batch of 4 pictures";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn a_model_that_only_steers_keeps_its_throttle_in_the_manifest() {
    let both = recipe("nchw");
    let (steering, _) = both.rsplit_once("[[output]]").unwrap();
    let steering = format!("throttle = {{ constant = 0.15 }}\n{steering}");
    let bundle = compiled(&model(false, 0), &steering);
    assert_eq!(bundle.manifest.throttle, Some(0.15));
    assert_eq!(bundle.manifest.outputs.len(), 1);
    assert_eq!(
        compiled(&model(false, 0), &recipe("nchw"))
            .manifest
            .throttle,
        None
    );
}

#[test]
fn bins_are_in_the_manifest_and_must_be_in_the_model() {
    let both = recipe("nchw");
    let (steering, _) = both.rsplit_once("[[output]]").unwrap();
    let with = |count: usize, index: usize| {
        format!(
            "throttle = {{ constant = 0.15 }}\n{steering}index = {index}\n\
             bins = {{ count = {count}, first = 1.0, last = -1.0, decode = \"argmax\" }}\n"
        )
    };
    let bundle = compiled(&model(false, 0), &with(2, 0));
    let output = &bundle.manifest.outputs[0];
    assert_eq!((output.elements(), output.number(&[0.1, 0.2])), (2, -1.0));
    for (count, index) in [(3, 0), (2, 1)] {
        let found = error(&model(false, 0), &with(count, index));
        assert!(
            found.contains("`output.0.bins.count`: the model's `controls` has 2 elements"),
            "{found}"
        );
    }
}

#[test]
fn a_model_that_is_not_onnx_is_named() {
    let (folder, path) = folder(&model(false, 0), &recipe("nchw"));
    fs::write(folder.path().join("net.onnx"), b"not a model").unwrap();
    let message = compile(&path).unwrap_err().to_string();
    assert!(message.contains("net.onnx: "), "{message}");
}

#[test]
fn a_build_watches_recipe_and_model() {
    let (folder, path) = folder(&model(false, 0), &recipe("nchw"));
    let model = folder.path().join("net.onnx");
    assert_eq!(sources(&path), [path.clone(), model]);
    fs::write(&path, "nonsense").unwrap();
    assert_eq!(sources(&path), std::slice::from_ref(&path));
}

#[test]
fn an_oversized_model_file_is_not_read() {
    let (folder, path) = folder(&model(false, 0), &recipe("nchw"));
    let file = fs::File::create(folder.path().join("net.onnx")).unwrap();
    // The file is sparse, so it takes no disk space.
    file.set_len(1 << 40).unwrap();
    let message = compile(&path).unwrap_err().to_string();
    assert!(
        message.contains("model") && message.contains("larger than"),
        "{message}"
    );
}

#[test]
fn the_manifest_has_the_size_of_the_frames_before_the_crop() {
    let crop = "[input]\ncrop = { x = 3, y = 2, width = 9, height = 8 }";
    let recipe = recipe("nchw").replace("[input]", crop) + "[calibration]\nframes = \"frames\"\n";
    let (folder, path) = folder(&model(false, 0), &recipe);
    let frames = folder.path().join("frames");
    fs::create_dir(&frames).unwrap();
    for index in 0..9_u32 {
        let level = |x: u32, y: u32| ((x * 7 + y * 11 + index * 29) % 251) as u8;
        let picture = image::RgbImage::from_fn(18, 16, |x, y| {
            image::Rgb([level(x, y), level(y, x), level(x + index, y)])
        });
        picture.save(frames.join(format!("{index}.png"))).unwrap();
    }
    let size = Some(FrameSize {
        width: 18,
        height: 16,
    });
    let compiled = compile(&path).unwrap();
    assert_eq!(compiled.manifest.frame_size, size);
    let read = Bundle::read(&compiled.bytes).unwrap();
    assert_eq!(read.manifest.frame_size, size);
}
