//! The shipped model in float16, whole and in part, as other runtimes take it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod onnxruntime;

use std::collections::BTreeMap;
use std::path::Path;

use pilotage_compiler::{LayerPrecision, Precision, Proof, Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, GateResult};
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

/// What each layer's weights are, behind a DequantizeLinear or not.
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

/// How far ONNX Runtime is from fp32 with that model, on the frames that travel.
fn gate(bundle: &Bundle, model: &[u8]) -> Vec<GateResult> {
    let proof = Proof::of(bundle).unwrap();
    let frames: Vec<&[u8]> = proof.frames().iter().map(Vec::as_slice).collect();
    let answers: Vec<Vec<f32>> = onnxruntime::answers(model, &frames)
        .chunks(2)
        .map(<[f32]>::to_vec)
        .collect();
    let results = proof.results("ONNX Runtime", &answers);
    println!("{results:#?}");
    results
}

#[test]
fn the_float16_model_is_strongly_typed_and_as_near_as_its_recipe_allows() {
    let bundle = compiled(Precision::Fp16, &[]);
    let model = &bundle.sections["model.fp16.onnx"];
    assert!(model.len() < 3_300_000, "{} bytes", model.len());
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
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
        // Far nearer than 8 bits are.
        assert!(result.mse * 100.0 < result.most_mse, "{result:?}");
    }
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
    // Our own executor looked at that very model.
    let forms = bundle
        .manifest
        .gate
        .iter()
        .filter(|result| result.form == "QDQ model");
    assert_eq!(forms.count(), 2);
}
