//! Checks the shipped model in float16, in whole and in part, with ONNX Runtime.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod onnxruntime;

use std::collections::BTreeMap;
use std::path::Path;

use pilotage_compiler::{LayerPrecision, Precision, Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, GateResult, ValidationSet};
use pilotage_graph::{ElementType, Graph, Op, ReadOptions};

fn compiled(precision: Precision, layers: &[(&str, LayerPrecision)]) -> Bundle {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/pilotnet.toml");
    let (mut recipe, text) = Recipe::read(&path).unwrap();
    recipe.precision = precision;
    let layers = layers.iter().map(|&(name, of)| (name.to_owned(), of));
    recipe.layers = layers.collect();
    let source = Source::new("pilotnet.toml", &text);
    let compiled = compile_recipe(recipe, &source, path.parent().unwrap(), "pilotnet").unwrap();
    Bundle::read(&compiled.bytes).unwrap()
}

/// The element type of each layer's weights, before a DequantizeLinear if there is one.
fn weights(graph: &Graph) -> BTreeMap<&str, ElementType> {
    let layers = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul));
    layers
        .map(|node| {
            let weights = node.inputs[1];
            let stored = graph
                .nodes
                .iter()
                .find(|maker| maker.outputs.contains(&weights));
            let stored = stored.map_or(weights, |maker| maker.inputs[0]);
            (node.name.as_str(), graph.value(stored).element_type)
        })
        .collect()
}

/// The error of ONNX Runtime with `model` against fp32, on the validation frames.
fn gate(bundle: &Bundle, model: &[u8]) -> Vec<GateResult> {
    let validation = ValidationSet::of(bundle).unwrap();
    let frames: Vec<&[u8]> = validation.frames().iter().map(Vec::as_slice).collect();
    let answers: Vec<Vec<f32>> = onnxruntime::answers(model, &frames)
        .chunks(2)
        .map(<[f32]>::to_vec)
        .collect();
    let results = validation.results("ONNX Runtime", &answers);
    println!("{results:#?}");
    results
}

#[test]
fn the_float16_model_is_strongly_typed_and_as_near_as_its_recipe_allows() {
    let bundle = compiled(Precision::Fp16, &[]);
    let model = &bundle.sections["model.fp16.onnx"];
    assert!(model.len() < 3_300_000, "{} bytes", model.len());
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    // The model is written in the same form again, as for TensorRT's parser.
    assert!(graph.write() == *model);
    let ports = graph.inputs.iter().chain(&graph.outputs);
    assert!(
        ports
            .into_iter()
            .all(|&v| graph.value(v).element_type == ElementType::F32)
    );
    let found = weights(&graph);
    assert_eq!(found.len(), 10);
    assert!(
        found.values().all(|&of| of == ElementType::F16),
        "{found:?}"
    );
    let casts = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Cast { .. }));
    assert_eq!(casts.count(), 2);
    for result in gate(&bundle, model) {
        assert!(result.passes(), "{result:?}");
        // The error is far smaller than that of 8 bits.
        assert!(result.mse * 100.0 < result.most_mse, "{result:?}");
    }
}

/// A model with one layer whose output for bright pixels exceeds float16's range.
#[test]
fn what_float16_cannot_hold_is_refused_by_name() {
    use pilotage_graph::{GraphBuilder, Tensor, TensorType};
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    for number in 0..20_u8 {
        let picture = image::RgbImage::from_pixel(4, 2, image::Rgb([200 + number, number, 9]));
        picture.save(frames.join(format!("{number}.png"))).unwrap();
    }
    let mut b = GraphBuilder::new("bright");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 3, 2, 4]))
        .unwrap();
    let x = b.node("flat", Op::Flatten { axis: 1 }, &[x]).unwrap();
    let w = Tensor::new([24, 2], vec![30_000.0_f32; 48]).unwrap();
    let w = b.constant("w", w).unwrap();
    let y = b.node("bright", Op::MatMul, &[x, w]).unwrap();
    let small = b
        .constant("small", Tensor::new([1], vec![1e-6_f32]).unwrap())
        .unwrap();
    let y = b.node("positive", Op::Relu, &[y]).unwrap();
    let y = b.node("dim", Op::Mul, &[y, small]).unwrap();
    let y = b.node("answer", Op::Tanh, &[y]).unwrap();
    b.output("y", y).unwrap();
    std::fs::write(folder.path().join("m.onnx"), b.finish().unwrap().write()).unwrap();
    let recipe = |layers: &str| {
        let text = format!(
            "model = \"m.onnx\"\nprecision = \"fp16\"\ndomain = \"physical\"\n[input]\nwidth = 4\n\
             height = 2\n[[output]]\nmeaning = \"steering\"\n\
             gate = {{ mse = 1.0, worst = 1.0 }}\n[[output]]\nmeaning = \"throttle\"\nindex = 1\n\
             gate = {{ mse = 1.0, worst = 1.0 }}\n[calibration]\nframes = \"frames\"\n{layers}"
        );
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        pilotage_compiler::compile(&path)
    };
    let error = recipe("").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("and float16 ends at 65504"), "{error}");
    assert!(error.contains("[layers]"), "{error}");
    let engine = recipe("[layers]\nbright = \"fp32\"\n").unwrap();
    let model = &Bundle::read(&engine.bytes).unwrap().sections["model.fp16.onnx"];
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    assert_eq!(weights(&graph)["bright"], ElementType::F32);
}

#[test]
fn layers_kept_in_floating_point_are_float16_unless_asked_for_in_fp32() {
    let bundle = compiled(
        Precision::Int8,
        &[
            ("fc5", LayerPrecision::Fp16),
            ("conv2", LayerPrecision::Fp32),
        ],
    );
    let model = &bundle.sections["model.qdq.onnx"];
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    let found = weights(&graph);
    assert_eq!(found.len(), 10);
    for (layer, of) in found {
        let expected = match layer {
            "fc5" => ElementType::F16,
            "conv2" => ElementType::F32,
            _ => ElementType::I8,
        };
        assert_eq!(of, expected, "{layer}");
    }
    assert!(gate(&bundle, model).iter().all(GateResult::passes));
    // The CPU engine's gate checked the same model.
    let forms = bundle
        .manifest
        .gate
        .iter()
        .filter(|result| result.form == "QDQ model");
    assert_eq!(forms.count(), 2);
}
