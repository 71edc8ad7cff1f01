//! TensorRT plans from the command line, on a machine that only has substitutes for CUDA and
//! TensorRT (crates/tensorrt/tests/stand-in), of a version for which no shim exists. The tests of
//! crates/gpu cover what follows once there is a shim.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, and a skipped test prints the reason"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use minisign::KeyPair;
use pilotage::engines::compiled_in;
use pilotage_engine::Bundle;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Compiles the substitutes.
fn stand_ins() -> TempDir {
    let folder = TempDir::new().unwrap();
    let sources = Path::new(ROOT).join("crates/tensorrt");
    for (source, library) in [
        ("cuda.c", "libcuda.so.1"),
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

/// `pilotage` with the substitutes first in the loader's search path.
fn pilotage(stand_ins: &TempDir, policy: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .current_dir(stand_ins.path())
        .env("LD_LIBRARY_PATH", stand_ins.path())
        .env("TENSORRT_INCLUDE", "/no/such/folder")
        .env("PILOTAGE_TENSORRT", policy)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The message about what this machine lacks.
const LACKING: &str = "no TensorRT headers (/no/such/folder/NvInfer.h not found); install the \
                       Debian packages libnvinfer-headers-dev and libnvonnxparsers-dev";

#[test]
fn a_plan_for_this_machine_reports_what_the_machine_lacks() {
    let machine = stand_ins();
    let output = pilotage(&machine, "off", &["compile", "--for-this-machine"]);
    let message = complaint(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.starts_with("error: pilotnet: "), "{message}");
    assert!(message.contains(LACKING), "{message}");

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
        "--domain=simulated",
        "-o",
        "my.engine",
    ];
    for (policy, status, expected) in [
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
        let output = pilotage(&machine, policy, &compile);
        let message = complaint(&output);
        assert_eq!(output.status.code(), Some(status), "{policy}: {message}");
        match expected {
            "" => assert_eq!(message, "", "{policy}"),
            expected => assert!(message.contains(expected), "{policy}: {message}"),
        }
    }
}

#[test]
fn the_service_builds_plans_only_for_an_engine_that_the_car_runs_on_the_gpu() {
    let machine = stand_ins();
    let car = |engine: &str| {
        let text = format!("[engine]\n{engine}\n");
        fs::write(machine.path().join("car.toml"), text).unwrap();
        let arguments = ["compile", "--for-this-machine", "--car", "car.toml"];
        pilotage(&machine, "off", &arguments)
    };
    let processor = car("backend = \"cpu\"");
    assert_eq!(processor.status.code(), Some(0), "{processor:?}");
    assert!(String::from_utf8_lossy(&processor.stdout).contains("nothing to build"));

    let lacking = car("backend = \"tensorrt\"");
    assert_eq!(lacking.status.code(), Some(2), "{lacking:?}");
    assert!(complaint(&lacking).contains(LACKING), "{lacking:?}");

    // No plan is built from an engine that the car would refuse: the signature is verified first.
    let engine = compiled_in("pilotnet").unwrap();
    write_private(&machine, "mine.engine", engine);
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let text = format!(
        "file = \"mine.engine\"\nbackend = \"tensorrt\"\nrequire_signature = true\n\
         trusted_keys = [\"{}\"]",
        pair.pk.to_base64()
    );
    let signed = |bytes: &[u8], reason: &str| {
        let signature = minisign::sign(None, &pair.sk, bytes, None, None).unwrap();
        write_private(&machine, "mine.engine.minisig", signature.into_string());
        let output = car(&text);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(complaint(&output).contains(reason), "{output:?}");
    };
    let unsigned = car(&text);
    assert_eq!(unsigned.status.code(), Some(2), "{unsigned:?}");
    assert!(complaint(&unsigned).contains("it has no signature"));
    signed(b"another engine", "its signature is wrong");
    signed(engine, LACKING);
}

/// Writes a file that only its owner may write, regardless of the umask.
fn write_private(machine: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    let path = machine.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
}

/// Expects a failure with `reason`. [`LACKING`] means that the engine passed all checks that this
/// machine allows.
fn expect_failure(machine: &TempDir, engine: &str, reason: &str) {
    let as_file = ["compile", engine, "--for-this-machine"];
    let text = format!("[engine]\nfile = \"{engine}\"\nbackend = \"tensorrt\"\n");
    write_private(machine, "car.toml", text);
    let of_car = ["compile", "--for-this-machine", "--car", "car.toml"];
    for arguments in [&as_file[..], &of_car] {
        let output = pilotage(machine, "off", arguments);
        let message = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(reason), "{reason}: {message}");
        assert_eq!(message.contains(LACKING), reason == LACKING, "{message}");
    }
}

#[test]
fn an_engine_with_data_in_another_file_is_refused_before_tensorrt_is_opened() {
    let machine = stand_ins();
    write_private(&machine, "good.engine", compiled_in("pilotnet").unwrap());
    expect_failure(&machine, "good.engine", LACKING);

    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bundle = Bundle::read(compiled_in("pilotnet").unwrap()).unwrap();
        change(bundle.sections.get_mut("model.qdq.onnx").unwrap());
        write_private(&machine, "bad.engine", bundle.write().unwrap());
    };
    // An initializer `w` (crates/gpu/tests/machine/main.rs lists its fields).
    changed(&|model| {
        model.extend_from_slice(
            b"\x3a\x24\x2a\x22\x08\x01\x10\x01\x42\x01w\x6a\x17\x0a\x08location\x12\x0b/etc/passwd\x70\x01",
        );
    });
    expect_failure(
        &machine,
        "bad.engine",
        "the tensor `w` keeps its data in another file",
    );
    changed(&|model| model.truncate(model.len() / 2));
    expect_failure(
        &machine,
        "bad.engine",
        "the engine's model cannot be read: ",
    );
}

#[test]
fn root_builds_only_from_a_file_that_no_other_user_can_write() {
    let machine = stand_ins();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root's engine files are checked, and this is not root");
        return;
    }
    let folder = machine.path().join("engines");
    fs::create_dir(&folder).unwrap();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    mode(&folder, 0o755);
    let name = "engines/my.engine";
    write_private(&machine, name, compiled_in("pilotnet").unwrap());
    let file = machine.path().join(name);
    expect_failure(&machine, name, LACKING);

    for open in [0o666, 0o664] {
        mode(&file, open);
        expect_failure(&machine, name, "my.engine can be written by others: ");
        expect_failure(&machine, name, "`sudo chown root:root ");
    }
    mode(&file, 0o644);
    for open in [0o777, 0o1777] {
        mode(&folder, open);
        expect_failure(&machine, name, "engines can be written by others: ");
    }
    mode(&folder, 0o755);
    for path in [&file, &folder] {
        chown(path, Some(65_534), None).unwrap();
        expect_failure(&machine, name, " does not belong to root: ");
        chown(path, Some(0), None).unwrap();
    }
    expect_failure(&machine, name, LACKING);
}

#[test]
fn the_service_does_not_fail_on_a_machine_without_tensorrt() {
    let machine = stand_ins();
    for library in ["libnvinfer.so.10", "libnvonnxparser.so.10"] {
        fs::remove_file(machine.path().join(library)).unwrap();
    }
    let text = "[engine]\nbackend = \"tensorrt\"\n";
    fs::write(machine.path().join("car.toml"), text).unwrap();
    let arguments = ["compile", "--for-this-machine", "--car", "car.toml"];
    let output = pilotage(&machine, "off", &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no plan is built here"));
}
