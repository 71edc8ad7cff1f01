//! Driving with the GPU's engine, on a machine that only has substitutes for CUDA and TensorRT
//! (crates/tensorrt/tests/stand-in) behind the real shim, which is compiled here. The CPU engine
//! computes their answers in another thread. No figure from here is a GPU's.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod machine;
mod real;
mod run;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use machine::Machine;
use pilotage::car::BackendKind;
use pilotage_gpu::TensorRtPaths;
use run::{DriveOptions, DriveReport, When};

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
            assert!(
                gpu.backend.starts_with("TensorRT 11.4.0 on stand-in, "),
                "{}",
                gpu.backend
            );
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
            frames: Some(110),
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

/// The failure modes of each call, and their notation in faults.h.
const FAILURE_MODES: [(&str, &str); 3] = [
    ("fails", "fail"),
    ("is late", "once 400"),
    ("hangs", "hang"),
];

/// Runs `of` for each item, a few at a time, and returns the results in order.
fn run_all<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(0..items.len());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else {
                        return;
                    };
                    let result = of(&items[index]);
                    results.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Repeats a drive, at most twice, if only a time limit was missed and the machine held up a thread
/// of that drive for longer than [`HELD_UP`], because other programs use the machine. What `judge`
/// asserts itself is final, and so is a missed time limit of a drive that nothing held up.
fn repeat_if_held_up<T>(
    drive: impl Fn() -> DriveReport,
    judge: impl Fn(&DriveReport) -> Result<T, String>,
) -> T {
    for again in ["once more", "a last time"] {
        let report = drive();
        match judge(&report) {
            Ok(result) => return result,
            Err(late) => {
                let held_up = report.held_up;
                assert!(held_up > HELD_UP, "{late}; held up for {held_up} ms");
                println!("held up for {held_up:.0} ms, driven {again}: {late}");
                let again = REPEATED.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(again <= MAX_REPEATED, "{again} drives had to be repeated");
            }
        }
    }
    judge(&drive()).unwrap()
}

/// The delay of a sleeping thread that excuses a missed time limit, milliseconds: far below the
/// limits that are checked.
const HELD_UP: f64 = 10.0;
/// The largest number of repeated drives in one test, which drives up to two hundred times.
const MAX_REPEATED: usize = 10;
static REPEATED: AtomicUsize = AtomicUsize::new(0);

/// `Err` if the condition is false: for conditions that depend on timing.
fn check_timing(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}

/// The outcome of one call's fault, in the words of docs/tensorrt.md and without its times. The
/// times are checked against their limits here.
fn outcome(case: &Case, cpu: &DriveReport, report: &DriveReport) -> Result<&'static str, String> {
    let &Case {
        when,
        ref call,
        mode,
        ..
    } = case;
    let case = || {
        let DriveReport { notes, left, .. } = report;
        let (error, fallbacks) = (&report.error, &report.fallbacks);
        format!(
            "{call} {mode}, {when:?}: {notes:?} {error:?} {left:?} {fallbacks:?} first {} ms, \
             longest {} ms, started {} ms",
            report.first, report.longest, report.started
        )
    };
    assert!(
        report.error.is_none() && report.stopped.is_none(),
        "{}",
        case()
    );
    // The commands must be the same, whichever engine answers.
    let count = report.commands.len();
    assert!(count >= 120, "{}", case());
    assert_eq!(report.commands, cpu.commands[..count], "{}", case());
    let releases = ["Destroy", "Free", "Release"];
    let all_released = match (when, mode) {
        // The loading thread is still in the call when the process ends.
        (When::Start, "hangs") => false,
        // Memory is kept if it is unknown whether the work on it has finished.
        (When::Start, "fails") if ["cuEventQuery", "cuEventRecord"].contains(&&**call) => false,
        // What cannot be released remains.
        (_, "fails") if releases.iter().any(|word| call.contains(word)) => false,
        (When::End, "fails") => false,
        _ => true,
    };
    if all_released {
        assert!(report.left.is_empty(), "{}", case());
    }
    // Rule 1: within the deadline, which is 175 ms.
    check_timing(report.longest < 175.0, case)?;
    let waited = report.started >= START_S * 1e3;
    match when {
        When::Start if !report.notes.is_empty() => {
            assert_eq!(report.backend.find("TensorRT"), None, "{}", case());
            Ok(match waited {
                true => "the CPU drives, reported after `gpu_start_s`",
                false => "the CPU drives, reported at once",
            })
        }
        When::Start if mode == "is late" => {
            assert!(report.started >= LATE_MS, "{}", case());
            Ok("the GPU drives, later")
        }
        When::Start => Ok("the GPU drives"),
        _ if report.fallbacks.is_empty() => Ok("nothing changes"),
        When::MidLap => {
            check_timing(report.fallbacks[0] == 100, case)?;
            // An error is known at once; a call that does not return is waited for.
            match mode {
                "fails" => check_timing(report.first < LIMIT_MS, case)?,
                _ => assert!(report.first >= LIMIT_MS, "{}", case()),
            }
            Ok("the CPU answers")
        }
        When::WarmUp => {
            check_timing(report.fallbacks[0] == 0, case)?;
            Ok("the CPU answers")
        }
        When::End => panic!("{}", case()),
    }
}

/// `gpu_start_s` for a call that hangs while the engine is loaded.
const START_S: f64 = 1.0;
/// The delay of a late call.
const LATE_MS: f64 = 400.0;
/// `gpu_limit_ms` (gpu/run.rs).
const LIMIT_MS: f64 = 50.0;

/// A call, its failure mode, and the part of a drive.
struct Case {
    when: When,
    call: String,
    mode: &'static str,
    notation: &'static str,
}

/// The outcomes in docs/tensorrt.md for each call in each part of a drive and each of
/// [`FAILURE_MODES`], without the measured times.
fn documented() -> BTreeMap<(When, String), Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tensorrt.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page
        .split_once("| while | call | fails | 400 ms late | hangs |\n")
        .unwrap();
    let mut found = BTreeMap::new();
    for row in table.lines().skip(1).take_while(|row| row.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [part, calls, outcomes @ ..] = &cells[..] else {
            panic!("{row}");
        };
        let when = match *part {
            "loading" => When::Start,
            "warm-up" => When::WarmUp,
            "mid-lap" => When::MidLap,
            "giving back" => When::End,
            _ => panic!("{row}"),
        };
        let outcomes: Vec<String> = outcomes.iter().map(|cell| untimed(cell)).collect();
        assert_eq!(outcomes.len(), FAILURE_MODES.len(), "{row}");
        for call in calls.split(',') {
            let call = call.trim().trim_matches('`').to_owned();
            let before = found.insert((when, call), outcomes.clone());
            assert!(before.is_none(), "a call is in two rows: {row}");
        }
    }
    found
}

/// Removes "after 53 ms" and "0.5 s".
fn untimed(cell: &str) -> String {
    match cell.split_once(" after ") {
        Some((outcome, time)) if time.starts_with(|c: char| c.is_ascii_digit()) => {
            outcome.to_owned()
        }
        _ => cell.replace("0.5 s ", ""),
    }
}

/// Each call of the path, from a trace, in each part of a drive: it fails, is late, or hangs.
#[test]
fn the_cars_commands_do_not_change_whichever_call_fails() {
    let cpu = cpu_lap();
    let machine = Machine::new();
    let calls = calls(&machine);
    // Check that the trace is plausible.
    assert!(calls[&When::Start].len() > 30, "{calls:?}");
    for call in ["cuGraphLaunch", "cuEventQuery", "enqueueV3"] {
        assert!(calls[&When::MidLap].contains(call), "{calls:?}");
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
            fault: Some((case.when, format!("{} {}", case.call, case.notation))),
            frames: Some(160),
            // A call that hangs is waited for in vain.
            start_s: match (case.when, case.mode) {
                (When::Start, "hangs") => START_S,
                (When::WarmUp, "hangs") => 3.0,
                _ => 60.0,
            },
            ..DriveOptions::default()
        };
        // Calls that only an inference without a graph makes.
        let plain = [
            "enqueueV3",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2",
        ];
        let environment = match plain.contains(&case.call.as_str()) {
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
            ((cases[0].when, cases[0].call.clone()), outcomes.collect())
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
}

#[test]
fn the_cpu_answers_in_place_of_an_invalid_answer_and_a_lost_device_is_not_used_again() {
    let cpu = cpu_lap();
    let machine = Machine::new();
    for (fault, environment) in [
        ("late", &[][..]),
        ("nan", &[]),
        // cuda.h: an illegal address.
        ("cuGraphLaunch", &[("STAND_IN_CODE", "700")]),
    ] {
        let options = DriveOptions {
            fault: Some((When::MidLap, fault.to_owned())),
            ..DriveOptions::default()
        };
        let drive = || machine.run_drive(&options, environment);
        repeat_if_held_up(drive, |report| {
            assert!(
                report.completed && report.error.is_none(),
                "{fault}: {report:?}"
            );
            assert_eq!(report.commands, cpu.commands, "{fault}");
            assert!(report.fallbacks.contains(&options.fails), "{fault}");
            if environment.is_empty() {
                assert!(report.left.is_empty(), "{fault}: {report:?}");
            } else {
                let later: Vec<_> = (options.fails..report.commands.len()).collect();
                assert!(report.fallbacks.ends_with(&later), "it is not asked again");
            }
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
        let plain = fault.starts_with("enqueueV3") || fault.starts_with("cuMemcpy");
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
    assert!(report.left.is_empty(), "{fault}: {:?}", report.left);
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
