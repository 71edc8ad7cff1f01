//! TensorRT plans from the command line, on a machine that has only stand-ins for CUDA and
//! TensorRT (crates/tensorrt/tests/stand-in), of a version nobody has a shim for. What follows
//! once there is one is tested in crates/tensorrt.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The stand-ins, compiled.
fn stand_ins() -> TempDir {
    let folder = TempDir::new().unwrap();
    let sources = Path::new(ROOT).join("crates/tensorrt");
    for (source, library) in [
        ("cuda.c", "libcuda.so"),
        ("tensorrt.c", "libnvinfer.so.10"),
        ("tensorrt.c", "libnvonnxparser.so.10"),
    ] {
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-w", "-DVERSION=109900", "-I"])
            .arg(sources.join("shim"))
            .arg(sources.join("tests/stand-in").join(source))
            .arg("-o")
            .arg(folder.path().join(library))
            .status();
        assert!(compiler.unwrap().success());
    }
    folder
}

/// `pilotage` with the stand-ins where the loader looks first.
fn pilotage(stand_ins: &TempDir, wish: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(stand_ins.path())
        .env("LD_LIBRARY_PATH", stand_ins.path())
        .env("TENSORRT_INCLUDE", "/no/such/folder")
        .env("PILOTAGE_TENSORRT", wish)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is lacking on this machine, in words.
const LACKING: &str = "no TensorRT headers (/no/such/folder/NvInfer.h not found); install the \
                       Debian packages libnvinfer-headers-dev and libnvonnxparsers-dev";

#[test]
fn a_plan_for_this_machine_says_what_the_machine_lacks() {
    let machine = stand_ins();
    let output = pilotage(&machine, "off", &["compile", "--for-this-machine"]);
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: pilotnet: "), "{said}");
    assert!(said.contains(LACKING), "{said}");

    let nothing = pilotage(&machine, "off", &["compile"]);
    assert!(complaint(&nothing).contains("required"), "{nothing:?}");
    let engine = pilotage(&machine, "off", &["compile", "my.engine"]);
    assert!(
        complaint(&engine).contains("compiled already"),
        "{engine:?}"
    );
    let gone = pilotage(
        &machine,
        "off",
        &["compile", "my.engine", "--for-this-machine"],
    );
    assert!(
        complaint(&gone).contains("my.engine: No such file"),
        "{gone:?}"
    );
}

#[test]
fn tensorrt_is_used_off_or_required_as_the_environment_says() {
    let machine = stand_ins();
    let model = format!("{ROOT}/engines/pilotnet.onnx");
    let compile = [
        "compile",
        &model,
        "--outputs=speed,yaw_rate",
        "-o",
        "my.engine",
    ];
    for (wish, status, expected) in [
        ("off", 0, ""),
        (
            "auto",
            0,
            "warning: there is no TensorRT plan: no TensorRT headers",
        ),
        ("require", 2, "error: no TensorRT headers"),
        (
            "gpu",
            2,
            "error: PILOTAGE_TENSORRT is `gpu`; it can be auto, off or require",
        ),
    ] {
        let output = pilotage(&machine, wish, &compile);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(status), "{wish}: {said}");
        match expected {
            "" => assert_eq!(said, "", "{wish}"),
            expected => assert!(said.contains(expected), "{wish}: {said}"),
        }
    }
}

#[test]
fn the_service_builds_what_the_car_wants_the_gpu_for_and_nothing_else() {
    let machine = stand_ins();
    let car = |engine: &str| {
        let text = format!("[engine]\n{engine}\n");
        std::fs::write(machine.path().join("car.toml"), text).unwrap();
        let arguments = ["compile", "--for-this-machine", "--car", "car.toml"];
        pilotage(&machine, "off", &arguments)
    };
    let processor = car("backend = \"cpu\"");
    assert_eq!(processor.status.code(), Some(0), "{processor:?}");
    assert!(String::from_utf8_lossy(&processor.stdout).contains("nothing to build"));

    let lacking = car("backend = \"tensorrt\"");
    assert_eq!(lacking.status.code(), Some(2), "{lacking:?}");
    assert!(complaint(&lacking).contains(LACKING), "{lacking:?}");

    // What the car would not drive with, nothing is built of.
    std::fs::write(machine.path().join("mine.engine"), "unsigned").unwrap();
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let unsigned = car(&format!(
        "file = \"mine.engine\"\nbackend = \"tensorrt\"\nrequire_signature = true\n\
         trusted_keys = [\"{key}\"]"
    ));
    assert_eq!(unsigned.status.code(), Some(2), "{unsigned:?}");
    assert!(complaint(&unsigned).contains("sign"), "{unsigned:?}");
}

#[test]
fn a_machine_without_tensorrt_is_no_failure_of_the_service() {
    let machine = stand_ins();
    for library in ["libnvinfer.so.10", "libnvonnxparser.so.10"] {
        std::fs::remove_file(machine.path().join(library)).unwrap();
    }
    let text = "[engine]\nbackend = \"tensorrt\"\n";
    std::fs::write(machine.path().join("car.toml"), text).unwrap();
    let arguments = ["compile", "--for-this-machine", "--car", "car.toml"];
    let output = pilotage(&machine, "off", &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no plan is built here"));
}
