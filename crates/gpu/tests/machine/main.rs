//! Tests of `prepare`, from an engine file to a validated plan, on a machine with stand-ins for
//! CUDA and TensorRT (crates/tensorrt/tests/stand-in). Each run is a process with its own environment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod failures;
#[path = "../stand-in/mod.rs"]
mod stand_in;

use std::fs;

use pilotage_engine::Bundle;
use stand_in::{LIBRARY, Machine};

/// Runs the role of the tests below in the child process, which loads the stand-ins.
fn play(role: &str) {
    assert_eq!(role, "prepares");
    stand_in::prepares();
}

#[test]
fn a_plan_is_built_validated_and_stored_once() {
    let machine = Machine::new();
    let output = machine.run(&[]);
    assert!(
        output.starts_with(&format!("int8 on {LIBRARY} on stand-in; 2 results; ")),
        "{output}"
    );
    assert!(
        output.contains("2 steps; layers Some(\"Name: only, LayerType: stand-in\")"),
        "{output}"
    );
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    assert_eq!(machine.times(), [1]);

    // The second run builds nothing.
    let output = machine.run(&[("STAND_IN_FAIL", "build_plan")]);
    assert!(
        output.contains("2 results; 0 steps; layers None"),
        "{output}"
    );

    // A truncated plan, as after a power failure, is not loaded. It is built again with the timing
    // cache.
    let whole = fs::read(plan).unwrap();
    fs::write(plan, &whole[..whole.len() / 2]).unwrap();
    let output = machine.run(&[]);
    assert!(
        output.contains("built anew: ") && output.contains("the plan is damaged"),
        "{output}"
    );
    assert_eq!(fs::read(plan).unwrap(), whole);
    assert_eq!(machine.times(), [2]);

    // Wrong answers, as from a faulty driver: a plan is validated whenever it is loaded, and is
    // built again once.
    machine.answers("wrong", 2, |x| x + 0.6);
    let wrong = machine.path("wrong");
    let output = machine.run(&[("STAND_IN_ANSWERS", wrong.to_str().unwrap())]);
    assert!(output.starts_with("error: the plan is too far"), "{output}");

    // A plan that cannot be loaded is built again, once.
    let output = machine.run(&[("STAND_IN_FAIL", "engine_new:1")]);
    assert!(
        output.contains("built anew: ") && output.contains("2 results; 2 steps"),
        "{output}"
    );
    let output = machine.run(&[("STAND_IN_FAIL", "engine_new")]);
    assert!(output.starts_with("error: "), "{output}");

    // A plan that was validated with other limits is built again.
    let bytes = fs::read(machine.path("engine")).unwrap();
    let limits = |most_mse: f64| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        bundle.manifest.gate[0].most_mse = most_mse;
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        machine.run(&[])
    };
    let output = limits(0.04);
    assert!(
        output.contains("the plan was built for another proof"),
        "{output}"
    );
    let output = limits(1e-30);
    assert!(output.starts_with("error: the plan is too far"), "{output}");
    fs::write(machine.path("engine"), &bytes).unwrap();

    // A device with separate memory returns the same answers through copies.
    machine.forget();
    let output = machine.run(&[("STAND_IN_INTEGRATED", "0")]);
    assert!(
        output.starts_with("int8 on ") && output.contains("2 results"),
        "{output}"
    );
}

#[test]
fn a_plan_that_fails_the_gate_is_discarded() {
    let machine = Machine::new();
    for change in [|x| x + 0.6, |_| f32::NAN, |_| f32::INFINITY, |x| x * 1e6] {
        machine.answers("answers", 2, change);
        let output = machine.run(&[]);
        assert!(
            output.starts_with("error: the plan is too far from fp32 and is not used; ")
                && output.contains(":\n  steering: mean squared error "),
            "{output}"
        );
        assert!(machine.plans().is_empty());
    }
}

#[test]
fn slow_int8_becomes_fp16_with_a_note() {
    let machine = Machine::new();
    machine.answers("floats", 0, |answer| answer);
    let floats = machine.path("floats");
    let environment = [
        ("STAND_IN_SLOW_INT8", "1"),
        ("STAND_IN_ANSWERS", floats.to_str().unwrap()),
    ];
    let output = machine.run(&environment);
    assert!(
        output.starts_with("fp16, from int8 on ") && output.contains("2 results"),
        "{output}"
    );
    assert!(
        output.contains("stand-in has no fast INT8; the plan is fp16 instead"),
        "{output}"
    );
    let output = machine.run(&environment);
    assert!(
        output.starts_with("fp16, from int8 on ") && output.contains("2 results; 0 steps"),
        "{output}"
    );
}

#[test]
fn where_no_int8_plan_can_be_built_the_plan_is_fp16_and_the_reason_is_kept() {
    let machine = Machine::new();
    machine.answers("floats", 0, |answer| answer);
    let floats = machine.path("floats");
    let output = machine.run(&[
        ("STAND_IN_FAIL", "build_plan:1"),
        ("STAND_IN_ANSWERS", floats.to_str().unwrap()),
    ]);
    assert!(
        output.starts_with("fp16, from int8 on ") && output.contains("2 results"),
        "{output}"
    );
    assert!(
        output.contains(
            "no INT8 plan: building the plan failed: build_plan was set to fail; the plan is fp16 \
             instead"
        ),
        "{output}"
    );
    assert_eq!(machine.plans().len(), 1);
}

/// The flags of shim.h with which plans were built.
fn flags(machine: &Machine, environment: &[(&str, &str)]) -> Vec<u32> {
    let file = machine.path("flags");
    let _ = fs::remove_file(&file);
    let environment = [environment, &[("STAND_IN_FLAGS", file.to_str().unwrap())]].concat();
    machine.run(&environment);
    let flags = fs::read_to_string(&file).unwrap();
    flags.lines().map(|line| line.parse().unwrap()).collect()
}

const FP16: u32 = 1;
const INT8: u32 = 2;
const DETAILED: u32 = 4;
const STRONGLY_TYPED: u32 = 8;
const SPARSE_WEIGHTS: u32 = 16;

/// TensorRT 10 takes each layer's type from the model, so that layers kept in float32 are computed
/// in float32. A plan that replaces an INT8 plan has float32 types, and may run in FP16.
#[test]
fn tensorrt_10_builds_networks_that_are_strongly_typed() {
    let machine = Machine::new();
    machine.answers("answers", 0, |answer| answer);
    assert_eq!(flags(&machine, &[]), [INT8 | DETAILED | STRONGLY_TYPED]);
    let machine = Machine::new();
    machine.answers("answers", 0, |answer| answer);
    let slow = [("STAND_IN_SLOW_INT8", "1")];
    assert_eq!(
        flags(&machine, &slow),
        [INT8 | DETAILED | STRONGLY_TYPED, FP16 | DETAILED]
    );
    let machine = Machine::with("[tensorrt]\ndla_core = 0\n");
    machine.answers("answers", 0, |answer| answer);
    assert_eq!(flags(&machine, &[]), [FP16 | DETAILED]);
}

/// The plan that replaces an INT8 plan has the same zeros.
#[test]
fn every_plan_of_a_recipe_with_sparse_weights_may_skip_zeros() {
    let machine = Machine::with("[tensorrt]\nsparse_weights = true\n");
    machine.answers("answers", 0, |answer| answer);
    let slow = [("STAND_IN_SLOW_INT8", "1")];
    assert_eq!(
        flags(&machine, &slow),
        [
            INT8 | DETAILED | STRONGLY_TYPED | SPARSE_WEIGHTS,
            FP16 | DETAILED | SPARSE_WEIGHTS
        ]
    );
}

#[test]
fn a_dla_gets_the_model_in_fp16() {
    let machine = Machine::with(
        "[tensorrt]\ndla_core = 0\nworkspace_mib = 64\ntiming_cache = false\nsparse_weights = true\n",
    );
    machine.answers("answers", 0, |answer| answer);
    let output = machine.run(&[]);
    assert!(output.starts_with("fp16, from int8 on "), "{output}");
    assert!(
        output.contains("a DLA takes no quantized models; the plan is fp16 instead"),
        "{output}"
    );
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    let key = String::from_utf8_lossy(&fs::read(plan).unwrap()).into_owned();
    assert!(
        key.contains("precision: fp16, from int8, DLA core 0, workspace 64 MiB, sparse weights\n"),
        "{key}"
    );
    assert!(machine.times().is_empty());
}

/// Protobuf bytes that add a tensor `w` with its data in another file to a model: a second part of
/// the field `graph` (7) with an initializer (5), which has a name (8) and external_data (13).
const EXTERNAL: &[u8] =
    b"\x3a\x24\x2a\x22\x08\x01\x10\x01\x42\x01w\x6a\x17\x0a\x08location\x12\x0b/etc/passwd\x70\x01";

#[test]
fn nvidias_parser_receives_only_what_pilotages_reader_has_read() {
    let machine = Machine::new();
    let bytes = fs::read(machine.path("engine")).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        change(bundle.sections.get_mut("model.qdq.onnx").unwrap());
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        // The stand-in's parser is in this function, so the error shows whether it was called.
        machine.run(&[("STAND_IN_FAIL", "build_plan")])
    };
    let start = "error: the engine's model cannot be read: ";
    let output = with(&|model| model.extend_from_slice(EXTERNAL));
    assert!(
        output.starts_with(start)
            && output.contains("the tensor `w` keeps its data in another file"),
        "{output}"
    );
    let output = with(&|model| model.truncate(model.len() / 2));
    assert!(output.starts_with(start), "{output}");
    let output = with(&|model| *model = b"not a model".to_vec());
    assert!(output.starts_with(start), "{output}");
    // A valid model reaches the parser.
    let output = with(&|_| ());
    assert!(!output.starts_with(start), "{output}");
    assert!(
        output.starts_with("error: building the plan failed"),
        "{output}"
    );

    // The stand-in's plan ends with the model that it received: an unknown field (100) was removed,
    // and the rest is as Pilotage's compiler wrote it.
    let model = &Bundle::read(&bytes).unwrap().sections["model.qdq.onnx"];
    let mut more = Bundle::read(&bytes).unwrap();
    more.sections
        .get_mut("model.qdq.onnx")
        .unwrap()
        .extend_from_slice(b"\xa2\x06\x05extra");
    fs::write(machine.path("engine"), more.write().unwrap()).unwrap();
    let output = machine.run(&[]);
    assert!(output.starts_with("int8 on "), "{output}");
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    let plan = fs::read(plan).unwrap();
    // The file ends with its digest.
    assert!(plan[..plan.len() - 32].ends_with(model));
}
