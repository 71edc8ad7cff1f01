//! `prepare`, from an engine file to a proven plan, on a machine that has only stand-ins for CUDA
//! and TensorRT (tests/stand-in): each run is a process of its own, with its own environment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

#[path = "stand-in/mod.rs"]
mod stand_in;

use std::fs;

use pilotage_engine::Bundle;
use stand_in::real;
use stand_in::{LIBRARY, Machine, SHIM};

/// What the tests below run in another process, with stand-ins in its way.
fn play(role: &str) {
    assert_eq!(role, "prepares");
    stand_in::prepares();
}

#[test]
fn a_plan_is_built_proven_and_kept_once() {
    let machine = Machine::new();
    let said = machine.run(&[]);
    assert!(
        said.starts_with(&format!("int8 on {LIBRARY} on stand-in; 2 results; ")),
        "{said}"
    );
    assert!(
        said.contains("2 steps; layers Some(\"Name: only, LayerType: stand-in\")"),
        "{said}"
    );
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    assert_eq!(machine.times(), [1]);

    // The second time nothing is built.
    let said = machine.run(&[("STAND_IN_FAIL", "build_plan")]);
    assert!(said.contains("2 results; 0 steps; layers None"), "{said}");

    // Half of it, as a power cut leaves a file: never loaded, built anew, the timings known.
    let whole = fs::read(plan).unwrap();
    fs::write(plan, &whole[..whole.len() / 2]).unwrap();
    let said = machine.run(&[]);
    assert!(
        said.contains("built anew: ") && said.contains("the plan is damaged"),
        "{said}"
    );
    assert_eq!(fs::read(plan).unwrap(), whole);
    assert_eq!(machine.times(), [2]);

    // Answers that have become wrong, as of a driver that was repaired badly: a plan is proven
    // whenever it is loaded, and is built anew once.
    machine.answers("wrong", 2, |x| x + 0.6);
    let wrong = machine.path("wrong");
    let said = machine.run(&[("STAND_IN_ANSWERS", wrong.to_str().unwrap())]);
    assert!(said.starts_with("error: the plan is too far"), "{said}");

    // One that does not load any more is built anew, once.
    let said = machine.run(&[("STAND_IN_FAIL", "engine_new:1")]);
    assert!(
        said.contains("built anew: ") && said.contains("2 results; 2 steps"),
        "{said}"
    );
    let said = machine.run(&[("STAND_IN_FAIL", "engine_new")]);
    assert!(said.starts_with("error: "), "{said}");

    // A plan that was proven by other limits has not been proven.
    let bytes = fs::read(machine.path("engine")).unwrap();
    let limits = |most_mse: f64| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        bundle.manifest.gate[0].most_mse = most_mse;
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        machine.run(&[])
    };
    let said = limits(0.04);
    assert!(
        said.contains("the plan was built for another proof"),
        "{said}"
    );
    let said = limits(1e-30);
    assert!(said.starts_with("error: the plan is too far"), "{said}");
    fs::write(machine.path("engine"), &bytes).unwrap();

    // A device with memory of its own gives the same answers by copies.
    machine.forget();
    let said = machine.run(&[("STAND_IN_INTEGRATED", "0")]);
    assert!(
        said.starts_with("int8 on ") && said.contains("2 results"),
        "{said}"
    );
}

#[test]
fn a_plan_too_far_from_fp32_is_thrown_away() {
    let machine = Machine::new();
    for change in [|x| x + 0.6, |_| f32::NAN, |_| f32::INFINITY, |x| x * 1e6] {
        machine.answers("answers", 2, change);
        let said = machine.run(&[]);
        assert!(
            said.starts_with("error: the plan is too far from fp32 and is not used; ")
                && said.contains(":\n  steering: mean squared error "),
            "{said}"
        );
        assert!(machine.plans().is_empty());
    }
}

#[test]
fn slow_int8_becomes_fp16_and_is_said() {
    let machine = Machine::new();
    machine.answers("floats", 0, |answer| answer);
    let floats = machine.path("floats");
    let environment = [
        ("STAND_IN_SLOW_INT8", "1"),
        ("STAND_IN_ANSWERS", floats.to_str().unwrap()),
    ];
    let said = machine.run(&environment);
    assert!(
        said.starts_with("fp16, from int8 on ") && said.contains("2 results"),
        "{said}"
    );
    assert!(
        said.contains("stand-in has no fast INT8; the plan is fp16 instead"),
        "{said}"
    );
    let said = machine.run(&environment);
    assert!(
        said.starts_with("fp16, from int8 on ") && said.contains("2 results; 0 steps"),
        "{said}"
    );
}

#[test]
fn a_dla_gets_the_model_in_fp16() {
    let machine =
        Machine::with("[tensorrt]\ndla_core = 0\nworkspace_mib = 64\ntiming_cache = false\n");
    machine.answers("answers", 0, |answer| answer);
    let said = machine.run(&[]);
    assert!(said.starts_with("fp16, from int8 on "), "{said}");
    assert!(
        said.contains("a DLA takes no quantised models; the plan is fp16 instead"),
        "{said}"
    );
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    let key = String::from_utf8_lossy(&fs::read(plan).unwrap()).into_owned();
    assert!(
        key.contains("precision: fp16, from int8, DLA core 0, workspace 64 MiB\n"),
        "{key}"
    );
    assert!(machine.times().is_empty());
}

#[test]
fn every_call_that_fails_ends_in_a_message_and_keeps_nothing() {
    let machine = Machine::new();
    for (call, expected) in [
        (
            "cuInit",
            "starting CUDA failed: unknown error (CUDA_ERROR_UNKNOWN)",
        ),
        ("cuDeviceGetCount", "the NVIDIA driver knows of no GPU here"),
        ("cuDeviceGet", "opening the GPU failed"),
        (
            "cuDeviceGetAttribute",
            "asking the GPU for its properties failed",
        ),
        ("cuDeviceGetName", "asking the GPU for its name failed"),
        (
            "cuDriverGetVersion",
            "asking the driver for its version failed",
        ),
        ("cuDevicePrimaryCtxRetain", "making a CUDA context failed"),
        ("cuCtxSetCurrent", "choosing the GPU failed"),
        (
            "build_plan",
            "building the plan failed: build_plan was told to fail",
        ),
        (
            "runtime_new",
            "starting TensorRT failed: runtime_new was told to fail",
        ),
        (
            "engine_new",
            "loading the plan failed: engine_new was told to fail",
        ),
        ("context_new", "making an execution context failed"),
        (
            "cuMemHostAlloc",
            "taking pinned memory failed: out of memory (CUDA_ERROR_OUT_OF_MEMORY)",
        ),
        (
            "cuMemHostGetDevicePointer_v2",
            "mapping memory for the GPU failed",
        ),
        ("context_bind", "binding a tensor failed"),
        (
            "cuCtxGetStreamPriorityRange",
            "asking for the priorities of streams failed",
        ),
        ("cuStreamCreateWithPriority", "making a stream failed"),
        ("cuEventCreate", "making an event failed"),
        (
            "context_enqueue",
            "starting the inference failed: context_enqueue was told to fail",
        ),
        ("cuEventRecord", "marking the beginning of the work failed"),
        ("cuGraphLaunch", "starting the recorded work failed"),
        ("cuEventQuery", "waiting for the GPU failed"),
    ] {
        let said = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{call}: {said}"
        );
        assert!(machine.plans().is_empty(), "{call}");
    }
    for (call, expected) in [
        (
            "cuMemAlloc_v2",
            "taking the GPU's memory failed: out of memory",
        ),
        ("cuMemcpyHtoDAsync_v2", "copying to the GPU failed"),
        ("cuMemcpyDtoHAsync_v2", "copying from the GPU failed"),
    ] {
        let said = machine.run(&[("STAND_IN_FAIL", call), ("STAND_IN_INTEGRATED", "0")]);
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{call}: {said}"
        );
    }
    // Where no graph can be recorded, each inference is enqueued anew.
    for call in [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuEventElapsedTime",
    ] {
        let said = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(
            said.starts_with("int8 on ") && said.contains("2 results"),
            "{call}: {said}"
        );
        machine.forget();
    }
    let nothing = machine.run(&[("STAND_IN_NO_DEVICE", "1")]);
    assert!(
        nothing.starts_with("error: the NVIDIA driver knows of no GPU here; "),
        "{nothing}"
    );
    let late = machine.run(&[("STAND_IN_LATE_MS", "400")]);
    assert!(
        late.contains("no answer from the device within 100 ms; "),
        "{late}"
    );
    assert!(machine.plans().is_empty());
}

#[test]
fn a_driver_without_a_function_is_refused_by_the_functions_name() {
    let machine = Machine::new();
    let source = include_str!("stand-in/cuda.c");
    let functions = source.lines().filter_map(|line| {
        let name = line.strip_prefix("int ")?.split('(').next()?;
        name.starts_with("cu").then_some(name)
    });
    let mut count = 0;
    for function in functions {
        let hidden = format!("-D{function}=hidden");
        machine.compile("cuda.c", &machine.path("libraries/libcuda.so"), &[&hidden]);
        let said = machine.run(&[]);
        assert!(
            said.starts_with(&format!("error: the NVIDIA driver has no {function}: ")),
            "{said}"
        );
        count += 1;
    }
    assert_eq!(count, 32);
}

#[test]
fn a_missing_shim_is_compiled_or_says_what_it_lacks() {
    let machine = Machine::new();
    fs::remove_file(machine.path("shims").join(SHIM)).unwrap();
    let said = machine.run(&[]);
    assert!(said.contains("headers/NvInfer.h not found"), "{said}");
    assert!(said.contains("libnvinfer-headers-dev"), "{said}");

    // Headers of another version than the library.
    fs::remove_dir(machine.path("headers")).unwrap();
    std::os::unix::fs::symlink(
        real::headers("Enterprise-11.4").folder,
        machine.path("headers"),
    )
    .unwrap();
    let said = machine.run(&[("CXX", "no-such-compiler")]);
    assert!(
        said.contains("no C++ compiler (no-such-compiler: "),
        "{said}"
    );
    assert!(said.contains("install the Debian package g++"), "{said}");
    let said = machine.run(&[]);
    assert!(
        said.contains(
            "the library is TensorRT 10.3.0, but the headers here are of another version"
        ),
        "{said}"
    );
    assert!(
        said.contains("libpilotage_tensorrt_110400.so in "),
        "{said}"
    );
    let compiled = fs::read_dir(machine.path("shims")).unwrap().count();
    assert_eq!(
        compiled, 1,
        "only the checksum of the shim that was taken away"
    );
}

#[test]
fn plans_that_cannot_be_kept_and_missing_libraries_are_said() {
    let machine = Machine::new();
    fs::write(machine.path("plans"), "a file where the folder should be").unwrap();
    let said = machine.run(&[]);
    assert!(
        said.starts_with("error: ") && said.contains("cannot be kept"),
        "{said}"
    );
    machine.forget();

    fs::remove_file(machine.path("libraries/libnvonnxparser.so.10")).unwrap();
    fs::remove_file(machine.path("libraries/libnvinfer.so.10")).unwrap();
    let said = machine.run(&[]);
    assert!(
        said.starts_with("error: TensorRT is not on this machine ("),
        "{said}"
    );
}

/// A tensor `w` with its data in another file, to be added to a model: a further part of its field
/// `graph` (7) with an initializer (5), whose name is field 8 and whose external_data 13.
const EXTERNAL: &[u8] =
    b"\x3a\x24\x2a\x22\x08\x01\x10\x01\x42\x01w\x6a\x17\x0a\x08location\x12\x0b/etc/passwd\x70\x01";

#[test]
fn the_parser_is_given_only_what_our_own_reader_has_read() {
    let machine = Machine::new();
    let bytes = fs::read(machine.path("engine")).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        change(bundle.sections.get_mut("model.qdq.onnx").unwrap());
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        // Says whether the parser, which the stand-in has in this function, was reached.
        machine.run(&[("STAND_IN_FAIL", "build_plan")])
    };
    let start = "error: the engine's model cannot be read: ";
    let said = with(&|model| model.extend_from_slice(EXTERNAL));
    assert!(
        said.starts_with(start) && said.contains("the tensor `w` keeps its data in another file"),
        "{said}"
    );
    let said = with(&|model| model.truncate(model.len() / 2));
    assert!(said.starts_with(start), "{said}");
    let said = with(&|model| *model = b"not a model".to_vec());
    assert!(said.starts_with(start), "{said}");
    // The control: a sound model reaches the parser.
    let said = with(&|_| ());
    assert!(!said.starts_with(start), "{said}");
    assert!(
        said.starts_with("error: building the plan failed"),
        "{said}"
    );

    // The stand-in's plan ends with the model that it was given: an unknown field (100) is gone,
    // the rest is as our compiler wrote it.
    let model = &Bundle::read(&bytes).unwrap().sections["model.qdq.onnx"];
    let mut more = Bundle::read(&bytes).unwrap();
    more.sections
        .get_mut("model.qdq.onnx")
        .unwrap()
        .extend_from_slice(b"\xa2\x06\x05extra");
    fs::write(machine.path("engine"), more.write().unwrap()).unwrap();
    let said = machine.run(&[]);
    assert!(said.starts_with("int8 on "), "{said}");
    let [plan] = &machine.plans()[..] else {
        panic!()
    };
    let plan = fs::read(plan).unwrap();
    // Followed by the digest of the file.
    assert!(plan[..plan.len() - 32].ends_with(model));
}

#[test]
fn an_engine_without_a_model_or_frames_is_refused() {
    let machine = Machine::new();
    let bytes = fs::read(machine.path("engine")).unwrap();
    let write = |change: fn(&mut Bundle)| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        change(&mut bundle);
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        machine.run(&[])
    };
    let said = write(|bundle| drop(bundle.sections.remove("model.qdq.onnx")));
    assert!(said.contains("brings no model for TensorRT"), "{said}");
    let said = write(|bundle| drop(bundle.sections.remove("gate.frames")));
    assert!(said.contains("no frames travel with this engine"), "{said}");
    let said = write(|bundle| {
        bundle
            .sections
            .get_mut("gate.answers")
            .unwrap()
            .truncate(24)
    });
    assert!(
        said.contains("frames and answers differ in number"),
        "{said}"
    );
    let said = write(|bundle| bundle.manifest.gate.clear());
    assert!(
        said.contains("outputs and limits differ in number"),
        "{said}"
    );
    assert!(machine.plans().is_empty());
}
