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
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use machine::Machine;
use pilotage::car::BackendKind;
use pilotage_tensorrt::Places;
use run::{Orders, Told, When};

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

/// The process that [`Machine::does`] starts is this program with this test, which there is
/// one drive of whichever test started it.
#[test]
fn the_stand_in_drives_the_very_lap_that_the_cpu_drives() {
    if let Some(place) = std::env::var_os(machine::PLACE) {
        return run::drives(Path::new(&place));
    }
    let cpu = on_the_cpu();
    let machine = Machine::new();
    // Memory shared, and of its own; with a graph, and without one.
    for environment in [&[][..], &[("STAND_IN_INTEGRATED", "0")], &PLAIN] {
        let drive = || machine.does(&Orders::default(), environment);
        timed(drive, |gpu| {
            assert!(
                gpu.backend.starts_with("TensorRT 11.4.0 on stand-in, "),
                "{}",
                gpu.backend
            );
            assert!(gpu.completed, "{environment:?}");
            assert_eq!(gpu.commands, cpu.commands, "{environment:?}");
            assert!(gpu.left.is_empty(), "{:?}", gpu.left);
            moment(gpu.fallbacks.is_empty(), || {
                format!("{environment:?}: the CPU answered {:?}", gpu.fallbacks)
            })
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

/// Drives again, at most twice, where only a moment was not as it should be and the machine
/// kept a thread of that drive waiting for longer than [`HELD_UP`]. Others use the machine. What
/// `judge` asserts itself is final, and so is a moment of a drive that nothing held up.
fn timed<T>(drive: impl Fn() -> Told, judge: impl Fn(&Told) -> Result<T, String>) -> T {
    for again in ["once more", "a last time"] {
        let told = drive();
        match judge(&told) {
            Ok(result) => return result,
            Err(late) => {
                let held_up = told.held_up;
                assert!(held_up > HELD_UP, "{late}; held up for {held_up} ms");
                println!("held up for {held_up:.0} ms, driven {again}: {late}");
                let again = REPEATED.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(again <= MOST_REPEATED, "{again} drives had to be repeated");
            }
        }
    }
    judge(&drive()).unwrap()
}

/// Of a thread that sleeps, milliseconds: far below the limits that are looked at.
const HELD_UP: f64 = 10.0;
/// In one test, which drives up to two hundred times.
const MOST_REPEATED: usize = 10;
static REPEATED: AtomicUsize = AtomicUsize::new(0);

/// `Err` when it does not hold: for what is a matter of moments.
fn moment(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}

/// What one call's fault came to, in the words of docs/tensorrt.md and without its times, which
/// are held to their limits here.
fn outcome(case: &Case, cpu: &Told, told: &Told) -> Result<&'static str, String> {
    let &Case {
        when,
        ref call,
        way,
        ..
    } = case;
    let case = || {
        let Told { notes, left, .. } = told;
        let (error, fallbacks) = (&told.error, &told.fallbacks);
        format!(
            "{call} {way}, {when:?}: {notes:?} {error:?} {left:?} {fallbacks:?} first {} ms, \
             longest {} ms, started {} ms",
            told.first, told.longest, told.started
        )
    };
    assert!(told.error.is_none() && told.stopped.is_none(), "{}", case());
    // The same commands, whoever answers.
    let count = told.commands.len();
    assert!(count >= 120, "{}", case());
    assert_eq!(told.commands, cpu.commands[..count], "{}", case());
    let gives_back = ["Destroy", "Free", "Release"];
    let came_back = match (when, way) {
        // The thread that loads is still in the call when the process ends.
        (When::Start, "hangs") => false,
        // Work that cannot be followed keeps its memory.
        (When::Start, "fails") if ["cuEventQuery", "cuEventRecord"].contains(&&**call) => false,
        // What cannot be given back stays.
        (_, "fails") if gives_back.iter().any(|word| call.contains(word)) => false,
        (When::End, "fails") => false,
        _ => true,
    };
    if came_back {
        assert!(told.left.is_empty(), "{}", case());
    }
    // Rule 1: within the deadline, which is 150 ms.
    moment(told.longest < 150.0, case)?;
    let waited = told.started >= START_S * 1e3;
    match when {
        When::Start if !told.notes.is_empty() => {
            assert_eq!(told.backend.find("TensorRT"), None, "{}", case());
            Ok(match waited {
                true => "the CPU drives, told after `gpu_start_s`",
                false => "the CPU drives, told at once",
            })
        }
        When::Start if way == "is late" => {
            assert!(told.started >= LATE_MS, "{}", case());
            Ok("the GPU drives, later")
        }
        When::Start => Ok("the GPU drives"),
        _ if told.fallbacks.is_empty() => Ok("nothing changes"),
        When::MidLap => {
            moment(told.fallbacks[0] == 100, case)?;
            // An error is known at once; what does not come back is waited for.
            match way {
                "fails" => moment(told.first < LIMIT_MS, case)?,
                _ => assert!(told.first >= LIMIT_MS, "{}", case()),
            }
            Ok("the CPU answers")
        }
        When::WarmUp => {
            moment(told.fallbacks[0] == 0, case)?;
            Ok("the CPU answers")
        }
        When::End => panic!("{}", case()),
    }
}

/// `gpu_start_s` where a call hangs while the engine is loaded.
const START_S: f64 = 1.0;
/// How late a call is that is late.
const LATE_MS: f64 = 400.0;
/// `gpu_limit_ms` (gpu/run.rs).
const LIMIT_MS: f64 = 50.0;

/// A call, how it goes wrong and in which part of a drive.
struct Case {
    when: When,
    call: String,
    way: &'static str,
    words: &'static str,
}

/// What docs/tensorrt.md says of each call in each part of a drive, for each of [`WAYS`], less
/// the times that it measured.
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
        assert_eq!(outcomes.len(), WAYS.len(), "{row}");
        for call in calls.split(',') {
            let call = call.trim().trim_matches('`').to_owned();
            let before = found.insert((when, call), outcomes.clone());
            assert!(before.is_none(), "a call is in two rows: {row}");
        }
    }
    found
}

/// Less "after 53 ms" and "0.5 s".
fn untimed(cell: &str) -> String {
    match cell.split_once(" after ") {
        Some((outcome, time)) if time.starts_with(|c: char| c.is_ascii_digit()) => {
            outcome.to_owned()
        }
        _ => cell.replace("0.5 s ", ""),
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
                cases.push(Case {
                    when,
                    call: call.clone(),
                    way,
                    words,
                });
            }
        }
    }
    let outcomes = all(&cases, |case| {
        let orders = Orders {
            fault: Some((case.when, format!("{} {}", case.call, case.words))),
            frames: Some(160),
            // What hangs is waited for in vain.
            start_s: match (case.when, case.way) {
                (When::Start, "hangs") => START_S,
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
        let environment = match plain.contains(&case.call.as_str()) {
            true => &PLAIN[..],
            false => &[],
        };
        let drive = || machine.does(&orders, environment);
        timed(drive, |told| outcome(case, &cpu, told))
    });
    let found: BTreeMap<(When, String), Vec<String>> = cases
        .chunks(WAYS.len())
        .zip(outcomes.chunks(WAYS.len()))
        .map(|(cases, outcomes)| {
            let outcomes = outcomes.iter().map(|&outcome| outcome.to_owned());
            ((cases[0].when, cases[0].call.clone()), outcomes.collect())
        })
        .collect();
    let documented = documented();
    for (call, outcomes) in &found {
        let said = documented.get(call);
        assert_eq!(said, Some(outcomes), "docs/tensorrt.md on {call:?}");
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
        let drive = || machine.does(&orders, environment);
        timed(drive, |told| {
            assert!(told.completed && told.error.is_none(), "{fault}: {told:?}");
            assert_eq!(told.commands, cpu.commands, "{fault}");
            assert!(told.fallbacks.contains(&orders.fails), "{fault}");
            if environment.is_empty() {
                assert!(told.left.is_empty(), "{fault}: {told:?}");
            } else {
                let all: Vec<_> = (orders.fails..told.commands.len()).collect();
                assert!(told.fallbacks.ends_with(&all), "it is not asked again");
            }
            let first = told.fallbacks[0];
            moment(first == orders.fails, || format!("{fault}: {first}"))?;
            moment(told.longest < 150.0, || {
                format!("{fault}: {} ms", told.longest)
            })?;
            println!("{fault}: the CPU answers after {:.0} ms", told.first);
            Ok(())
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
        timed(
            || machine.does(&orders, environment),
            |told| stands(fault, told),
        );
    });
}

/// Nothing takes the GPU's place, so its fault in mid-lap is the end of the drive. A machine
/// that holds the GPU up before the fault ends it too.
fn stands(fault: &str, told: &Told) -> Result<(), String> {
    let count = told.commands.len();
    moment(count >= 100, || {
        format!("{fault}: ended after {count} frames")
    })?;
    // The device's own time is not needed to drive.
    if fault == "cuEventElapsedTime fail" {
        return moment(told.completed && told.error.is_none(), || {
            format!("{fault}: {told:?}")
        });
    }
    assert!(!told.completed && told.failsafe, "{fault}: {told:?}");
    let stopped = told.stopped.as_deref();
    // The network's answer is the guard's to refuse: the last good command runs out.
    if fault == "nan" {
        return moment(stopped.unwrap().contains("deadline"), || {
            format!("{fault}: {stopped:?}")
        });
    }
    assert_eq!(count, 100, "{fault}");
    assert_eq!(stopped, Some("the engine failed"), "{fault}");
    assert!(told.left.is_empty(), "{fault}: {:?}", told.left);
    Ok(())
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
        timed(
            || machine.does(&hangs, &[]),
            |told| {
                assert!(told.error.is_none() && told.stopped.is_none(), "{told:?}");
                assert_eq!(told.commands.len(), 70, "{told:?}");
                assert!(told.left.is_empty(), "{told:?}");
                // From the fault on the CPU answers, and the GPU again once it has come back.
                assert!(told.fallbacks.len() > 15, "{told:?}");
                let (first, last) = (told.fallbacks[0], told.fallbacks.contains(&69));
                moment(first == 20 && !last, || format!("{told:?}"))
            },
        );

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
        let drive = || machine.does(&Orders::default(), environment);
        timed(drive, |told| {
            assert!(told.completed && told.left.is_empty(), "{told:?}");
            moment(told.fallbacks.is_empty(), || format!("{told:?}"))
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
