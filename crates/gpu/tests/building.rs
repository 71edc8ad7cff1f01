//! Tests of NVIDIA's builder. TensorRT-RTX can build plans for GPUs that this machine lacks.

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

#[path = "../../tensorrt/tests/real/mod.rs"]
mod real;
mod rtx;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use pilotage_compiler::{LayerPrecision, Precision, Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, GateLimits};
use pilotage_graph::{Graph, ReadOptions, Tensor};
use real::checkout;
use rtx::{layers, multiplying, rtx};
use tensorrt_rs::{
    BuildOptions, Owner, Plan, Progress, TensorRt, TensorRtError, TrustedBytes, Typing,
};

/// Ampere (Orin's family), Ada and Blackwell.
const DEVICES: [u16; 4] = [80, 86, 89, 120];

fn build(tensorrt: &TensorRt, model: &[u8], devices: &[u16]) -> Result<Plan, TensorRtError> {
    tensorrt.build(
        model,
        &BuildOptions {
            compute_capabilities: devices,
            detailed: true,
            ..BuildOptions::default()
        },
    )
}

fn shipped() -> Vec<u8> {
    fs::read(checkout("engines/pilotnet.onnx")).unwrap()
}

/// The shipped recipe in another precision. Other tests check its error against fp32.
fn compiled(precision: Precision) -> Bundle {
    recipe(precision, &[])
}

/// The shipped recipe in int8, with some layers in another precision.
fn mixed(layers: &[(&str, LayerPrecision)]) -> Bundle {
    recipe(Precision::Int8, layers)
}

fn recipe(precision: Precision, layers: &[(&str, LayerPrecision)]) -> Bundle {
    let path = checkout("engines/pilotnet.toml");
    let (mut recipe, text) = Recipe::read(&path).unwrap();
    recipe.precision = precision;
    let layers = layers.iter().map(|&(name, of)| (name.to_owned(), of));
    recipe.layers = layers.collect();
    for output in &mut recipe.output {
        output.gate = GateLimits {
            mse: Some(1.0),
            worst: Some(10.0),
        };
    }
    let source = Source::new("pilotnet.toml", &text);
    let engine = compile_recipe(recipe, &source, path.parent().unwrap(), "pilotnet").unwrap();
    Bundle::read(&engine.bytes).unwrap()
}

#[test]
fn the_shipped_model_becomes_a_plan_in_each_precision() {
    let (tensorrt, _shim) = rtx();
    assert_eq!(tensorrt.version().to_string(), "TensorRT-RTX 1.7.1");
    assert_eq!(tensorrt.typing(), Typing::ByModel);

    let fp32 = build(&tensorrt, &shipped(), &DEVICES).unwrap();
    let report = fp32.layers.unwrap();
    let found = layers(&report);
    let float = multiplying(&found);
    // The five convolutions and the largest fully connected layer. TensorRT generates code for the
    // small ones.
    assert_eq!(float.len(), 6, "{report}");
    assert!(
        !report.contains("Int8") && !report.contains("Half"),
        "{report}"
    );
    for layer in float {
        assert_eq!(
            (layer.inputs[0], layer.weights),
            ("Float", "Float"),
            "{}",
            layer.name
        );
    }

    for (precision, inputs) in [(Precision::Int8, "Int8"), (Precision::Int8Integer, "Int8")] {
        let engine = compiled(precision);
        let int8 = build(&tensorrt, &engine.sections["model.qdq.onnx"], &DEVICES).unwrap();
        let report = int8.layers.unwrap();
        let found = layers(&report);
        let integer = multiplying(&found);
        assert_eq!(integer.len(), 10, "{report}");
        for layer in integer {
            let types = (layer.inputs[0], layer.weights);
            assert_eq!(types, (inputs, "Int8"), "{}", layer.name);
        }
        println!(
            "{}: {} bytes, fp32 {}",
            precision.name(),
            int8.bytes.len(),
            fp32.bytes.len()
        );
        assert!(int8.bytes.len() * 2 < fp32.bytes.len());
    }

    let half = compiled(Precision::Fp16);
    let half = build(&tensorrt, &half.sections["model.fp16.onnx"], &DEVICES).unwrap();
    let report = half.layers.unwrap();
    let found = layers(&report);
    let half_layers = multiplying(&found);
    assert!(half_layers.len() >= 6, "{report}");
    for layer in half_layers {
        assert_eq!(
            (layer.inputs[0], layer.weights),
            ("Half", "Half"),
            "{}",
            layer.name
        );
    }
    println!("fp16: {} bytes", half.bytes.len());
    assert!(half.bytes.len() < fp32.bytes.len());

    // Mixed precision: one layer in float16 between integer layers.
    let mixed = mixed(&[("conv3", LayerPrecision::Fp16)]);
    let mixed = build(&tensorrt, &mixed.sections["model.qdq.onnx"], &DEVICES).unwrap();
    let report = mixed.layers.unwrap();
    for layer in multiplying(&layers(&report)) {
        let expected = match layer.name.starts_with("conv3") {
            true => ("Half", "Half"),
            false => ("Int8", "Int8"),
        };
        assert_eq!((layer.inputs[0], layer.weights), expected, "{}", layer.name);
    }

    // TensorRT does not support ranges that are chosen at run time: at most the weights are kept in
    // 8 bits.
    let dynamic = compiled(Precision::Int8Dynamic);
    let dynamic = build(&tensorrt, &dynamic.sections["model.qdq.onnx"], &DEVICES).unwrap();
    let report = dynamic.layers.unwrap();
    assert!(multiplying(&layers(&report)).len() >= 6, "{report}");

    // A plan for one kind of device is at most as large as one for several.
    let one = build(&tensorrt, &shipped(), &DEVICES[..1]).unwrap();
    assert!(one.bytes.len() <= fp32.bytes.len());
}

/// `model` with the 2:4 pattern: of each four weights along the inputs, the last two are 0.
fn two_of_four(model: &[u8]) -> Vec<u8> {
    let mut graph = Graph::read(model, &ReadOptions::default()).unwrap();
    for value in graph
        .values
        .iter_mut()
        .filter(|value| value.shape.len() > 1)
    {
        let Some(weights) = value.constant.as_ref().and_then(Tensor::as_i8) else {
            continue;
        };
        let taps: usize = value.shape[2..].iter().product();
        let input = |index: usize| index / taps % value.shape[1];
        let weights = weights.iter().enumerate();
        let pruned = weights.map(|(index, &w)| if input(index) % 4 < 2 { w } else { 0 });
        let pruned: Vec<i8> = pruned.collect();
        value.constant = Some(Tensor::new(value.shape.clone(), pruned).unwrap());
    }
    graph.write()
}

/// RTX chooses its kernels on the device, so that only the call is tested here.
#[test]
fn a_plan_is_built_with_sparse_weights() {
    let (tensorrt, _shim) = rtx();
    let engine = compiled(Precision::Int8);
    let dense = &engine.sections["model.qdq.onnx"];
    let sparse = two_of_four(dense);
    for (name, model) in [("dense", dense), ("2:4", &sparse)] {
        for sparse_weights in [false, true] {
            let options = BuildOptions {
                compute_capabilities: &DEVICES,
                detailed: true,
                sparse_weights,
                ..BuildOptions::default()
            };
            let plan = tensorrt.build(model, &options).unwrap();
            let report = plan.layers.unwrap();
            let bytes = plan.bytes.len();
            println!("{name}, sparse_weights = {sparse_weights}: {bytes} bytes\n{report}");
            assert_eq!(multiplying(&layers(&report)).len(), 10, "{report}");
        }
    }
}

#[test]
fn without_a_driver_a_plan_is_rejected_with_the_reason() {
    let (tensorrt, _shim) = rtx();
    let plan = build(&tensorrt, &shipped(), &DEVICES).unwrap();
    match tensorrt
        .runtime(None)
        .and_then(|runtime| runtime.load(&plan.bytes))
    {
        // This machine has a driver and a GPU.
        Ok(engine) => assert_eq!(engine.tensors().unwrap().len(), 2),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.starts_with("loading the plan failed: "),
                "{message}"
            );
            assert!(message.contains("cudaError 35"), "{message}");
            assert!(
                message.ends_with(
                    "; this machine has no NVIDIA driver, or one older than this TensorRT wants"
                ),
                "{message}"
            );
        }
    }
}

#[test]
fn malformed_plans_are_rejected() {
    let (tensorrt, _shim) = rtx();
    let plan = build(&tensorrt, &shipped(), &[86]).unwrap().bytes;
    let runtime = tensorrt.runtime(None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan");
    fs::write(&file, [0x5a; 4096]).unwrap();
    let other = TrustedBytes::read(&file, Owner::RootOrUser, 4096).unwrap();
    for bytes in [
        plan.part(0..0).unwrap(),
        plan.part(0..16).unwrap(),
        plan.part(0..plan.len() / 2).unwrap(),
        other,
    ] {
        let error = runtime.load(&bytes).unwrap_err();
        assert!(matches!(error, TensorRtError::Failed { .. }), "{error}");
    }
}

#[test]
fn malformed_models_are_rejected_by_node() {
    let (tensorrt, _shim) = rtx();
    let model = shipped();
    let mut damaged = model.clone();
    for byte in &mut damaged[..200] {
        *byte ^= 0xa5;
    }
    for bytes in [&[][..], b"not ONNX", &model[..model.len() / 2], &damaged] {
        let error = build(&tensorrt, bytes, &[86]).unwrap_err();
        assert!(matches!(error, TensorRtError::Parse { .. }), "{error}");
    }

    // An unknown operator: the file contains Relu's name once for each node.
    let relu = model
        .windows(6)
        .position(|bytes| bytes == b"\x22\x04Relu")
        .unwrap();
    let mut unknown = model.clone();
    unknown[relu + 2..relu + 6].copy_from_slice(b"Rely");
    let error = build(&tensorrt, &unknown, &[86]).unwrap_err();
    let TensorRtError::Parse {
        operator,
        node,
        name,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((operator.as_str(), *node), ("Rely", Some(2)), "{error}");
    assert!(
        error.to_string().contains(&format!("(`{name}`, Rely)")),
        "{error}"
    );
}

#[test]
fn unsupported_options_are_reported() {
    let (tensorrt, _shim) = rtx();
    let model = shipped();
    let attempt = |options: &BuildOptions<'_>| match tensorrt.build(&model, options) {
        Err(TensorRtError::Unsupported(what)) => what,
        other => panic!("{other:?}"),
    };
    let unsupported = |options: BuildOptions<'_>| attempt(&options);
    let int8 = unsupported(BuildOptions {
        int8: true,
        ..BuildOptions::default()
    });
    assert!(
        int8.contains("takes the precision from the model"),
        "{int8}"
    );
    let dla = unsupported(BuildOptions {
        dla_core: Some(0),
        ..BuildOptions::default()
    });
    assert!(dla.contains("no DLA core"), "{dla}");
    let device = unsupported(BuildOptions {
        compute_capabilities: &[31],
        ..BuildOptions::default()
    });
    assert!(
        device.contains("does not know that compute capability"),
        "{device}"
    );
}

#[test]
fn a_build_reports_progress_and_can_be_cancelled() {
    let (tensorrt, _shim) = rtx();
    let model = shipped();
    let run = |progress: &(dyn Fn(Progress<'_>) -> bool + Sync)| {
        tensorrt.build(
            &model,
            &BuildOptions {
                compute_capabilities: &[86],
                progress: Some(progress),
                ..BuildOptions::default()
            },
        )
    };
    let reports = Mutex::new(Vec::new());
    run(&|progress| {
        let Progress { phase, done, steps } = progress;
        reports
            .lock()
            .unwrap()
            .push((phase.to_owned(), done, steps));
        true
    })
    .unwrap();
    let reports = reports.into_inner().unwrap();
    assert!(reports.len() > 3, "{reports:?}");
    assert!(
        reports
            .iter()
            .all(|(_, done, steps)| done <= steps && *steps > 0),
        "{reports:?}"
    );

    let calls = AtomicU32::new(0);
    let stopped = run(&|_| calls.fetch_add(1, Ordering::Relaxed) < 1);
    assert!(
        matches!(stopped, Err(TensorRtError::Cancelled)),
        "{stopped:?}"
    );
    let panicked = run(&|_| panic!("this must not unwind into C++"));
    assert!(
        matches!(panicked, Err(TensorRtError::Cancelled)),
        "{panicked:?}"
    );
}
