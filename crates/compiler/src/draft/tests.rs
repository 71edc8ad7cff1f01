use std::fs;

use pilotage_graph::{GraphBuilder, Op, Tensor, TensorType};
use tempfile::TempDir;

use super::*;
use crate::recipe::Recipe;

/// A model that flattens an image of `shape` into two numbers.
fn model(shape: [usize; 4]) -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = b
        .input("camera", TensorType::new(ElementType::F32, shape))
        .unwrap();
    let flat = b.node("flat", Op::Flatten { axis: 1 }, &[x]).unwrap();
    let inputs: usize = shape[1..].iter().product();
    let weights = Tensor::new([inputs, 2], vec![0.01_f32; inputs * 2]).unwrap();
    let weights = b.constant("weights", weights).unwrap();
    let y = b.node("dense", Op::MatMul, &[flat, weights]).unwrap();
    b.output("controls", y).unwrap();
    b.finish().unwrap()
}

fn drafted(shape: [usize; 4], meanings: Vec<Option<Meaning>>) -> Result<String, DraftError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("my \"first\" model.onnx");
    fs::write(&file, model(shape).write()).unwrap();
    let options = DraftOptions {
        meanings,
        domain: Some(Domain::Physical),
        ..DraftOptions::default()
    };
    draft(&file, Path::new("my \"first\" model.onnx"), &options)
}

#[test]
fn the_drafted_recipe_parses_and_fits_the_model() {
    let both = vec![Some(Meaning::Steering), Some(Meaning::Throttle)];
    for (shape, layout) in [
        ([1, 3, 12, 20], Layout::Nchw),
        ([1, 12, 20, 3], Layout::Nhwc),
        ([1, 12, 20, 1], Layout::Nhwc),
    ] {
        let text = drafted(shape, both.clone()).unwrap();
        let recipe = Recipe::parse("drafted", &text).unwrap();
        assert_eq!(recipe.model, Path::new("my \"first\" model.onnx"));
        assert_eq!(recipe.domain, Domain::Physical);
        assert_eq!(recipe.input.shape(), shape);
        assert_eq!(recipe.input.layout, layout);
        let meanings: Vec<Meaning> = recipe.output.iter().map(|o| o.meaning).collect();
        assert_eq!(meanings, [Meaning::Steering, Meaning::Throttle]);
        assert_eq!(recipe.output[1].index, 1);
    }
}

#[test]
fn missing_information_is_requested() {
    let error = drafted([1, 3, 12, 20], Vec::new()).unwrap_err().to_string();
    assert!(error.contains("--outputs steering,throttle"), "{error}");
    assert!(error.contains("`controls` float32 [1, 2]"), "{error}");
    assert!(error.contains("--domain physical"), "{error}");
    let error = drafted([2, 3, 12, 20], Vec::new()).unwrap_err().to_string();
    assert!(error.contains("a batch of 2 pictures"), "{error}");
    let error = drafted([1, 2, 12, 20], vec![None, None]).unwrap_err();
    assert!(matches!(error, DraftError::Inputs { .. }), "{error}");
    let missing = Path::new("/missing/model.onnx");
    let options = DraftOptions::default();
    let error = draft(missing, missing, &options).unwrap_err().to_string();
    assert!(
        error.starts_with("/missing/model.onnx: cannot be read"),
        "{error}"
    );
}

/// A draft for a model of two numbers with these options.
fn with(options: &DraftOptions) -> Result<String, DraftError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("net.onnx");
    fs::write(&file, model([1, 3, 12, 20]).write()).unwrap();
    draft(&file, Path::new("net.onnx"), options)
}

#[test]
fn every_wish_is_in_the_recipe() {
    let gate = GateLimits {
        mse: Some(1e-5),
        worst: Some(0.05),
    };
    let mut calibration = CalibrationRecipe::new("my \"frames\"".into());
    calibration.max_frames = 50;
    calibration.method = Some(crate::recipe::CalibrationMethod::Entropy);
    let options = DraftOptions {
        meanings: vec![None, Some(Meaning::Steering)],
        precision: Precision::Int8,
        domain: Some(Domain::Simulated),
        throttle: Some(0.15),
        on_gate_failure: OnGateFailure::Mixed,
        gate: BTreeMap::from([(Meaning::Steering, gate)]),
        calibration: Some(calibration.clone()),
    };
    let recipe = Recipe::parse("drafted", &with(&options).unwrap()).unwrap();
    assert_eq!(recipe.throttle.unwrap().constant, 0.15);
    assert_eq!(recipe.domain, Domain::Simulated);
    assert_eq!(recipe.on_gate_failure, OnGateFailure::Mixed);
    assert_eq!(recipe.output.len(), 1);
    assert_eq!((recipe.output[0].index, recipe.output[0].gate), (1, gate));
    assert_eq!(recipe.calibration, Some(calibration));

    let no_domain = DraftOptions {
        domain: None,
        ..options.clone()
    };
    let error = with(&no_domain).unwrap_err();
    assert!(matches!(error, DraftError::Domain { .. }), "{error}");
    let wrong_gate = DraftOptions {
        gate: BTreeMap::from([(Meaning::Speed, gate)]),
        ..options
    };
    let error = with(&wrong_gate).unwrap_err().to_string();
    assert!(error.contains("--gate speed: no output"), "{error}");
}
