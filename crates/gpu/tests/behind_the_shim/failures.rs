//! Failures of a machine's set-up, each with the reason and what to do.

use std::fs;

use crate::stand_in::Machine;

#[test]
fn the_loaders_reason_is_reported_for_a_parser_that_cannot_be_loaded() {
    let machine = Machine::new();
    // As in JetPack 4 and 5, the parser is linked with the plugins.
    let plugins = machine.path("libraries/libnvinfer_plugin.so.10");
    let parser = machine.path("libraries/libnvonnxparser.so.10");
    let version = "-DVERSION=100300";
    machine.compile(
        "tensorrt.c",
        &plugins,
        &[version, "-Wl,-soname,libnvinfer_plugin.so.10"],
    );
    machine.compile(
        "tensorrt.c",
        &parser,
        &[version, "-Wl,--no-as-needed", plugins.to_str().unwrap()],
    );
    // The loader does not search the folder of the libraries.
    fs::create_dir(machine.path("driver")).unwrap();
    let cuda = "libcuda.so.1";
    let place = machine.path("driver").join(cuda);
    fs::copy(machine.path("libraries").join(cuda), place).unwrap();
    let driver = machine.path("driver");
    let environment = [("LD_LIBRARY_PATH", driver.to_str().unwrap())];
    let output = machine.run(&environment);
    assert!(output.starts_with("int8 on "), "{output}");

    machine.forget();
    fs::remove_file(plugins).unwrap();
    let output = machine.run(&environment);
    assert!(
        output.contains(
            "it has no ONNX parser (libnvinfer_plugin.so.10: cannot open shared object file"
        ),
        "{output}"
    );
}

#[test]
fn error_999_names_the_groups_of_the_user_first() {
    let machine = Machine::new();
    let output = machine.run(&[("STAND_IN_FAIL", "cuInit")]);
    let advice = "(CUDA_ERROR_UNKNOWN); on a Jetson this user may lack the groups video and render";
    assert!(output.contains(advice), "{output}");
}

/// The recording of the graph fails, and the next inference, because CUDA reports the error once more.
#[test]
fn an_inference_is_tried_again_after_a_failed_recording_and_no_more_often() {
    let machine = Machine::behind_the_shim("c++");
    crate::assert_built(&machine, &machine.run(&[]));
    let enqueue = machine.call("enqueueV3");
    for (calls, expected) in [("2-3", "answered, 0 allocations\n"), ("2-4", "error: ")] {
        let fault = format!("{enqueue}:{calls}");
        let output = machine.does("drives", &[("STAND_IN_FAIL", &fault)]);
        assert!(output.starts_with(expected), "{fault}: {output}");
    }
}

/// On a Jetson, the driver may report a lost channel as an unknown error, CUDA's 999.
#[test]
fn a_third_unknown_error_in_a_row_ends_the_session() {
    let machine = Machine::behind_the_shim("c++");
    crate::assert_built(&machine, &machine.run(&[]));
    let trace = machine.path("trace");
    machine.does("drives", &[("STAND_IN_TRACE", trace.to_str().unwrap())]);
    let trace = fs::read_to_string(&trace).unwrap();
    let launches = trace.lines().filter(|call| *call == "cuGraphLaunch");
    // The launches of the drive's rounds are the last ones.
    let first = launches.count() + 1 - crate::ROUNDS;
    for (failures, code, last) in [
        (3, "999", "the GPU's work cannot be followed any more"),
        (2, "999", "answered, 0 allocations"),
        (3, "2", "answered, 0 allocations"),
    ] {
        let fault = format!("cuGraphLaunch:{first}-{}", first + failures - 1);
        let environment = [("STAND_IN_FAIL", &*fault), ("STAND_IN_CODE", code)];
        let output = machine.does("drives", &environment);
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), crate::ROUNDS, "{fault}: {output}");
        for failed in &lines[..failures] {
            assert!(failed.contains("(CUDA_ERROR_"), "{fault}: {output}");
        }
        assert!(lines[3].contains(last), "{fault} {code}: {output}");
    }
}
