//! Networks with several inputs, with a memory and with scans alone: the GPU's path gives them what the CPU's
//! gives them, and when the CPU answers in the GPU's place, what the network remembers goes on.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use pilotage::car::BackendKind;
use pilotage_gpu::TensorRtPaths;

use crate::machine::Machine;
use crate::repeat::{check_timing, repeat_if_held_up};
use crate::run::{self, DriveOptions, DriveReport, When};
use crate::{PLAIN, combined, lidar};

/// The frames of a drive: a part of a lap.
const FRAMES: usize = 240;

fn options(engine: &Path) -> DriveOptions {
    DriveOptions {
        engine: Some(engine.to_owned()),
        frames: Some(FRAMES),
        ..DriveOptions::default()
    }
}

/// The drive by the CPU.
fn by_cpu(engine: &Path) -> DriveReport {
    let nowhere = tempfile::tempdir().unwrap();
    let paths = TensorRtPaths::default();
    let report = run::drive(BackendKind::Cpu, &options(engine), &paths, nowhere.path());
    assert_eq!(report.error, None);
    assert_eq!(report.commands.len(), FRAMES);
    report
}

/// Compares drives by the GPU with the one by the CPU: whole ones, and with faults in the middle.
fn drives_as_by_the_cpu(engine: &Path) {
    let cpu = by_cpu(engine);
    let machine = Machine::of_engine(engine);
    for environment in [&[][..], &[("STAND_IN_INTEGRATED", "0")], &PLAIN] {
        let drive = || machine.run_drive(&options(engine), environment);
        repeat_if_held_up(drive, |gpu| {
            assert!(gpu.backend.contains("on stand-in"), "{}", gpu.backend);
            assert!(gpu.error.is_none() && gpu.left.is_empty(), "{gpu:?}");
            assert!(gpu.commands == cpu.commands, "{environment:?}");
            check_timing(gpu.fallbacks.is_empty(), || format!("{:?}", gpu.fallbacks))
        });
    }
    // What is not a number does not become a state; what comes too late does not, either.
    for fault in ["nan", "late", "cuGraphLaunch fail"] {
        let options = DriveOptions {
            fault: Some((When::MidLap, fault.to_owned())),
            ..options(engine)
        };
        let drive = || machine.run_drive(&options, &[]);
        repeat_if_held_up(drive, |gpu| {
            assert!(gpu.error.is_none() && gpu.stopped.is_none(), "{gpu:?}");
            assert!(gpu.commands == cpu.commands, "{fault}: {gpu:?}");
            assert!(gpu.fallbacks.contains(&options.fails), "{fault}");
            let first = gpu.fallbacks[0];
            check_timing(first == options.fails, || format!("{fault}: {first}"))
        });
    }
}

#[test]
fn a_network_with_pictures_numbers_a_command_and_a_state_drives_as_by_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let engine = folder.path().join("combined.engine");
    std::fs::write(&engine, combined::compiled(folder.path(), "int8")).unwrap();
    drives_as_by_the_cpu(&engine);

    // On the wall clock: the CPU answers from the fault on, and later the GPU again.
    let machine = Machine::of_engine(&engine);
    let options = DriveOptions {
        guard: Some(PathBuf::from(env!("CARGO_BIN_EXE_pilotage"))),
        fault: Some((When::MidLap, "cuGraphLaunch fail".to_owned())),
        fails: 20,
        heals: 30,
        frames: Some(80),
        ..options(&engine)
    };
    let drive = || machine.run_drive(&options, &[]);
    repeat_if_held_up(drive, |gpu| {
        assert!(gpu.error.is_none() && gpu.stopped.is_none(), "{gpu:?}");
        assert_eq!(gpu.commands.len(), 80, "{gpu:?}");
        let (first, last) = (gpu.fallbacks[0], gpu.fallbacks.contains(&79));
        check_timing(first == 20 && !last, || format!("{gpu:?}"))
    });
}

#[test]
fn a_network_with_scans_alone_drives_as_by_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("car.toml"), "[simulator]\nlidar = true\n").unwrap();
    let recorded = std::process::Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(["drive", "--no-log", "--pace", "fast", "--latency", "10"])
        .args(["--time-limit", "8", "--png", "--car"])
        .arg(path("car.toml"))
        .arg("--record")
        .arg(path("tape"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&recorded.stderr);
    assert!(path("tape/scans.bin").exists(), "{said}");
    lidar::write(folder.path(), "int8", Some("tape"));
    let engine = PathBuf::from(lidar::compiled(folder.path()));
    drives_as_by_the_cpu(&engine);
    // The model for NVIDIA's parser has only inputs that the network reads.
    let machine = Machine::of_engine(&engine);
    machine.delete_plan();
    let prepared = machine.prepare(&[("STAND_IN_CRASH_ON", "no picture")]);
    assert!(prepared.starts_with("int8: "), "{prepared}");
    machine.delete_plan();
    let prepared = machine.prepare(&[("STAND_IN_CRASH_ON", "scan")]);
    assert!(prepared.starts_with("error: "), "{prepared}");
}
