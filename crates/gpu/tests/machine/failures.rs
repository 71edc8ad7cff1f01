//! Failing calls, missing parts and invalid engine files: each is reported, and no plan is stored.

use std::fs;

use pilotage_engine::Bundle;

use crate::stand_in::{Machine, SHIM, real};

#[test]
fn every_failed_call_is_reported_and_no_plan_is_stored() {
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
            "building the plan failed: build_plan was set to fail",
        ),
        (
            "runtime_new",
            "starting TensorRT failed: runtime_new was set to fail",
        ),
        (
            "engine_new",
            "loading the plan failed: engine_new was set to fail",
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
            "starting the inference failed: context_enqueue was set to fail",
        ),
        ("cuEventRecord", "marking the beginning of the work failed"),
        ("cuGraphLaunch", "starting the recorded work failed"),
        ("cuEventQuery", "waiting for the GPU failed"),
    ] {
        let output = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(
            output.starts_with("error: ") && output.contains(expected),
            "{call}: {output}"
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
        let output = machine.run(&[("STAND_IN_FAIL", call), ("STAND_IN_INTEGRATED", "0")]);
        assert!(
            output.starts_with("error: ") && output.contains(expected),
            "{call}: {output}"
        );
    }
    // Without a recorded graph each inference is enqueued.
    for call in [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuEventElapsedTime",
    ] {
        let output = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(
            output.starts_with("int8 on ") && output.contains("2 results"),
            "{call}: {output}"
        );
        machine.forget();
    }
    let none_found = machine.run(&[("STAND_IN_NO_DEVICE", "1")]);
    assert!(
        none_found.starts_with("error: the NVIDIA driver knows of no GPU here; "),
        "{none_found}"
    );
    // A plan has more time for its validation than for driving.
    let late = machine.run(&[("STAND_IN_LATE_MS", "400")]);
    assert!(late.starts_with("int8 on "), "{late}");
    machine.forget();
    let late = machine.run(&[("STAND_IN_LATE_MS", "1400")]);
    assert!(
        late.contains("no answer from the device within 1000 ms; "),
        "{late}"
    );
    assert!(machine.plans().is_empty());
}

#[test]
fn a_driver_that_lacks_a_function_is_rejected_by_its_name() {
    let machine = Machine::new();
    let source = include_str!("../../../tensorrt/tests/stand-in/cuda.c");
    let functions = source.lines().filter_map(|line| {
        let name = line.strip_prefix("int ")?.split('(').next()?;
        // The names that the driver of CUDA 10.2 has in their place.
        let older = ["cuDevicePrimaryCtxRelease", "cuGraphInstantiate"];
        // Those that only the driver's test calls (`cargo xtask gpu-test --driver-only`).
        let tests = [
            "cuLaunchHostFunc",
            "cuModuleLoadData",
            "cuModuleGetFunction",
            "cuLaunchKernel",
            "cuCtxGetDevice",
        ];
        let is_needed = !older.contains(&name) && !tests.contains(&name);
        (name.starts_with("cu") && is_needed).then_some(name)
    });
    let mut count = 0;
    for function in functions {
        let hidden = format!("-D{function}=hidden");
        machine.compile(
            "cuda.c",
            &machine.path("libraries/libcuda.so.1"),
            &[&hidden],
        );
        let output = machine.run(&[]);
        assert!(
            output.starts_with(&format!("error: the NVIDIA driver has no {function}: ")),
            "{output}"
        );
        count += 1;
    }
    assert_eq!(count, 32);
}

#[test]
fn a_missing_shim_is_compiled_or_the_error_names_what_is_missing() {
    let machine = Machine::new();
    fs::remove_file(machine.path("shims").join(SHIM)).unwrap();
    let output = machine.run(&[]);
    assert!(output.contains("headers/NvInfer.h not found"), "{output}");
    assert!(output.contains("libnvinfer-headers-dev"), "{output}");

    // The headers are of another version than the library.
    fs::remove_dir(machine.path("headers")).unwrap();
    std::os::unix::fs::symlink(
        real::headers("Enterprise-11.4").folder,
        machine.path("headers"),
    )
    .unwrap();
    let output = machine.run(&[("CXX", "no-such-compiler")]);
    assert!(
        output.contains("no C++ compiler (no-such-compiler: "),
        "{output}"
    );
    assert!(
        output.contains("install the Debian package g++"),
        "{output}"
    );
    let output = machine.run(&[]);
    assert!(
        output.contains(
            "the library is TensorRT 10.3.0, but the headers here are of another version"
        ),
        "{output}"
    );
    assert!(
        output.contains("libtensorrt_rs_shim_110400.so in "),
        "{output}"
    );
    let compiled = fs::read_dir(machine.path("shims")).unwrap().count();
    assert_eq!(
        compiled, 1,
        "only the checksum of the shim that was taken away"
    );
}

#[test]
fn unwritable_plans_and_missing_libraries_are_reported() {
    let machine = Machine::new();
    fs::write(machine.path("plans"), "a file where the folder should be").unwrap();
    let output = machine.run(&[]);
    assert!(
        output.starts_with("error: ") && output.contains("cannot be kept"),
        "{output}"
    );
    machine.forget();

    fs::remove_file(machine.path("libraries/libnvonnxparser.so.10")).unwrap();
    fs::remove_file(machine.path("libraries/libnvinfer.so.10")).unwrap();
    let output = machine.run(&[]);
    assert!(
        output.starts_with("error: TensorRT is not on this machine ("),
        "{output}"
    );
}

#[test]
fn an_engine_file_without_a_model_or_frames_is_rejected() {
    let machine = Machine::new();
    let bytes = fs::read(machine.path("engine")).unwrap();
    let write = |change: fn(&mut Bundle)| {
        let mut bundle = Bundle::read(&bytes).unwrap();
        change(&mut bundle);
        fs::write(machine.path("engine"), bundle.write().unwrap()).unwrap();
        machine.run(&[])
    };
    let output = write(|bundle| drop(bundle.sections.remove("model.qdq.onnx")));
    assert!(output.contains("brings no model for TensorRT"), "{output}");
    let output = write(|bundle| drop(bundle.sections.remove("gate.frames")));
    assert!(
        output.contains("no frames travel with this engine"),
        "{output}"
    );
    let output = write(|bundle| {
        bundle
            .sections
            .get_mut("gate.answers")
            .unwrap()
            .truncate(24)
    });
    assert!(
        output.contains("frames and answers differ in number"),
        "{output}"
    );
    let output = write(|bundle| bundle.manifest.gate.clear());
    assert!(
        output.contains("outputs and limits differ in number"),
        "{output}"
    );
    assert!(machine.plans().is_empty());
}
