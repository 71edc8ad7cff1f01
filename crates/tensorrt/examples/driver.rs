//! Tests this crate's use of CUDA on a machine's real driver, without TensorRT: a stand-in for TensorRT
//! (tests/stand-in) runs each inference as a host function on the CUDA stream. Each case is a process.
//!
//!     cargo run --release -p tensorrt-rs --example driver [-- CASE..]
//!
//! It needs a GPU with a driver, a C compiler and the checkout.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tensorrt_rs::{
    Device, Owner, Priority, Product, RunError, RunOptions, Session, Shims, TensorRt, Transfer,
    TrustedBytes, Wait,
};

type Outcome = Result<String, Box<dyn Error>>;

/// A case: its name, how the plan is run, and what is checked.
struct Case {
    name: &'static str,
    options: RunOptions,
    check: fn(&mut Session) -> Outcome,
}

/// The limit for a case, which takes seconds at most.
const LIMIT: Duration = Duration::from_secs(60);
/// The time limit of an inference. A stand-in's inference that begins with [`SLOW`] takes 300 ms.
const INFERENCE_LIMIT: Duration = Duration::from_millis(100);
const SLOW: u8 = 127;
/// The number of inferences of a case.
const COUNT: usize = 500;
/// The size of the stand-in's input, in bytes.
const INPUT: usize = 40_000;
/// The inferences that [`Session::prepare`] enqueues: one to run and one to record.
const PREPARED: usize = 2;
/// The inference with the kernel that traps (STAND_IN_TRAP).
const TRAP: usize = 10;
/// The stand-in's library and shim, of TensorRT 10.3.
const LIBRARIES: [&str; 2] = ["libnvinfer.so.10", "libnvonnxparser.so.10"];
const SHIM: &str = "libtensorrt_rs_shim_100300.so";

fn cases() -> Vec<Case> {
    let options = |transfer, graph| RunOptions {
        transfer: Some(transfer),
        graph,
        limit: INFERENCE_LIMIT,
        ..RunOptions::default()
    };
    let case = |name, options, check| Case {
        name,
        options,
        check,
    };
    vec![
        case("graph, mapped", options(Transfer::Mapped, true), replays),
        case("graph, copied", options(Transfer::Copied, true), replays),
        case(
            "enqueue, mapped",
            options(Transfer::Mapped, false),
            enqueues,
        ),
        case(
            "enqueue, copied",
            options(Transfer::Copied, false),
            enqueues,
        ),
        case(
            "sleeping, low priority",
            RunOptions {
                wait: Wait::Sleep,
                priority: Priority::Low,
                ..options(Transfer::Copied, true)
            },
            replays,
        ),
        case("late", options(Transfer::Copied, true), late),
        case("a kernel traps", options(Transfer::Copied, false), lost),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, folder, name] if flag == "--in" => run(Path::new(folder), name).map(|outcome| {
            println!("{outcome}");
            true
        }),
        names => run_all(names),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases of these names, or all, and prints a table. Returns whether all have passed.
fn run_all(names: &[String]) -> Result<bool, Box<dyn Error>> {
    let cases = cases();
    if let Some(name) = names
        .iter()
        .find(|name| cases.iter().all(|case| case.name != **name))
    {
        return Err(format!("there is no case `{name}`").into());
    }
    let mut missing = Vec::new();
    let device = Device::first().map_err(|error| missing.push(format!("a GPU: {error}")));
    let folder = tempfile::tempdir()?;
    if let Err(error) = make_stand_in(folder.path()) {
        missing.push(error);
    }
    let (Ok(device), []) = (device, missing.as_slice()) else {
        eprintln!("this machine cannot run the driver's test:");
        for lack in missing {
            eprintln!("  missing: {lack}");
        }
        return Ok(false);
    };
    let mut table = format!("{device}; a stand-in for TensorRT\n\n| case | |\n|---|---|\n");
    let mut passed = true;
    for case in cases {
        if !names.is_empty() && !names.iter().any(|name| name == case.name) {
            continue;
        }
        let outcome = in_process(folder.path(), case.name);
        passed &= outcome.is_ok();
        let outcome = outcome.unwrap_or_else(|error| format!("**FAILED**: {error}"));
        writeln!(table, "| {} | {outcome} |", case.name)?;
    }
    print!("{table}");
    Ok(passed)
}

/// Compiles the stand-in for TensorRT to `folder`, with its shim and its plan.
fn make_stand_in(folder: &Path) -> Result<(), String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = sources.join("tests/stand-in/tensorrt.c");
    if !source.exists() {
        return Err(format!("the checkout: there is no {}", source.display()));
    }
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let shim = folder.join(SHIM);
    let compiled = Command::new(&compiler)
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-DSTAND_IN_DRIVER",
            "-DVERSION=100300",
            "-I",
        ])
        .arg(sources.join("shim"))
        .arg(source)
        .arg("-o")
        .arg(&shim)
        .arg("-ldl")
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        let compiler = compiler.display();
        return Err(format!(
            "a C compiler ({compiler}): sudo apt-get install gcc"
        ));
    }
    let write = || -> std::io::Result<()> {
        for library in LIBRARIES {
            fs::copy(&shim, folder.join(library))?;
        }
        let sum = Sha256::digest(fs::read(&shim)?);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(shim.with_extension("so.sha256"), sum)?;
        fs::write(folder.join("plan"), b"stand-in plan\0")?;
        // INT8 in, float32 out (answers.h).
        fs::write(
            folder.join("answers"),
            format!("1 1 in 2 1 {INPUT} out 0 1 2\n"),
        )
    };
    write().map_err(|error| format!("{}: {error}", folder.display()))
}

/// Runs a case in a process of its own.
fn in_process(folder: &Path, name: &str) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--in").arg(folder).arg(name);
    command.env("STAND_IN_ANSWERS", folder.join("answers"));
    if name == "a kernel traps" {
        command.env("STAND_IN_TRAP", TRAP.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let until = Instant::now() + LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() > until {
            child.kill()?;
            return Err(format!("its process had not ended after {} s", LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{}, see above", output.status).into()),
    }
}

/// The main function of a case's process.
fn run(folder: &Path, name: &str) -> Outcome {
    let case = cases().into_iter().find(|case| case.name == name);
    let case = case.ok_or("there is no such case")?;
    let device = Device::first()?;
    let shims = Shims::In(PathBuf::from(folder));
    let tensorrt = TensorRt::open(Product::TensorRt, Some(folder), &shims)?;
    let plan = TrustedBytes::read(&folder.join("plan"), Owner::RootOrUser, 1 << 10)?;
    let mut session = Session::new(&tensorrt, &device, &plan, case.options)?;
    session.prepare()?;
    (case.check)(&mut session)
}

/// Runs an inference on an input that begins with `first`. Returns the answer: how many inferences were
/// enqueued.
fn infer(session: &mut Session, first: u8) -> Result<Result<f32, RunError>, String> {
    let mut answer = [f32::NAN; 2];
    let value = |index: usize| (index % 100) as u8;
    let ran = session.infer(
        |_, bytes| {
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = value(index);
            }
            bytes[0] = first;
        },
        |_, bytes| {
            for (number, bytes) in answer.iter_mut().zip(bytes.chunks_exact(4)) {
                *number = f32::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
        },
    );
    if let Err(error) = ran {
        return Ok(Err(error));
    }
    let sum: u32 = (1..INPUT).map(|index| u32::from(value(index))).sum();
    // Below 2^24, so that float32 has it exactly.
    let expected = (sum + u32::from(first)) as f32;
    match answer[0] == expected {
        true => Ok(Ok(answer[1])),
        false => Err(format!("the answer is {} and not {expected}", answer[0])),
    }
}

/// The answers to [`COUNT`] inputs; returns the times, and how many inferences were enqueued in all.
fn measure(session: &mut Session) -> Result<(String, usize), Box<dyn Error>> {
    let (mut total, mut device) = (Vec::new(), Vec::new());
    let mut enqueued = 0.0;
    for index in 0..COUNT {
        let start = Instant::now();
        enqueued = infer(session, (index % 100) as u8)??;
        total.push(start.elapsed());
        device.push(session.elapsed().ok_or("the events have no time")?);
    }
    total.sort_unstable();
    device.sort_unstable();
    let median = |times: &[Duration]| times[COUNT / 2].as_micros();
    let (total, device) = (median(&total), median(&device));
    let times = format!("{COUNT} right answers; median {total} us, by events {device} us");
    Ok((times, enqueued as usize))
}

/// Each inference replays the graph.
fn replays(session: &mut Session) -> Outcome {
    let (times, enqueued) = measure(session)?;
    match enqueued == PREPARED {
        true => Ok(times),
        false => Err(format!("{enqueued} inferences were enqueued: there is no graph").into()),
    }
}

/// Each inference is enqueued.
fn enqueues(session: &mut Session) -> Outcome {
    let (times, enqueued) = measure(session)?;
    match enqueued > COUNT {
        true => Ok(times),
        false => Err(format!("only {enqueued} inferences were enqueued").into()),
    }
}

/// An inference takes longer than its limit. The next ones wait for it, and are right again.
fn late(session: &mut Session) -> Outcome {
    let start = Instant::now();
    match infer(session, SLOW)? {
        Err(RunError::Late { .. }) => {}
        other => return Err(format!("a slow inference: {other:?}").into()),
    }
    let noticed = start.elapsed();
    let mut late = 1;
    while late < 10 {
        match infer(session, 1)? {
            Ok(_) => {
                let (noticed, all) = (noticed.as_millis(), start.elapsed().as_millis());
                return Ok(format!(
                    "noticed after {noticed} ms, right again after {all} ms"
                ));
            }
            Err(RunError::Late { .. }) => late += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Err("it does not end".into())
}

/// A kernel's trap is an error for good, and the process still ends.
fn lost(session: &mut Session) -> Outcome {
    for index in 0..2 * TRAP {
        match infer(session, 1)? {
            Ok(_) => {}
            Err(RunError::Lost { reason }) => {
                return match infer(session, 1)? {
                    Err(RunError::Lost { .. }) => Ok(format!("inference {index}: {reason}")),
                    other => Err(format!("after the trap ({reason}): {other:?}").into()),
                };
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err("the trap is not noticed".into())
}
