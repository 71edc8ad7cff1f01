//! NVIDIA's own libraries on a machine without a GPU, and no libraries at all: the CPU drives, and
//! the reason is reported.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, library};
use crate::run::DriveOptions;

fn pilotage(arguments: &[&str], libraries: Option<&Path>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotage"));
    command
        .args(["drive", "--pace", "fast", "--latency", "10"])
        .args(arguments);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn without_a_gpu_the_cpu_drives_and_reports_it_or_nothing_drives() {
    let (status, report, stderr) = pilotage(&["--engine-backend", "tensorrt"], None);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.contains("note: the CPU drives, not the GPU: there is no NVIDIA driver"),
        "{stderr}"
    );
    assert!(report.contains("done in"), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let car = folder.path().join("car.toml");
    fs::write(
        &car,
        "[engine]\nbackend = \"tensorrt\"\nfallback = \"stop\"\n",
    )
    .unwrap();
    let (status, _, stderr) = pilotage(&["--car", car.to_str().unwrap()], None);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(
        stderr.contains("cannot run on the GPU") && stderr.contains("pilotage doctor"),
        "{stderr}"
    );
}

/// The lean runtime of TensorRT 11.4, which runs plans but builds none.
fn lean() -> std::path::PathBuf {
    library("tensorrt_lean_libs", "libnvinfer_lean.so.11")
}

#[test]
fn with_nvidias_libraries_and_no_gpu_the_cpu_drives_and_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let lean = lean();
    let rtx = library("tensorrt_rtx_libs", "libtensorrt_rtx.so.1");
    std::os::unix::fs::symlink(&lean, folder.path().join("libnvinfer.so.11")).unwrap();
    for libraries in [folder.path(), rtx.parent().unwrap()] {
        let (status, report, stderr) = pilotage(&["--engine-backend", "tensorrt"], Some(libraries));
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stderr.contains("there is no NVIDIA driver"), "{stderr}");
        assert!(report.contains("done in"), "{report}");
    }
}

/// The driver is a substitute that only this program finds (see [`Machine::with_library`]). TensorRT is
/// NVIDIA's own, and therefore finds no driver.
#[test]
fn nvidias_own_library_reports_what_it_lacks_and_the_cpu_drives_the_lap() {
    let machine = Machine::new();
    machine.with_library(&lean());
    let options = DriveOptions::default();
    let drive = machine.run_drive(&options, &[]);
    assert!(drive.completed && drive.error.is_none(), "{drive:?}");
    let [note] = &drive.notes[..] else {
        panic!("{drive:?}")
    };
    println!("{note}");
    assert!(note.starts_with("the CPU drives, not the GPU: "), "{note}");
    assert!(note.contains("35"), "{note}");
    assert!(
        note.contains("this machine has no NVIDIA driver, or one older than this TensorRT wants"),
        "{note}"
    );
    let stop = DriveOptions {
        stop: true,
        ..options.clone()
    };
    let error = machine.run_drive(&stop, &[]).error.unwrap();
    assert!(
        error.contains("cannot run on the GPU") && error.contains("35"),
        "{error}"
    );

    // Another product under TensorRT's name is recognized by its version, and none of its functions
    // is called.
    machine.with_library(&library("tensorrt_rtx_libs", "libtensorrt_rtx.so.1"));
    let drive = machine.run_drive(&options, &[]);
    assert!(drive.completed, "{drive:?}");
    assert!(
        drive.notes[0].contains("there is no shim for TensorRT 1.7.1"),
        "{drive:?}"
    );
}
