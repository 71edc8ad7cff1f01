//! The guard in a separate process, on the wall clock: whatever dies or freezes, the simulated
//! car's motors are set to failsafe.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pilotage::guarded::GuardProcess;
use pilotage_guard::{
    ArmRequest, CommandLink, Limits, LimitsSpec, LinkError, Mode, OperatorLink, Output, State,
    StopReason,
};
use pilotage_vehicle::{Command as Drive, Domain, monotonic};
use rustix::process::{Pid, getpid};

#[path = "support/processes.rs"]
mod processes;

use processes::{children, lives};

/// Delays of a busy machine must not count as a guard's fault.
const SLACK: Duration = Duration::from_millis(200);
/// The limit for things that must be prompt.
const PROMPT: Duration = Duration::from_secs(2);

fn limits() -> Limits {
    let spec = LimitsSpec {
        deadline: Duration::from_millis(500),
        max_age: Duration::from_millis(500),
        ..LimitsSpec::simulated()
    };
    Limits::new(spec).unwrap()
}

fn start() -> (GuardProcess, pilotage_guard::SocketLink) {
    let program = Path::new(env!("CARGO_BIN_EXE_pilotage"));
    GuardProcess::start_as(program, &limits(), Domain::Simulated).unwrap()
}

/// Waits until the motors' latest output satisfies `is_it`, at most for `limit`; returns the
/// waiting time.
fn until(
    guarded: &GuardProcess,
    limit: Duration,
    is_it: impl Fn(&Output) -> bool,
) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < limit {
        let last = guarded.motors.take().last().copied();
        if last.is_some_and(|applied| is_it(&applied.output)) {
            return Some(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Arms the car and drives until the motors move.
fn drive(guarded: &GuardProcess, link: &mut pilotage_guard::SocketLink) {
    let now = monotonic();
    let engine = Domain::Simulated;
    link.arm(now, ArmRequest { engine }).unwrap();
    send(link, 1);
    until(guarded, 5 * SLACK, |output| output.mode == Mode::Drive).unwrap();
}

fn send(link: &mut pilotage_guard::SocketLink, sequence: u64) {
    let now = monotonic();
    let command = Drive {
        steering: 0.5,
        throttle: 0.25,
        captured: now,
        sequence,
    };
    link.send_at(now, command).unwrap();
}

/// The guards that this process started and that have not ended.
fn guards() -> Vec<Pid> {
    let mut guards = children(getpid());
    guards.retain(|&guard| lives(guard));
    guards
}

fn signal(name: &str, id: Pid) {
    let id = id.as_raw_nonzero().to_string();
    let sent = Command::new("kill").args([name, &id]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_silent_pilot_is_stopped_at_the_deadline_and_stays_stopped() {
    let (guarded, mut link) = start();
    drive(&guarded, &mut link);
    let took = until(&guarded, Duration::from_secs(5), |output| {
        output.mode == Mode::Failsafe
    });
    let took = took.unwrap();
    assert!(took <= limits().spec().deadline + SLACK, "{took:?}");
    let reason = StopReason::Deadline;
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Stopped { reason });
    // Good commands do not lift the stop; an operator's arming does.
    send(&mut link, 2);
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Stopped { reason });
    drive(&guarded, &mut link);
}

#[test]
fn a_guard_that_dies_or_freezes_leaves_the_motors_in_failsafe() {
    for (name, limit) in [
        ("-KILL", limits().spec().deadline),
        ("-ABRT", limits().spec().deadline),
        ("-STOP", 2 * limits().spec().deadline),
    ] {
        let (guarded, mut link) = start();
        drive(&guarded, &mut link);
        let [guard] = guards()[..] else {
            panic!("one guard: {:?}", guards())
        };
        signal(name, guard);
        let took = until(&guarded, Duration::from_secs(5), |output| {
            output.mode == Mode::Failsafe
        });
        let took = took.unwrap();
        println!("{name}: failsafe after {took:?}");
        assert!(took <= limit + SLACK, "{name}: {took:?}");
        let started = Instant::now();
        while !guarded.motors.failed() || !guards().is_empty() {
            assert!(started.elapsed() < PROMPT, "{name}: it is gone for good");
            std::thread::sleep(Duration::from_millis(1));
        }
        let engine = Domain::Simulated;
        let armed = link.arm(monotonic(), ArmRequest { engine });
        assert!(
            matches!(armed, Err(LinkError::Gone | LinkError::Silent)),
            "{name}: {armed:?}"
        );
    }
}

#[test]
fn a_guard_ends_with_its_pilot() {
    let (guarded, link) = start();
    assert_eq!(guards().len(), 1);
    drop((guarded, link));
    assert!(guards().is_empty());
}

#[test]
fn the_guard_ends_when_its_pilot_is_killed_or_ended() {
    let program = env!("CARGO_BIN_EXE_pilotage");
    for name in ["-KILL", "-TERM"] {
        let mut pilot = Command::new(program)
            .args(["drive", "--pace", "real", "--time-limit", "60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let guard = loop {
            if let [guard] = children(Pid::from_child(&pilot))[..] {
                break guard;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // Let it take some frames.
        std::thread::sleep(Duration::from_millis(500));
        signal(name, Pid::from_child(&pilot));
        let ended = pilot.wait().unwrap();
        assert!(!ended.success(), "{name}");
        let started = Instant::now();
        while lives(guard) {
            assert!(started.elapsed() < PROMPT, "{name}: the guard lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
