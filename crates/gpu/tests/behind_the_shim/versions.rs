//! What differs between versions of TensorRT: the shim's calls, and the models.

use std::fs;

use pilotage_engine::Bundle;
use pilotage_graph::{ElementType, Graph, Op, ReadOptions};

use serde_json::json;

use crate::stand_in::{Machine, real};

/// The calls that the shim makes differently, or at another place of a virtual table, and the error
/// that the failure of each ends in.
const CALLS: [(&str, &str); 12] = [
    ("parse", "TensorRT cannot read the model at node 7"),
    ("buildSerializedNetwork", "building the plan failed"),
    ("deserializeCudaEngine", "loading the plan failed"),
    (
        "createExecutionContext",
        "making an execution context failed",
    ),
    ("getNbIOTensors", "takes and gives other tensors"),
    ("getIOTensorName", "tensor 0 has no name or no valid shape"),
    ("getTensorShape", "tensor 0 has no name or no valid shape"),
    ("getTensorDataType", "its elements are Other(4)"),
    ("getTensorFormat", "its elements do not lie row by row"),
    ("getTensorIOMode", "takes and gives other tensors"),
    ("setTensorAddress", "binding a tensor failed"),
    ("enqueueV3", "starting the inference failed"),
];

#[test]
fn each_version_of_tensorrt_builds_and_runs_a_plan_and_reports_each_failed_call() {
    for headers in real::stand_in_headers() {
        let machine = Machine::with_headers(&headers, "c++");
        let version = machine.version();
        for (call, expected) in CALLS {
            let call = machine.call(call);
            let output = machine.run(&[("STAND_IN_FAIL", call)]);
            assert!(output.starts_with("error: "), "{version} {call}: {output}");
            assert!(output.contains(expected), "{version} {call}: {output}");
            assert!(machine.plans().is_empty(), "{version} {call}");
        }
        let flags = machine.path("flags");
        let output = machine.run(&[("STAND_IN_FLAGS", flags.to_str().unwrap())]);
        crate::assert_built(&machine, &output);
        let expected = match version.parts() {
            (..10, ..) => "int8 \n",
            (10, ..) => "typed \n",
            _ => "\n",
        };
        let without = fs::read_to_string(&flags).unwrap();
        assert_eq!(without, expected, "{version}");
        // Another plan, with the builder's flag.
        let bytes = fs::read(machine.path("engine")).unwrap();
        let mut bundle = Bundle::read(&bytes).unwrap();
        bundle.manifest.recipe["tensorrt"] = json!({"sparse_weights": true});
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        machine.run(&[("STAND_IN_FLAGS", flags.to_str().unwrap())]);
        let with = fs::read_to_string(&flags).unwrap();
        let sparse = expected.replace('\n', "sparse \n");
        assert_eq!(with, format!("{expected}{sparse}"), "{version}");
        fs::write(machine.path("engine"), &bytes).unwrap();
        for environment in [
            ("PILOTAGE_TEST_NO_GRAPH", "0"),
            ("STAND_IN_INTEGRATED", "0"),
        ] {
            let output = machine.does("drives", &[environment]);
            let answers = "answered, 0 allocations\n".repeat(4);
            assert_eq!(output, answers, "{version} {environment:?}");
        }
    }
}

/// JetPack 4.6.1: TensorRT 8.2 reads no float16 beside quantized values and no 8-bit weights, and the
/// driver of CUDA 10.2 has older names of two functions.
#[test]
fn jetpack_4_6_gets_a_model_in_float32() {
    let machine = Machine::of_jetpack_4_6("[layers]\n\"/conv/conv.1/Conv\" = \"fp16\"\n");
    let trace = machine.path("trace");
    let flags = machine.path("flags");
    let output = machine.run(&[
        ("STAND_IN_TRACE", trace.to_str().unwrap()),
        ("STAND_IN_FLAGS", flags.to_str().unwrap()),
    ]);
    assert!(
        output.starts_with("int8 on TensorRT 8.2.1 on stand-in; 2 results; "),
        "{output}"
    );
    // INT8, and details for the report.
    assert_eq!(fs::read_to_string(flags).unwrap(), "6\n");
    let trace = fs::read_to_string(trace).unwrap();
    for call in [
        "cuGraphInstantiate",
        "cuGraphLaunch",
        "cuDevicePrimaryCtxRelease",
    ] {
        assert!(trace.lines().any(|line| line == call), "{call}: {trace}");
    }

    // The stand-in's plan ends with the model, and the file with its digest.
    let plan = fs::read(&machine.plans()[0]).unwrap();
    let start = b"stand-in plan\0";
    let at = plan.windows(start.len()).position(|bytes| bytes == start);
    let model = &plan[at.unwrap() + start.len()..plan.len() - 32];
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    assert!(
        graph
            .nodes
            .iter()
            .any(|node| matches!(node.op, Op::QuantizeLinear { .. }))
    );
    for value in &graph.values {
        assert_ne!(value.element_type, ElementType::F16, "{}", value.name);
    }
    for node in &graph.nodes {
        if matches!(node.op, Op::DequantizeLinear { .. }) {
            let input = graph.value(node.inputs[0]);
            let is_weight = input.element_type == ElementType::I8 && input.constant.is_some();
            assert!(!is_weight, "{}", input.name);
        }
    }
}
