//! `cargo xtask gpu-test` without a GPU: it reports what is missing. With the substitutes it prints
//! a block that names them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use pilotage::engines;
use pilotage_engine::{Bundle, CpuEngine, CpuOptions};

use crate::machine::Machine;
use crate::run::answer;
use crate::tensors::Tensors;

/// The program that the task runs, which is built with the tests.
fn gpu_test() -> Command {
    let this = std::env::current_exe().unwrap();
    let built = this.ancestors().nth(2).unwrap().join("examples/gpu_test");
    assert!(
        built.exists(),
        "no {}: `cargo build --example gpu_test`, as a run of all tests does",
        built.display()
    );
    let mut command = Command::new(built);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn output_text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn without_a_gpu_it_reports_what_is_missing_and_fails() {
    let place = tempfile::tempdir().unwrap();
    let nothing = gpu_test()
        .arg("--place")
        .arg(place.path())
        .args(["--include", "/nonexistent"])
        .env("CXX", "/nonexistent/c++")
        .output()
        .unwrap();
    let (block, lacks) = output_text(&nothing);
    assert_eq!(nothing.status.code(), Some(1), "{lacks}");
    assert!(block.is_empty(), "{block}");
    for lack in [
        "missing: a GPU: there is no NVIDIA driver",
        "missing: TensorRT: TensorRT is not on this machine",
        "missing: TensorRT's headers, for the shim: ",
        "missing: a C++ compiler (/nonexistent/c++), for the shim: sudo apt-get install g++",
    ] {
        assert!(lacks.contains(lack), "{lack}: {lacks}");
    }
}

/// No figure of this block is a GPU's, and the block shows it: the device's name is the
/// substitute's.
#[test]
fn with_stand_ins_the_block_is_complete_and_names_them() {
    let machine = Machine::new();
    let run = tempfile::tempdir().unwrap();
    let ask: PathBuf = run.path().join("ask");
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let tensors = Tensors::of(&bundle);
    let engine = move || CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let listener = UnixListener::bind(&ask).unwrap();
    let fault = run.path().join("fault");
    std::thread::spawn(move || answer(&listener, &engine, &tensors, &fault));
    let output = gpu_test()
        .args(["--precision", "int8", "--count", "20"])
        .arg("--place")
        .arg(run.path())
        .arg("--libraries")
        .arg(machine.path("libraries"))
        .arg("--include")
        .arg(machine.path("headers"))
        .env("LD_LIBRARY_PATH", machine.path("libraries"))
        .env("STAND_IN_ANSWERS", machine.path("answers"))
        .env("STAND_IN_ASK", &ask)
        .output()
        .unwrap();
    let (block, stderr) = output_text(&output);
    assert_eq!(output.status.code(), Some(0), "{block}{stderr}");
    println!("STAND-IN, no GPU's figures:\n{block}");
    assert!(
        block.starts_with("### stand-in\n\nstand-in, compute capability 8.7, driver for CUDA "),
        "{block}"
    );
    let version = format!("; {}; ", machine.version());
    assert!(block.contains(&version), "{block}");
    assert!(block.contains("int8: conformance suite passed; the gate:"));
    let gated = block.lines().filter(|line| line.ends_with("| passes |"));
    assert_eq!(gated.count(), 2, "{block}");
    for row in [
        "1 thread",
        "graph, mapped",
        "enqueue, mapped",
        "graph, copied",
        "enqueue, copied",
        "graph, sleeping",
        "graph, own process",
        "the same, 20 a second",
    ] {
        let row = format!(" | int8 | {row} | 20 | ");
        assert_eq!(block.matches(&row).count(), 1, "{row}: {block}");
    }
    let of_the_gpu = block.lines().filter(|line| line.contains("| int8 | "));
    let of_the_gpu =
        of_the_gpu.filter(|line| !line.contains("thread |") && !line.contains("threads |"));
    assert!(of_the_gpu.clone().count() >= 6, "{block}");
    for row in of_the_gpu {
        assert!(row.contains("on stand-in"), "{row}");
    }
}
