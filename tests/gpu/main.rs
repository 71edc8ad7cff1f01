//! Driving with the GPU's engine, on a machine that only has substitutes for CUDA and TensorRT
//! (crates/tensorrt/tests/stand-in) behind the real shim, which is compiled here. The CPU engine
//! computes their answers in another thread. No figure from here is a GPU's. `cargo xtask stand-ins`
//! runs these tests with the headers of other versions of TensorRT.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../support/combined.rs"]
mod combined;
mod inputs;
#[path = "../support/lidar.rs"]
mod lidar;
mod machine;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/numbers.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod numbers;
mod outcome;
#[path = "../support/processes.rs"]
mod processes;
mod real;
mod repeat;
mod run;
mod table;
mod tensors;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use machine::Machine;
use outcome::{Case, FAILS, FAILURE_MODES, START_S, documented, outcome};
use pilotage::car::BackendKind;
use pilotage_gpu::TensorRtPaths;
use repeat::{check_timing, repeat_if_held_up, run_all};
use run::{DriveOptions, DriveReport, When};
use versions::newest_name;

/// A lap that the CPU drives.
fn cpu_lap() -> DriveReport {
    let nowhere = tempfile::tempdir().unwrap();
    let options = DriveOptions::default();
    let report = run::drive(
        BackendKind::Cpu,
        &options,
        &TensorRtPaths::default(),
        nowhere.path(),
    );
    assert!(report.completed && report.fallbacks.is_empty());
    report
}

/// Device memory and no CUDA graph: each inference makes every call itself.
const PLAIN: [(&str, &str); 2] = [
    ("STAND_IN_FAIL", "cuStreamBeginCapture_v2"),
    ("STAND_IN_INTEGRATED", "0"),
];

/// The process that [`Machine::run_drive`] starts is this program with this test. In that process
/// it makes a single drive for whichever test started it.
#[test]
fn the_stand_in_drives_the_same_lap_as_the_cpu() {
    if let Some(place) = std::env::var_os(machine::PLACE) {
        return run::run_in_child(Path::new(&place));
    }
    let cpu = cpu_lap();
    let machine = Machine::new();
    // With shared and with device memory; with and without a graph.
    for environment in [&[][..], &[("STAND_IN_INTEGRATED", "0")], &PLAIN] {
        let drive = || machine.run_drive(&DriveOptions::default(), environment);
        repeat_if_held_up(drive, |gpu| {
            let backend = format!("{} on stand-in, ", machine.version());
            assert!(gpu.backend.starts_with(&backend), "{}", gpu.backend);
            assert!(gpu.completed, "{environment:?}");
            assert_eq!(gpu.commands, cpu.commands, "{environment:?}");
            assert!(gpu.left.is_empty(), "{:?}", gpu.left);
            check_timing(gpu.fallbacks.is_empty(), || {
                format!("{environment:?}: the CPU answered {:?}", gpu.fallbacks)
            })
        });
    }
}

/// The calls in each part of a drive, from a trace.
fn calls(machine: &Machine) -> BTreeMap<When, BTreeSet<String>> {
    let mut calls = BTreeMap::<When, BTreeSet<String>>::new();
    for environment in [&[][..], &PLAIN] {
        let options = DriveOptions {
            trace: true,
            fails: FAILS,
            frames: Some(FAILS + 10),
            ..DriveOptions::default()
        };
        let report = machine.run_drive(&options, environment);
        let mut part = When::Start;
        for line in report.trace.lines() {
            part = match line {
                "-- Start" => When::Start,
                "-- WarmUp" => When::WarmUp,
                "-- MidLap" => When::MidLap,
                "-- End" => When::End,
                // The result of an event query, and not a call.
                "late" => part,
                call => {
                    calls.entry(part).or_default().insert(call.to_owned());
                    part
                }
            };
        }
    }
    calls
}

/// Each call of the path, from a trace, in each part of a drive: it fails, is late, or hangs.
#[test]
fn the_cars_commands_do_not_change_whichever_call_fails() {
    let cpu = cpu_lap();
    let machine = Machine::new();
    let calls = calls(&machine);
    // Check that the trace is plausible.
    assert!(calls[&When::Start].len() > 30, "{calls:?}");
    let mid_lap = calls[&When::MidLap].iter();
    let mid_lap: Vec<&str> = mid_lap.map(|call| newest_name(call)).collect();
    for call in ["cuGraphLaunch", "cuEventQuery", "enqueueV3"] {
        assert!(mid_lap.contains(&call), "{calls:?}");
    }
    let mut cases = Vec::new();
    for (&when, calls) in &calls {
        for call in calls {
            for (mode, notation) in FAILURE_MODES {
                cases.push(Case {
                    when,
                    call: call.clone(),
                    mode,
                    notation,
                });
            }
        }
    }
    let outcomes = run_all(&cases, |case| {
        let options = DriveOptions {
            // A call that hangs is waited for in vain.
            start_s: match (case.when, case.mode) {
                (When::Start, "hangs") => START_S,
                (When::WarmUp, "hangs") => 3.0,
                _ => 60.0,
            },
            ..case.options()
        };
        // Calls that only an inference without a graph makes.
        let plain = [
            "enqueueV3",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2",
        ];
        let environment = match plain.contains(&newest_name(&case.call)) {
            true => &PLAIN[..],
            false => &[],
        };
        let drive = || machine.run_drive(&options, environment);
        repeat_if_held_up(drive, |report| outcome(case, &cpu, report))
    });
    let found: BTreeMap<(When, String), Vec<String>> = cases
        .chunks(FAILURE_MODES.len())
        .zip(outcomes.chunks(FAILURE_MODES.len()))
        .map(|(cases, outcomes)| {
            let outcomes = outcomes.iter().map(|&outcome| outcome.to_owned());
            let call = newest_name(&cases[0].call).to_owned();
            ((cases[0].when, call), outcomes.collect())
        })
        .collect();
    let documented = documented();
    for (call, outcomes) in &found {
        let expected = documented.get(call);
        assert_eq!(expected, Some(outcomes), "docs/tensorrt.md on {call:?}");
    }
    let more: Vec<_> = documented
        .keys()
        .filter(|call| !found.contains_key(call))
        .collect();
    assert!(
        more.is_empty(),
        "docs/tensorrt.md has calls that are never made: {more:?}"
    );
    println!(
        "{}: {} faults of {} calls end as docs/tensorrt.md says",
        machine.version(),
        cases.len(),
        found.len()
    );
}

#[test]
fn the_cpu_answers_in_place_of_an_invalid_answer() {
    let cpu = cpu_lap();
    let machine = Machine::new();
    for fault in ["late", "nan"] {
        let options = DriveOptions {
            fault: Some((When::MidLap, fault.to_owned())),
            ..DriveOptions::default()
        };
        let drive = || machine.run_drive(&options, &[]);
        repeat_if_held_up(drive, |report| {
            assert!(
                report.completed && report.error.is_none(),
                "{fault}: {report:?}"
            );
            assert_eq!(report.commands, cpu.commands, "{fault}");
            assert!(report.fallbacks.contains(&options.fails), "{fault}");
            assert!(report.left.is_empty() && report.released, "{report:?}");
            let first = report.fallbacks[0];
            check_timing(first == options.fails, || format!("{fault}: {first}"))?;
            check_timing(report.longest < 150.0, || {
                format!("{fault}: {} ms", report.longest)
            })?;
            println!("{fault}: the CPU answers after {:.0} ms", report.first);
            Ok(())
        });
    }
}

/// On the wall clock: the process of the engine crashes, hangs in a call or can no longer use its
/// device. The CPU answers that frame, and another process the later ones. The tests in
/// src/engines/process have further cases.
#[test]
fn the_process_of_the_engine_is_replaced_and_the_car_drives_on() {
    let machine = Machine::new();
    // An illegal address (cuda.h): no call of this process succeeds any more.
    let lost = [("STAND_IN_CODE", "700")];
    // A call that hangs does so until its process is killed, at the next try after a second.
    let cases: [(_, &[_], _); 3] = [
        ("signal 6", &[], 30),
        ("cuGraphLaunch hang", &[], 42),
        ("cuGraphLaunch", &lost, 30),
    ];
    run_all(&cases, |&(fault, environment, heals)| {
        let options = DriveOptions {
            guard: Some(PathBuf::from(env!("CARGO_BIN_EXE_pilotage"))),
            fault: Some((When::MidLap, fault.to_owned())),
            fails: 20,
            heals,
            frames: Some(100),
            ..DriveOptions::default()
        };
        let drive = || machine.run_drive(&options, environment);
        repeat_if_held_up(drive, |report| {
            assert!(report.error.is_none(), "{fault}: {report:?}");
            check_timing(report.stopped.is_none(), || format!("{fault}: {report:?}"))?;
            assert_eq!(report.commands.len(), 100, "{fault}: {report:?}");
            assert!(report.processes.len() >= 2, "{fault}: {report:?}");
            let (first, last) = (report.fallbacks[0], report.fallbacks.contains(&99));
            check_timing(first == 20 && !last, || format!("{fault}: {report:?}"))
        });
    });
}

#[test]
fn without_a_fallback_the_car_stops() {
    let machine = Machine::new();
    let calls = calls(&machine);
    let mut cases: Vec<String> = Vec::new();
    for call in &calls[&When::MidLap] {
        for (_, notation) in FAILURE_MODES {
            cases.push(format!("{call} {notation}"));
        }
    }
    cases.extend(["late", "nan"].map(str::to_owned));
    run_all(&cases, |fault| {
        let options = DriveOptions {
            stop: true,
            fault: Some((When::MidLap, fault.clone())),
            ..DriveOptions::default()
        };
        let plain = fault.starts_with("enqueueV") || fault.starts_with("cuMemcpy");
        let environment = if plain { &PLAIN[..] } else { &[] };
        repeat_if_held_up(
            || machine.run_drive(&options, environment),
            |report| check_stopped(fault, report),
        );
    });
}

/// There is no fallback, so the GPU's fault in mid-lap ends the drive. A machine that holds the GPU
/// up before the fault ends it too.
fn check_stopped(fault: &str, report: &DriveReport) -> Result<(), String> {
    let count = report.commands.len();
    check_timing(count >= 100, || {
        format!("{fault}: ended after {count} frames")
    })?;
    // The device's own time is not needed to drive.
    if fault == "cuEventElapsedTime fail" {
        return check_timing(report.completed && report.error.is_none(), || {
            format!("{fault}: {report:?}")
        });
    }
    assert!(!report.completed && report.failsafe, "{fault}: {report:?}");
    let stopped = report.stopped.as_deref();
    // The guard must refuse the network's answer: the last good command expires.
    if fault == "nan" {
        return check_timing(stopped.unwrap().contains("deadline"), || {
            format!("{fault}: {stopped:?}")
        });
    }
    assert_eq!(count, 100, "{fault}");
    assert_eq!(stopped, Some("the engine failed"), "{fault}");
    // A process that answers ends in order; one in a call is killed.
    assert!(report.left.is_empty(), "{fault}: {:?}", report.left);
    if fault.ends_with(" fail") || fault == "late" {
        assert!(report.released, "{fault}");
    }
    Ok(())
}

/// On the wall clock, with the guard in a separate process.
#[test]
fn a_hanging_driver_does_not_stop_the_car_with_a_fallback_and_stops_it_at_once_without() {
    let machine = Machine::new();
    for call in ["cuGraphLaunch", "cuEventQuery", "cuCtxSetCurrent"] {
        let hangs = DriveOptions {
            guard: Some(PathBuf::from(env!("CARGO_BIN_EXE_pilotage"))),
            fault: Some((When::MidLap, format!("{call} hang"))),
            fails: 20,
            heals: 30,
            frames: Some(70),
            ..DriveOptions::default()
        };
        repeat_if_held_up(
            || machine.run_drive(&hangs, &[]),
            |report| {
                assert!(
                    report.error.is_none() && report.stopped.is_none(),
                    "{report:?}"
                );
                assert_eq!(report.commands.len(), 70, "{report:?}");
                assert!(report.left.is_empty(), "{report:?}");
                // From the fault on the CPU answers; the GPU answers again after the call has
                // returned.
                assert!(report.fallbacks.len() > 15, "{report:?}");
                let (first, last) = (report.fallbacks[0], report.fallbacks.contains(&69));
                check_timing(first == 20 && !last, || format!("{report:?}"))
            },
        );

        let stops = DriveOptions {
            stop: true,
            ..hangs
        };
        let report = machine.run_drive(&stops, &[]);
        let error = report.error.unwrap();
        assert!(error.contains("has not come back within"), "{error}");
        let after = report.failsafe_after.unwrap();
        println!("{call} hangs: failsafe at the motors after {after:.0} ms");
        // First a frame is waited for, then the GPU.
        assert!(after < 175.0, "{after} ms");
    }
}

/// Only where the tests run as root is it another user than theirs.
#[test]
fn a_plan_is_built_without_roots_rights_and_kept_with_them() {
    let machine = Machine::new();
    machine.delete_plan();
    let log = machine.path("users");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
    let prepared = machine.prepare(&[("STAND_IN_USER", log.to_str().unwrap())]);
    assert!(prepared.starts_with("int8: "), "{prepared}");
    let own = rustix::process::geteuid();
    let users = fs::read_to_string(&log).unwrap();
    // The parser has written its user and groups, then the runtime that validates the plan; a third is
    // the runtime of the engine that drives.
    assert_eq!(users.lines().count(), 3, "{users}");
    for line in users.lines().take(2) {
        println!("this test is user {own:?}; the plan was built by {line}");
        let ids: Vec<u32> = line.split(' ').map(|id| id.parse().unwrap()).collect();
        match own.is_root() {
            true => assert!(!ids.contains(&0), "{users}"),
            false => assert_eq!(ids[0], own.as_raw(), "{users}"),
        }
    }
    let plan = machine.plan();
    let plan = fs::metadata(&plan).unwrap();
    assert_eq!((plan.uid(), plan.mode() & 0o022), (own.as_raw(), 0));
}

#[test]
fn a_model_that_ends_nvidias_parser_ends_neither_the_build_nor_this_program() {
    let machine = Machine::new();
    machine.delete_plan();
    let prepared = machine.prepare(&[("STAND_IN_CRASH_ON", "QuantizeLinear")]);
    // FP16, or float32 where the model's types decide, from TensorRT 11 on.
    assert!(prepared.contains(", from int8: "), "{prepared}");
    assert!(
        prepared.contains("no INT8 plan: the process that builds the plan has failed: signal: 6"),
        "{prepared}"
    );
    machine.delete_plan();
    let prepared = machine.prepare(&[("STAND_IN_CRASH_ON", "Conv")]);
    assert!(
        prepared.starts_with("error: the process that builds the plan has failed: signal: 6"),
        "{prepared}"
    );
}

/// Shim and substitutes under AddressSanitizer: a use after free or out of bounds ends the process.
#[test]
fn memory_is_used_correctly_on_a_lap_and_when_calls_fail() {
    let machine = Machine::watched();
    for environment in [&[][..], &PLAIN] {
        let drive = || machine.run_drive(&DriveOptions::default(), environment);
        repeat_if_held_up(drive, |report| {
            assert!(report.completed && report.left.is_empty(), "{report:?}");
            check_timing(report.fallbacks.is_empty(), || format!("{report:?}"))
        });
    }
    let faults = ["cuGraphLaunch", "cuEventQuery", "cuEventRecord", "late"];
    let mut cases = Vec::new();
    for fault in faults {
        for (_, notation) in FAILURE_MODES {
            cases.push((When::MidLap, format!("{fault} {notation}")));
        }
    }
    for call in ["deserializeCudaEngine", "setTensorAddress", "cuEventCreate"] {
        cases.push((When::Start, format!("{call} fail")));
    }
    run_all(&cases, |(when, fault)| {
        let options = DriveOptions {
            fault: Some((*when, fault.clone())),
            frames: Some(160),
            ..DriveOptions::default()
        };
        let report = machine.run_drive(&options, &[]);
        assert!(
            report.error.is_none() && report.left.is_empty(),
            "{report:?}"
        );
    });
}
