//! The real shim, compiled here against NVIDIA's headers, over a stand-in of TensorRT that only
//! NVIDIA's own interfaces lead to (tests/stand-in/nvinfer.cpp), and one of CUDA.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unsafe_code,
    reason = "a failure is a panic; the environment and the allocator are C's"
)]

#[path = "stand-in/mod.rs"]
mod stand_in;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use pilotage_compiler::Proof;
use pilotage_engine::{Engine, TensorMut, TensorRef};
use pilotage_tensorrt::{EngineOptions, Priority, Product, TensorRt, load};
use stand_in::{Machine, mode};

/// Counts what a thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What the tests below run in another process, with stand-ins in its way.
fn play(role: &str) {
    match role {
        "prepares" => stand_in::prepares(),
        "drives" => drives(),
        "shares" => shares(),
        "reports" => reports(),
        other => panic!("{other}"),
    }
}

/// A plan that was prepared answers four frames. A line for each.
fn drives() {
    let (place, bundle, places) = stand_in::told();
    let graph = std::env::var_os("PILOTAGE_TEST_NO_GRAPH").is_none();
    let options = EngineOptions {
        graph,
        ..EngineOptions::default()
    };
    let mut said = String::new();
    match load(&bundle, &places, options) {
        Err(error) => write!(said, "error: {error}").unwrap(),
        Ok(mut proven) => {
            let proof = Proof::of(&bundle).unwrap();
            let frame = &proof.frames()[0];
            let levels: Vec<i8> = frame
                .iter()
                .map(|&pixel| (pixel ^ 0x80).cast_signed())
                .collect();
            for round in 0..4 {
                if round == 2
                    && let Some(call) = std::env::var_os("PILOTAGE_TEST_THEN_FAILS")
                {
                    // SAFETY: nothing else reads the environment now.
                    unsafe { std::env::set_var("STAND_IN_FAIL", call) };
                }
                let mut answer = [f32::NAN; 2];
                let before = TAKEN.with(Cell::get);
                let done = proven.engine.infer(
                    &[TensorRef::I8(&levels)],
                    &mut [TensorMut::F32(&mut answer)],
                );
                let taken = TAKEN.with(Cell::get) - before;
                match done {
                    Ok(_) => {
                        assert!(
                            answer.iter().all(|number| number.abs() < 10.0),
                            "{answer:?}"
                        );
                        writeln!(said, "answered, {taken} allocations").unwrap();
                    }
                    Err(error) => writeln!(said, "{error}").unwrap(),
                }
            }
        }
    }
    fs::write(place.join("said"), said).unwrap();
}

/// Two engines of one plan, one whose work goes first, answer by turns.
fn shares() {
    let (place, bundle, places) = stand_in::told();
    let priorities = [Priority::High, Priority::Low];
    let mut engines = priorities.map(|priority| {
        let options = EngineOptions {
            priority,
            ..EngineOptions::default()
        };
        load(&bundle, &places, options).unwrap().engine
    });
    let proof = Proof::of(&bundle).unwrap();
    let mut answers = Vec::new();
    for round in 0..4 {
        // Each is given another frame, so that an answer of the other's would show.
        for (place, engine) in engines.iter_mut().enumerate() {
            let frame = &proof.frames()[(round + place) % 2];
            let levels: Vec<i8> = frame.iter().map(|&p| (p ^ 0x80).cast_signed()).collect();
            let mut answer = [f32::NAN; 2];
            let lent = &mut [TensorMut::F32(&mut answer)];
            engine.infer(&[TensorRef::I8(&levels)], lent).unwrap();
            answers.push(((round + place) % 2, answer.map(f32::to_bits)));
        }
    }
    let of = |frame| answers.iter().filter(move |answer| answer.0 == frame);
    assert!(of(0).all(|answer| answer == &answers[0]));
    assert!(of(1).all(|answer| answer == &answers[1]));
    assert_ne!(answers[0].1, answers[1].1);
    fs::write(place.join("said"), "shared").unwrap();
}

/// What TensorRT tells of a plan's layers.
fn reports() {
    let (place, _, places) = stand_in::told();
    let plan = fs::read_dir(&places.plans)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|file| file.extension().is_some_and(|e| e == "plan"));
    let content = fs::read(plan.unwrap()).unwrap();
    let key = content.windows(2).position(|pair| pair == b"\n\n").unwrap();
    // The checksum is behind it.
    let plan = &content[key + 2..content.len() - 32];
    let library = TensorRt::open(
        Product::TensorRt,
        places.libraries.as_deref(),
        &places.shims,
    );
    let engine = library.unwrap().runtime(None).unwrap().load(plan).unwrap();
    let said = match engine.report() {
        Ok(report) => report,
        Err(error) => error.to_string(),
    };
    fs::write(place.join("said"), said).unwrap();
}

#[test]
fn a_plans_layers_are_told_in_tensorrts_own_words() {
    let machine = Machine::behind_the_shim("c++");
    built(&machine.run(&[]));
    assert_eq!(machine.does("reports", &[]), r#"{"Layers": ["only"]}"#);
    let said = machine.does("reports", &[("STAND_IN_FAIL", "createEngineInspector")]);
    assert!(
        said.starts_with("asking for the layer report failed: createEngineInspector was told"),
        "{said}"
    );
}

#[test]
fn two_engines_share_the_device_on_streams_of_their_own_priority() {
    let machine = Machine::behind_the_shim("c++");
    built(&machine.run(&[]));
    let log = machine.path("log");
    let said = machine.does("shares", &[("STAND_IN_LOG", log.to_str().unwrap())]);
    assert_eq!(said, "shared");
    let log = fs::read_to_string(&log).unwrap();
    let streams: Vec<_> = log.lines().filter(|line| line.contains("stream")).collect();
    // CUDA's greatest priority is its lowest number.
    let wanted = ["a stream of priority -5", "a stream of priority 0"];
    assert_eq!(streams, wanted, "{log}");
}

/// The file of the times that were measured.
fn times(machine: &Machine) -> PathBuf {
    let files = fs::read_dir(machine.path("plans")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    files
        .find(|file| file.extension().is_some_and(|e| e == "cache"))
        .unwrap()
}

fn built(said: &str) {
    assert!(
        said.starts_with("int8 on TensorRT 11.4.0 on stand-in; 2 results; "),
        "{said}"
    );
}

#[test]
fn a_plan_is_built_proven_and_driven_with() {
    let machine = Machine::behind_the_shim("c++");
    let said = machine.run(&[]);
    built(&said);
    assert!(
        said.contains("layers Some(\"Name: only, LayerType: stand-in\")"),
        "{said}"
    );
    assert!(
        said.contains("compiled ") && said.contains("110400.so"),
        "{said}"
    );
    let said = machine.run(&[("STAND_IN_FAIL", "buildSerializedNetwork")]);
    assert!(said.contains("2 results; 0 steps"), "{said}");
    for environment in [&[][..], &[("PILOTAGE_TEST_NO_GRAPH", "1")]] {
        let said = machine.does("drives", environment);
        assert_eq!(
            said,
            "answered, 0 allocations\n".repeat(4),
            "{environment:?}"
        );
    }
}

#[test]
fn times_that_cannot_be_used_are_replaced_and_are_not_why_a_build_fails() {
    let machine = Machine::behind_the_shim("c++");
    built(&machine.run(&[]));
    let file = times(&machine);
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 1");
    let anew = || {
        machine
            .plans()
            .iter()
            .for_each(|plan| fs::remove_file(plan).unwrap())
    };
    anew();
    built(&machine.run(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 2");
    for bad in ["times of another device", "half of a fi"] {
        fs::write(&file, bad).unwrap();
        anew();
        let said = machine.run(&[("STAND_IN_FAIL", "buildSerializedNetwork")]);
        assert_eq!(
            said,
            "error: building the plan failed: buildSerializedNetwork was told to fail"
        );
        built(&machine.run(&[]));
        assert_eq!(fs::read_to_string(&file).unwrap(), "times 1", "{bad}");
    }
    // What others may write is not even given to TensorRT.
    fs::write(&file, "half of a fi").unwrap();
    mode(&file, 0o666);
    anew();
    let said = machine.run(&[]);
    built(&said);
    assert!(said.contains("can be written by others"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "times 1");
}

#[test]
fn what_fails_behind_the_shim_is_told_in_tensorrts_own_words() {
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
        ("setTensorAddress", "binding a tensor failed"),
        ("enqueueV3", "starting the inference failed"),
    ] {
        let said = machine.run(&[("STAND_IN_FAIL", call)]);
        assert!(said.starts_with("error: "), "{call}: {said}");
        assert!(said.contains(doing), "{call}: {said}");
        assert!(
            said.contains(&format!(": {call} was told to fail")),
            "{said}"
        );
        assert!(machine.plans().is_empty(), "{call}");
    }
}

#[test]
fn work_whose_end_cannot_be_told_keeps_its_memory_for_good() {
    let machine = Machine::behind_the_shim("c++");
    built(&machine.run(&[]));
    let log = machine.path("given-back");
    let environment = [("STAND_IN_LOG", log.to_str().unwrap())];
    machine.does("drives", &environment);
    let given_back = fs::read_to_string(&log).unwrap();
    assert!(given_back.contains("cuMemFreeHost"), "{given_back}");
    assert!(
        given_back.ends_with("cuDevicePrimaryCtxRelease_v2\n"),
        "{given_back}"
    );

    fs::remove_file(&log).unwrap();
    // An inference marks its beginning, then its end.
    let fails = ("PILOTAGE_TEST_THEN_FAILS", "cuEventRecord:2");
    let said = machine.does("drives", &[environment[0], fails]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["answered, 0 allocations"; 2], "{said}");
    assert!(
        lines[2].contains("marking the end of the work failed"),
        "{said}"
    );
    assert!(lines[3].contains("cannot be followed any more"), "{said}");
    let log = fs::read_to_string(&log).unwrap();
    assert!(
        log.lines().all(|line| line.starts_with("a stream")),
        "{log}"
    );
}

#[test]
fn an_error_that_cuda_11_4_did_not_have_is_told_by_its_number() {
    let machine = Machine::new();
    let said = machine.run(&[
        ("STAND_IN_FAIL", "cuStreamCreateWithPriority"),
        ("STAND_IN_CODE", "4242"),
    ]);
    assert!(
        said.starts_with("error: ") && said.contains("making a stream failed"),
        "{said}"
    );
    assert!(said.contains("CUDA error 4242"), "{said}");
}

#[test]
fn what_a_power_cut_leaves_of_a_shim_is_compiled_again_and_never_opened() {
    let machine = Machine::behind_the_shim("c++");
    built(&machine.run(&[]));
    let shim = machine.path("shims/libpilotage_tensorrt_110400.so");
    let checksum = shim.with_extension("so.sha256");
    let whole = fs::read_to_string(&checksum).unwrap();
    // The checksum is written first: the old shim, or none, is beside a new one.
    fs::write(&checksum, "0".repeat(64)).unwrap();
    let said = machine.run(&[]);
    built(&said);
    assert!(said.contains("compiled "), "{said}");
    assert_eq!(fs::read_to_string(&checksum).unwrap(), whole);
    fs::remove_file(&shim).unwrap();
    let said = machine.run(&[]);
    assert!(said.contains("compiled "), "{said}");

    // Where others may write, nothing is opened; that the headers are of another version would be
    // the wrong thing to say.
    mode(&machine.path("shims"), 0o777);
    let said = machine.run(&[]);
    assert!(
        said.starts_with("error: there is no shim for TensorRT 11.4.0"),
        "{said}"
    );
    assert!(said.contains("/shims can be written by others"), "{said}");
    mode(&machine.path("shims"), 0o755);

    // One folder of headers that is of no use, of the same version, is not the only one.
    let broken = machine.path("broken-headers");
    fs::create_dir(&broken).unwrap();
    let good = machine.path("headers");
    for name in ["NvInferVersion.h", "NvOnnxParser.h"] {
        fs::copy(good.join(name), broken.join(name)).unwrap();
    }
    fs::write(broken.join("NvInfer.h"), "#error half of a download\n").unwrap();
    fs::remove_file(&shim).unwrap();
    let said = machine.run(&[]);
    built(&said);
    assert!(said.contains("compiled "), "{said}");
    fs::remove_file(&shim).unwrap();
    fs::remove_file(&good).unwrap();
    let said = machine.run(&[]);
    assert!(said.contains("half of a download"), "{said}");
}

/// Shim and stand-in, watched by AddressSanitizer: what is used after it has gone ends the process.
#[test]
fn nothing_is_used_after_it_has_gone() {
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
    let watched = [
        ("CXX", compiler),
        ("LD_PRELOAD", library.trim()),
        // What stays open to the end is no leak, and Rust's part is not compiled for it.
        (
            "ASAN_OPTIONS",
            "detect_leaks=0:detect_stack_use_after_return=1",
        ),
    ];
    built(&machine.run(&watched));
    let shim = fs::read(machine.path("shims/libpilotage_tensorrt_110400.so")).unwrap();
    assert!(shim.windows(6).any(|bytes| bytes == b"__asan"));
    let said = machine.does("drives", &watched);
    assert_eq!(said.matches("answered").count(), 4, "{said}");
    for call in [
        "buildSerializedNetwork",
        "createBuilderConfig",
        "createExecutionContext",
    ] {
        machine.forget();
        let mut environment = watched.to_vec();
        environment.push(("STAND_IN_FAIL", call));
        let said = machine.run(&environment);
        assert!(said.contains(&format!("{call} was told to fail")), "{said}");
    }
}
