//! Tests of the real shim. It is compiled here against NVIDIA's headers. Behind it are a stand-in
//! for TensorRT with NVIDIA's C++ interfaces (crates/tensorrt/tests/stand-in/nvinfer.cpp) and one for CUDA.
//! `cargo xtask stand-ins` runs these tests with the headers of other versions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod failures;
#[path = "../stand-in/mod.rs"]
mod stand_in;
mod versions;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use pilotage_engine::{Engine, TensorMut, TensorRef, ValidationSet};
use pilotage_gpu::load;
use tensorrt_rs::{Owner, Priority, Product, RunOptions, TensorRt, TrustedBytes};

use stand_in::{Machine, mode};

/// Runs a role of the tests below in the child process, which loads the stand-ins.
fn play(role: &str) {
    match role {
        "prepares" => stand_in::prepares(),
        "drives" => drives(),
        "shares" => shares(),
        "reports" => reports(),
        other => panic!("{other}"),
    }
}

/// The number of inferences of [`drives`].
const ROUNDS: usize = 4;

/// Loads a prepared plan and runs it on [`ROUNDS`] frames. Writes a line for each.
fn drives() {
    let (place, bundle, places) = stand_in::child_environment();
    let graph = std::env::var_os("PILOTAGE_TEST_NO_GRAPH").is_none();
    let options = RunOptions {
        graph,
        ..RunOptions::default()
    };
    let mut output = String::new();
    match load(&bundle, &places, options) {
        Err(error) => write!(output, "error: {error}").unwrap(),
        Ok(mut plan) => {
            let validation = ValidationSet::of(&bundle).unwrap();
            let frame = &validation.frames()[0];
            let pixels: Vec<i8> = frame
                .iter()
                .map(|&pixel| (pixel ^ 0x80).cast_signed())
                .collect();
            for _ in 0..ROUNDS {
                let mut answer = [f32::NAN; 2];
                let mut result = None;
                let counted = allocation_counter::measure(|| {
                    let outputs = &mut [TensorMut::F32(&mut answer)];
                    result = Some(plan.engine.infer(&[TensorRef::I8(&pixels)], outputs));
                });
                let allocations = counted.count_total;
                match result.unwrap() {
                    Ok(_) => {
                        assert!(
                            answer.iter().all(|number| number.abs() < 10.0),
                            "{answer:?}"
                        );
                        writeln!(output, "answered, {allocations} allocations").unwrap();
                    }
                    Err(error) => writeln!(output, "{error}").unwrap(),
                }
            }
        }
    }
    fs::write(place.join("output"), output).unwrap();
}

/// Runs two engines of one plan alternately, one with high and one with low priority.
fn shares() {
    let (place, bundle, places) = stand_in::child_environment();
    let priorities = [Priority::High, Priority::Low];
    let mut engines = priorities.map(|priority| {
        let options = RunOptions {
            priority,
            ..RunOptions::default()
        };
        load(&bundle, &places, options).unwrap().engine
    });
    let validation = ValidationSet::of(&bundle).unwrap();
    let mut answers = Vec::new();
    for round in 0..4 {
        // Each engine gets another frame, so that an answer of the other engine would be noticed.
        for (index, engine) in engines.iter_mut().enumerate() {
            let frame = &validation.frames()[(round + index) % 2];
            let pixels: Vec<i8> = frame.iter().map(|&p| (p ^ 0x80).cast_signed()).collect();
            let mut answer = [f32::NAN; 2];
            let outputs = &mut [TensorMut::F32(&mut answer)];
            engine.infer(&[TensorRef::I8(&pixels)], outputs).unwrap();
            answers.push(((round + index) % 2, answer.map(f32::to_bits)));
        }
    }
    let of = |frame| answers.iter().filter(move |answer| answer.0 == frame);
    assert!(of(0).all(|answer| answer == &answers[0]));
    assert!(of(1).all(|answer| answer == &answers[1]));
    assert_ne!(answers[0].1, answers[1].1);
    fs::write(place.join("output"), "shared").unwrap();
}

/// Writes TensorRT's report of a plan's layers.
fn reports() {
    let (place, _, places) = stand_in::child_environment();
    let plan = fs::read_dir(&places.plans)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|file| file.extension().is_some_and(|e| e == "plan"));
    let content = TrustedBytes::read(&plan.unwrap(), Owner::RootOrUser, 1 << 20).unwrap();
    let key = content.windows(2).position(|pair| pair == b"\n\n").unwrap();
    // The file ends with the checksum.
    let plan = content.part(key + 2..content.len() - 32).unwrap();
    let library = TensorRt::open(
        Product::TensorRt,
        places.libraries.as_deref(),
        &places.shims,
    );
    let engine = library.unwrap().runtime(None).unwrap().load(&plan).unwrap();
    let output = match engine.report() {
        Ok(report) => report,
        Err(error) => error.to_string(),
    };
    fs::write(place.join("output"), output).unwrap();
}

#[test]
fn the_layer_report_is_tensorrts_own() {
    let machine = Machine::behind_the_shim("c++");
    assert_built(&machine, &machine.run(&[]));
    assert_eq!(machine.does("reports", &[]), r#"{"Layers": ["only"]}"#);
    let output = machine.does("reports", &[("STAND_IN_FAIL", "createEngineInspector")]);
    assert!(
        output.starts_with("asking for the layer report failed: createEngineInspector was set"),
        "{output}"
    );
}

#[test]
fn two_engines_share_the_device_on_streams_of_their_own_priority() {
    let machine = Machine::behind_the_shim("c++");
    assert_built(&machine, &machine.run(&[]));
    let log = machine.path("log");
    let output = machine.does("shares", &[("STAND_IN_LOG", log.to_str().unwrap())]);
    assert_eq!(output, "shared");
    let log = fs::read_to_string(&log).unwrap();
    let streams: Vec<_> = log.lines().filter(|line| line.contains("stream")).collect();
    // CUDA's greatest priority is its lowest number.
    let expected = ["a stream of priority -5", "a stream of priority 0"];
    assert_eq!(streams, expected, "{log}");
}

/// The file of the timing cache.
fn timing_file(machine: &Machine) -> PathBuf {
    let files = fs::read_dir(machine.path("plans")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    files
        .find(|file| file.extension().is_some_and(|e| e == "cache"))
        .unwrap()
}

fn assert_built(machine: &Machine, output: &str) {
    let start = format!("int8 on {} on stand-in; 2 results; ", machine.version());
    assert!(output.starts_with(&start), "{output}");
}

#[test]
fn a_plan_is_built_validated_and_run() {
    let machine = Machine::behind_the_shim("c++");
    let output = machine.run(&[]);
    assert_built(&machine, &output);
    assert!(
        output.contains("layers Some(\"Name: only, LayerType: stand-in\")"),
        "{output}"
    );
    assert!(
        output.contains("compiled ") && output.contains(&machine.version().shim_file()),
        "{output}"
    );
    let output = machine.run(&[("STAND_IN_FAIL", "buildSerializedNetwork")]);
    assert!(output.contains("2 results; 0 steps"), "{output}");
    for environment in [&[][..], &[("PILOTAGE_TEST_NO_GRAPH", "1")]] {
        let output = machine.does("drives", environment);
        assert_eq!(
            output,
            "answered, 0 allocations\n".repeat(ROUNDS),
            "{environment:?}"
        );
    }
}

#[test]
fn an_unusable_timing_cache_is_replaced_and_is_not_the_reported_reason() {
    let machine = Machine::behind_the_shim("c++");
    assert_built(&machine, &machine.run(&[]));
    let file = timing_file(&machine);
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 1");
    let remove_plans = || {
        machine
            .plans()
            .iter()
            .for_each(|plan| fs::remove_file(plan).unwrap())
    };
    remove_plans();
    assert_built(&machine, &machine.run(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 2");
    for bad in ["times of another device", "half of a fi"] {
        fs::write(&file, bad).unwrap();
        remove_plans();
        let output = machine.run(&[("STAND_IN_FAIL", "buildSerializedNetwork")]);
        assert_eq!(
            output,
            "error: building the plan failed: buildSerializedNetwork was set to fail"
        );
        assert_built(&machine, &machine.run(&[]));
        assert_eq!(fs::read_to_string(&file).unwrap(), "times 1", "{bad}");
    }
    // A file that others may write is not passed to TensorRT.
    fs::write(&file, "half of a fi").unwrap();
    mode(&file, 0o666);
    remove_plans();
    let output = machine.run(&[]);
    assert_built(&machine, &output);
    assert!(output.contains("can be written by others"), "{output}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 1");
}

#[test]
fn errors_behind_the_shim_carry_tensorrts_message() {
    let machine = Machine::behind_the_shim("c++");
    for (call, doing) in [
        ("createInferBuilder", "building the plan failed"),
        ("createNetworkV2", "building the plan failed"),
        ("createBuilderConfig", "building the plan failed"),
        ("createNvOnnxParser", "building the plan failed"),
        ("parse", "TensorRT cannot read the model"),
        ("buildSerializedNetwork", "building the plan failed"),
        ("createInferRuntime", "starting TensorRT failed"),
        ("deserializeCudaEngine", "loading the plan failed"),
        (
            "createExecutionContext",
            "making an execution context failed",
        ),
        (machine.call("setTensorAddress"), "binding a tensor failed"),
        (machine.call("enqueueV3"), "starting the inference failed"),
    ] {
        let output = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(output.starts_with("error: "), "{call}: {output}");
        assert!(output.contains(doing), "{call}: {output}");
        assert!(
            output.contains(&format!(": {call} was set to fail")),
            "{output}"
        );
        assert!(machine.plans().is_empty(), "{call}");
    }
}

#[test]
fn buffers_are_leaked_when_the_end_of_the_work_cannot_be_marked() {
    let machine = Machine::behind_the_shim("c++");
    assert_built(&machine, &machine.run(&[]));
    let log = machine.path("given-back");
    let trace = machine.path("trace");
    let environment = ("STAND_IN_LOG", log.to_str().unwrap());
    let traced = ("STAND_IN_TRACE", trace.to_str().unwrap());
    machine.does("drives", &[environment, traced]);
    let given_back = fs::read_to_string(&log).unwrap();
    assert!(given_back.contains("cuMemFreeHost"), "{given_back}");
    let last = given_back.lines().last().unwrap();
    assert!(
        last.starts_with("cuDevicePrimaryCtxRelease"),
        "{given_back}"
    );

    fs::remove_file(&log).unwrap();
    // Each inference ends with two marks, at the beginning and at the end of its work. The mark of
    // the third round's end fails: only the fourth round's two are after it.
    let trace = fs::read_to_string(&trace).unwrap();
    let marks = trace.lines().filter(|call| *call == "cuEventRecord");
    let fault = format!("cuEventRecord:{}", marks.count() - 2);
    let output = machine.does("drives", &[environment, ("STAND_IN_FAIL", &fault)]);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["answered, 0 allocations"; 2], "{output}");
    assert!(
        lines[2].contains("marking the end of the work failed"),
        "{output}"
    );
    assert!(lines[3].contains("cannot be followed any more"), "{output}");
    let log = fs::read_to_string(&log).unwrap();
    assert!(
        log.lines().all(|line| line.starts_with("a stream")),
        "{log}"
    );
}

#[test]
fn an_unknown_cuda_error_is_reported_by_its_code() {
    let machine = Machine::new();
    let output = machine.run(&[
        ("STAND_IN_FAIL", "cuStreamCreateWithPriority"),
        ("STAND_IN_CODE", "4242"),
    ]);
    assert!(
        output.starts_with("error: ") && output.contains("making a stream failed"),
        "{output}"
    );
    assert!(output.contains("CUDA error 4242"), "{output}");
}

#[test]
fn a_shim_without_its_checksum_is_recompiled_and_never_opened() {
    let machine = Machine::behind_the_shim("c++");
    assert_built(&machine, &machine.run(&[]));
    let shim = machine.shim();
    let checksum = shim.with_extension("so.sha256");
    let whole = fs::read_to_string(&checksum).unwrap();
    // The checksum is written first: after a power failure the old shim, or none, is beside the new
    // checksum.
    fs::write(&checksum, "0".repeat(64)).unwrap();
    let output = machine.run(&[]);
    assert_built(&machine, &output);
    assert!(output.contains("compiled "), "{output}");
    assert_eq!(fs::read_to_string(&checksum).unwrap(), whole);
    fs::remove_file(&shim).unwrap();
    let output = machine.run(&[]);
    assert!(output.contains("compiled "), "{output}");

    // In a folder that others may write no shim is opened. The error must state this, and not that
    // the headers are of another version.
    mode(&machine.path("shims"), 0o777);
    let output = machine.run(&[]);
    assert!(
        output.starts_with(&format!(
            "error: there is no shim for {}",
            machine.version()
        )),
        "{output}"
    );
    assert!(
        output.contains("/shims can be written by others"),
        "{output}"
    );
    mode(&machine.path("shims"), 0o755);

    // An unusable folder of headers of the same version does not prevent the use of the next one.
    let broken = machine.path("broken-headers");
    fs::create_dir(&broken).unwrap();
    let good = machine.path("headers");
    for name in ["NvInferVersion.h", "NvOnnxParser.h"] {
        fs::copy(good.join(name), broken.join(name)).unwrap();
    }
    fs::write(broken.join("NvInfer.h"), "#error half of a download\n").unwrap();
    fs::remove_file(&shim).unwrap();
    let output = machine.run(&[]);
    assert_built(&machine, &output);
    assert!(output.contains("compiled "), "{output}");
    fs::remove_file(&shim).unwrap();
    fs::remove_file(&good).unwrap();
    let output = machine.run(&[]);
    assert!(output.contains("half of a download"), "{output}");
}

/// Shim and stand-in under AddressSanitizer: a use after free ends the process.
#[test]
fn address_sanitizer_finds_no_error() {
    let tools = tempfile::tempdir().unwrap();
    let compiler = tools.path().join("c++");
    fs::write(
        &compiler,
        "#!/bin/sh\nexec c++ -fsanitize=address -fsanitize-address-use-after-scope \"$@\"\n",
    )
    .unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    let compiler = compiler.to_str().unwrap();
    let machine = Machine::behind_the_shim(compiler);
    let library = Command::new("c++")
        .arg("-print-file-name=libasan.so")
        .output();
    let library = String::from_utf8(library.unwrap().stdout).unwrap();
    let sanitized = [
        ("CXX", compiler),
        ("LD_PRELOAD", library.trim()),
        // Objects that stay open until the end are not leaks. Rust's part is not instrumented.
        (
            "ASAN_OPTIONS",
            "detect_leaks=0:detect_stack_use_after_return=1",
        ),
    ];
    assert_built(&machine, &machine.run(&sanitized));
    let shim = fs::read(machine.shim()).unwrap();
    assert!(shim.windows(6).any(|bytes| bytes == b"__asan"));
    let output = machine.does("drives", &sanitized);
    assert_eq!(output.matches("answered").count(), ROUNDS, "{output}");
    for call in [
        "buildSerializedNetwork",
        "createBuilderConfig",
        "createExecutionContext",
    ] {
        machine.forget();
        let mut environment = sanitized.to_vec();
        environment.push(("STAND_IN_FAIL", call));
        let output = machine.run(&environment);
        assert!(
            output.contains(&format!("{call} was set to fail")),
            "{output}"
        );
    }
}
