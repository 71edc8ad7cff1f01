//! Driving with the GPU's engine, on a machine that has only stand-ins for CUDA and TensorRT
//! (crates/tensorrt/tests/stand-in), behind the real shim, which is compiled here. What they
//! answer is computed by the CPU engine in a thread beside. No figure from here is a GPU's.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "gpu/machine.rs"]
mod machine;
#[path = "gpu/real.rs"]
mod real;
#[path = "gpu/run.rs"]
mod run;
#[path = "gpu/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;

use machine::Machine;
use pilotage::car::BackendKind;
use pilotage_tensorrt::Places;
use run::{Orders, Told, When};

/// Not a test by itself: what the tests below run with stand-ins in its way.
#[test]
fn drives() {
    run::drives();
}

/// The lap that the CPU drives.
fn on_the_cpu() -> Told {
    let nowhere = tempfile::tempdir().unwrap();
    let orders = Orders::default();
    let told = run::drive(
        BackendKind::Cpu,
        &orders,
        &Places::default(),
        nowhere.path(),
    );
    assert!(told.completed && told.fallbacks.is_empty());
    told
}

/// Memory of its own, and no graph: an inference makes each of its calls anew.
const PLAIN: [(&str, &str); 2] = [
    ("STAND_IN_FAIL", "cuStreamBeginCapture_v2"),
    ("STAND_IN_INTEGRATED", "0"),
];

#[test]
fn the_stand_in_drives_the_very_lap_that_the_cpu_drives() {
    let cpu = on_the_cpu();
    let machine = Machine::new();
    // Memory shared, and of its own; with a graph, and without one.
    for environment in [&[][..], &[("STAND_IN_INTEGRATED", "0")], &PLAIN] {
        judged(|| {
            let gpu = machine.does(&Orders::default(), environment);
            assert!(
                gpu.backend.starts_with("TensorRT 11.4.0 on stand-in, "),
                "{}",
                gpu.backend
            );
            assert!(gpu.completed && gpu.fallbacks.is_empty(), "{environment:?}");
            assert_eq!(gpu.commands, cpu.commands, "{environment:?}");
            assert!(gpu.left.is_empty(), "{:?}", gpu.left);
        });
    }
}

/// What is called in each part of a drive, found by watching one.
fn calls(machine: &Machine) -> BTreeMap<When, BTreeSet<String>> {
    let mut calls = BTreeMap::<When, BTreeSet<String>>::new();
    for environment in [&[][..], &PLAIN] {
        let orders = Orders {
            trace: true,
            frames: Some(110),
            ..Orders::default()
        };
        let told = machine.does(&orders, environment);
        let mut part = When::Start;
        for line in told.trace.lines() {
            part = match line {
                "-- Start" => When::Start,
                "-- WarmUp" => When::WarmUp,
                "-- MidLap" => When::MidLap,
                "-- End" => When::End,
                // Not a call, but what an event says.
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

/// How each call may go wrong, and in faults.h's words.
const WAYS: [(&str, &str); 3] = [
    ("fails", "fail"),
    ("is late", "once 400"),
    ("hangs", "hang"),
];

/// Runs `of` of each, a few at a time, and gives the results in order.
fn all<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
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

/// Judges by `of` up to three times. Others use this machine: now and then it keeps a drive
/// waiting for longer than the limits that are looked at here, and what it did says nothing
/// then. What is wrong with the program is wrong each time.
fn judged<T>(of: impl Fn() -> T) -> T {
    for again in ["once more", "a last time"] {
        match catch_unwind(AssertUnwindSafe(&of)) {
            Ok(result) => return result,
            Err(_) => println!("not as it should be: driven {again}"),
        }
    }
    of()
}

/// What one call's fault came to, in a few words.
fn outcome(when: When, call: &str, way: &str, cpu: &Told, told: &Told) -> String {
    let case = || {
        let Told { notes, left, .. } = told;
        let (error, fallbacks) = (&told.error, &told.fallbacks);
        format!(
            "{call} {way}, {when:?}: {notes:?} {error:?} {left:?} {fallbacks:?} {} ms",
            told.longest
        )
    };
    assert!(told.error.is_none() && told.stopped.is_none(), "{}", case());
    // The same commands, whoever answers.
    let count = told.commands.len();
    assert!(count >= 120, "{}", case());
    assert_eq!(told.commands, cpu.commands[..count], "{}", case());
    // Rule 1: within the deadline, which is 150 ms.
    assert!(told.longest < 150.0, "{}", case());
    let gives_back = ["Destroy", "Free", "Release"];
    let came_back = match (when, way) {
        // The thread that loads is still in the call when the process ends.
        (When::Start, "hangs") => false,
        // Work that cannot be followed keeps its memory.
        (When::Start, "fails") if ["cuEventQuery", "cuEventRecord"].contains(&call) => false,
        // What cannot be given back stays.
        (_, "fails") if gives_back.iter().any(|word| call.contains(word)) => false,
        (When::End, "fails") => false,
        _ => true,
    };
    if came_back {
        assert!(told.left.is_empty(), "{}", case());
    }
    match when {
        When::Start if !told.notes.is_empty() => {
            assert_eq!(told.backend.find("TensorRT"), None, "{}", case());
            format!("CPU drives, told after {:.1} s", told.started * 1e-3)
        }
        When::Start => format!("GPU drives, {:.1} s later", told.started * 1e-3),
        _ if told.fallbacks.is_empty() => "nothing".to_owned(),
        When::MidLap => {
            assert_eq!(told.fallbacks[0], 100, "{}", case());
            format!("CPU answers, {:.0} ms", told.first)
        }
        When::WarmUp => {
            assert_eq!(told.fallbacks[0], 0, "{}", case());
            "CPU answers".to_owned()
        }
        When::End => panic!("{}", case()),
    }
}

/// Each call of the path, found by watching it, in each part of a drive: it fails, comes late,
/// and never comes back.
#[test]
fn whichever_call_goes_wrong_and_however_the_cars_commands_stay_the_same() {
    let cpu = on_the_cpu();
    let machine = Machine::new();
    let calls = calls(&machine);
    // The path is what it is thought to be.
    assert!(calls[&When::Start].len() > 30, "{calls:?}");
    for call in ["cuGraphLaunch", "cuEventQuery", "enqueueV3"] {
        assert!(calls[&When::MidLap].contains(call), "{calls:?}");
    }
    let mut cases = Vec::new();
    for (&when, calls) in &calls {
        for call in calls {
            for (way, words) in WAYS {
                cases.push((when, call, way, words));
            }
        }
    }
    let outcomes = all(&cases, |&(when, call, way, words)| {
        let orders = Orders {
            fault: Some((when, format!("{call} {words}"))),
            frames: Some(160),
            // What hangs is waited for in vain.
            start_s: match (when, way) {
                (When::Start, "hangs") => 1.0,
                (When::WarmUp, "hangs") => 3.0,
                _ => 60.0,
            },
            ..Orders::default()
        };
        // What only a plain inference calls.
        let plain = [
            "enqueueV3",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2",
        ];
        let environment = match plain.contains(&call.as_str()) {
            true => &PLAIN[..],
            false => &[],
        };
        judged(|| outcome(when, call, way, &cpu, &machine.does(&orders, environment)))
    });
    println!(
        "| call | when | fails | is late by 400 ms | hangs |\n| --- | --- | --- | --- | --- |"
    );
    for (cases, outcomes) in cases.chunks(WAYS.len()).zip(outcomes.chunks(WAYS.len())) {
        let (when, call, ..) = cases[0];
        println!("| {call} | {when:?} | {} |", outcomes.join(" | "));
    }
}

#[test]
fn what_is_no_answer_is_the_cpus_to_answer_and_a_lost_device_is_not_asked_again() {
    let cpu = on_the_cpu();
    let machine = Machine::new();
    for (fault, environment) in [
        ("late", &[][..]),
        ("nan", &[]),
        // cuda.h: an illegal address.
        ("cuGraphLaunch", &[("STAND_IN_CODE", "700")]),
    ] {
        let orders = Orders {
            fault: Some((When::MidLap, fault.to_owned())),
            ..Orders::default()
        };
        judged(|| {
            let told = machine.does(&orders, environment);
            assert!(told.completed && told.error.is_none(), "{fault}: {told:?}");
            assert_eq!(told.commands, cpu.commands, "{fault}");
            assert_eq!(told.fallbacks[0], orders.fails, "{fault}");
            assert!(told.longest < 150.0, "{fault}: {} ms", told.longest);
            println!("{fault}: the CPU answers after {:.0} ms", told.first);
            if environment.is_empty() {
                assert!(told.left.is_empty(), "{fault}: {told:?}");
            } else {
                let all: Vec<_> = (orders.fails..told.commands.len()).collect();
                assert_eq!(told.fallbacks, all, "it is not asked again");
            }
        });
    }
}

#[test]
fn where_nothing_may_take_its_place_the_car_stops() {
    let machine = Machine::new();
    let calls = calls(&machine);
    let mut cases: Vec<String> = Vec::new();
    for call in &calls[&When::MidLap] {
        for (_, words) in WAYS {
            cases.push(format!("{call} {words}"));
        }
    }
    cases.extend(["late", "nan"].map(str::to_owned));
    all(&cases, |fault| {
        let orders = Orders {
            stop: true,
            fault: Some((When::MidLap, fault.clone())),
            ..Orders::default()
        };
        let plain = fault.starts_with("enqueueV3") || fault.starts_with("cuMemcpy");
        let environment = if plain { &PLAIN[..] } else { &[] };
        judged(|| stands(fault, &machine.does(&orders, environment)));
    });
}

/// Nothing takes the GPU's place, so its fault in mid-lap is the end of the drive.
fn stands(fault: &str, told: &Told) {
    // The device's own time is not needed to drive.
    if fault == "cuEventElapsedTime fail" {
        assert!(told.completed && told.error.is_none(), "{fault}: {told:?}");
        return;
    }
    assert!(!told.completed && told.failsafe, "{fault}: {told:?}");
    let stopped = told.stopped.as_deref();
    // The network's answer is the guard's to refuse: the last good command runs out.
    if fault == "nan" {
        assert!(
            stopped.unwrap().contains("deadline"),
            "{fault}: {stopped:?}"
        );
        return;
    }
    assert_eq!(told.commands.len(), 100, "{fault}");
    assert_eq!(stopped, Some("the engine failed"), "{fault}");
    assert!(told.left.is_empty(), "{fault}: {:?}", told.left);
}

/// On the wall clock, the guard in a process of its own.
#[test]
fn a_driver_that_hangs_stops_no_guarded_car_or_stops_it_at_once() {
    let machine = Machine::new();
    for call in ["cuGraphLaunch", "cuEventQuery", "cuCtxSetCurrent"] {
        let hangs = Orders {
            guard: Some(PathBuf::from(env!("CARGO_BIN_EXE_pilotage"))),
            fault: Some((When::MidLap, format!("{call} hang"))),
            fails: 20,
            heals: 30,
            frames: Some(70),
            ..Orders::default()
        };
        let told = machine.does(&hangs, &[]);
        assert!(told.error.is_none() && told.stopped.is_none(), "{told:?}");
        assert_eq!(told.commands.len(), 70, "{told:?}");
        // From the fault on the CPU answers, and the GPU again once it has come back.
        assert_eq!(told.fallbacks[0], 20, "{told:?}");
        assert!(told.fallbacks.len() > 15, "{told:?}");
        assert!(!told.fallbacks.contains(&69), "{told:?}");
        assert!(told.left.is_empty(), "{told:?}");

        let stops = Orders {
            stop: true,
            ..hangs
        };
        let told = machine.does(&stops, &[]);
        let error = told.error.unwrap();
        assert!(error.contains("has not come back within"), "{error}");
        let after = told.failsafe_after.unwrap();
        println!("{call} hangs: failsafe at the motors after {after:.0} ms");
        // A frame is waited for, then the GPU.
        assert!(after < 150.0, "{after} ms");
    }
}

/// Shim and stand-ins under AddressSanitizer: what is used after it has gone, or beyond its end,
/// ends the process.
#[test]
fn no_memory_is_misused_on_a_lap_or_when_calls_go_wrong() {
    let machine = Machine::watched();
    for environment in [&[][..], &PLAIN] {
        judged(|| {
            let told = machine.does(&Orders::default(), environment);
            assert!(told.completed && told.fallbacks.is_empty(), "{told:?}");
            assert!(told.left.is_empty(), "{told:?}");
        });
    }
    let faults = ["cuGraphLaunch", "cuEventQuery", "cuEventRecord", "late"];
    let mut cases = Vec::new();
    for fault in faults {
        for (_, words) in WAYS {
            cases.push((When::MidLap, format!("{fault} {words}")));
        }
    }
    for call in ["deserializeCudaEngine", "setTensorAddress", "cuEventCreate"] {
        cases.push((When::Start, format!("{call} fail")));
    }
    all(&cases, |(when, fault)| {
        let orders = Orders {
            fault: Some((*when, fault.clone())),
            frames: Some(160),
            ..Orders::default()
        };
        let told = machine.does(&orders, &[]);
        assert!(told.error.is_none() && told.left.is_empty(), "{told:?}");
    });
}
