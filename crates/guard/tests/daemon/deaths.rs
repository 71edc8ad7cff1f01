//! How a guard ends, and how it is watched.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use pilotage_guard::{CommandLink, SocketLink, State, StopReason};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};

use crate::car::{Car, DISARMED, Running, message, stat_field, wait};
use crate::pins::FAILSAFE;

#[test]
fn the_failsafe_command_works_after_the_guard_is_killed() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    guard.kill(Signal::KILL);
    guard.ended();
    assert_ne!(car.pulses(), FAILSAFE, "failsafe is not written yet");
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
    // The files of the dead guard do not keep the next one from starting.
    let _again = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(
        link.status().state,
        State::Disarmed,
        "a restart does not arm"
    );
    assert_eq!(car.pulses(), DISARMED);
}

#[test]
fn a_frozen_guard_without_a_watcher_is_killed_at_its_deadline() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let deadline = car.settings().limits.spec().deadline;
    let frozen = Instant::now();
    guard.kill(Signal::STOP);
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
    let took = frozen.elapsed();
    println!("killed after {took:?}");
    assert!(took <= deadline + deadline / 2, "{took:?}");
}

#[test]
fn signals_leave_the_car_disarmed_or_stopped() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
    ] {
        let car = Car::new();
        let mut guard = car.guard(&[]);
        car.drive(&mut car.connect());
        guard.kill(signal);
        assert!(guard.ended().success(), "{signal:?}");
        assert_eq!(car.pulses(), DISARMED, "{signal:?}");
    }
    for signal in [Signal::TSTP, Signal::PIPE] {
        let car = Car::new();
        let guard = car.guard(&[]);
        let mut link = car.connect();
        car.drive(&mut link);
        guard.kill(signal);
        wait("the deadline is kept", || car.pulses() == FAILSAFE);
        link.refresh().unwrap();
        assert_eq!(link.status().state.stopped(), Some(StopReason::Deadline));
    }
}

#[test]
fn a_guard_ends_with_the_pilot_that_started_it() {
    let car = Car::new();
    let (mut guard, mut link) = watched(&car);
    car.drive(&mut link);
    drop(link);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), FAILSAFE);
}

const BRAKE: u32 = 1_200_000;

/// A car whose stop brakes for `ms` milliseconds.
fn with_brake(ms: u16) -> Car {
    let car = Car::new();
    let text = fs::read_to_string(car.file()).unwrap();
    let brake = format!("reverse_us = 1500\nbrake = {{ us = 1200, ms = {ms} }}");
    let braked = text.replace("reverse_us = 1000", &brake);
    assert_ne!(braked, text);
    fs::write(car.file(), braked).unwrap();
    car
}

/// The pins keep the last pulse of a guard that has ended.
#[test]
fn the_brake_ends_before_its_guard() {
    let car = with_brake(300);
    let (mut watcher, mut link) = watched(&car);
    car.drive(&mut link);
    drop(link);
    assert!(watcher.ended().success());
    assert_eq!(car.pulses(), FAILSAFE);

    // A signal, also to a guard that brakes because its pilot has ended.
    for pilot_ends in [false, true] {
        let car = with_brake(2000);
        let (mut watcher, mut link) = watched(&car);
        car.drive(&mut link);
        if pilot_ends {
            drop(link);
            wait("it brakes", || car.pulses()[1] == BRAKE);
        }
        watcher.kill(Signal::TERM);
        assert!(watcher.ended().success());
        assert_eq!(car.pulses(), DISARMED, "the pilot ends: {pilot_ends}");
    }

    // A guard that is killed or freezes while it brakes at its end.
    for signal in [Signal::KILL, Signal::STOP] {
        let car = with_brake(2000);
        let (mut watcher, mut link) = watched(&car);
        car.drive(&mut link);
        let guard = car.connect().process().unwrap();
        drop(link);
        wait("it brakes", || car.pulses()[1] == BRAKE);
        kill_process(guard, signal).unwrap();
        assert_eq!(watcher.ended().code(), Some(1), "{signal:?}");
        assert_eq!(car.pulses(), FAILSAFE, "{signal:?}");
    }
}

/// A guard that a pilot started, with its watcher, and the pilot's connection.
fn watched(car: &Car) -> (Running, SocketLink) {
    let (pilot_end, guard_end) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let mut command = car.command(&["--pilot-on-stdin"]);
    command.stdin(Stdio::from(guard_end));
    let watcher = Running(command.spawn().unwrap());
    drop(command);
    // Other clients may connect and disconnect.
    drop(car.connect());
    (watcher, SocketLink::over(pilot_end))
}

#[test]
fn a_watcher_writes_failsafe_when_the_guard_dies_or_freezes() {
    for signal in [Signal::KILL, Signal::STOP, Signal::SEGV, Signal::ABORT] {
        let car = Car::new();
        let (mut watcher, mut link) = watched(&car);
        car.drive(&mut link);
        let guard = car.connect().process().unwrap();
        assert_ne!(guard, watcher.pid(), "two processes");
        kill_process(guard, signal).unwrap();
        if signal == Signal::SEGV {
            // Rust's handler returns after the first SIGSEGV, because a real fault would be raised
            // again.
            std::thread::sleep(Duration::from_millis(5));
            let _ = kill_process(guard, signal);
        }
        assert_eq!(watcher.ended().code(), Some(1), "{signal:?}");
        assert_eq!(car.pulses(), FAILSAFE, "{signal:?}");
    }
}

#[test]
fn a_guard_exits_cleanly_when_its_watcher_dies() {
    let car = Car::new();
    let (watcher, mut link) = watched(&car);
    car.drive(&mut link);
    watcher.kill(Signal::KILL);
    wait("the guard ends", || car.pulses() == DISARMED);
    wait("its connection closes", || link.is_gone());
}

/// The process group and the session of `process`: fields 5 and 6 of /proc/PID/stat (proc(5)). Both
/// are 0 if they are outside this PID namespace (in a container).
fn group_and_session(process: Pid) -> [i64; 2] {
    [5, 6].map(|number| stat_field(process, number))
}

#[test]
fn a_guard_has_its_own_session_and_process_group() {
    let car = Car::new();
    let (watcher, link) = watched(&car);
    let guard = car.connect().process().unwrap();
    let [own_group, own_session] = group_and_session(rustix::process::getpid());
    for process in [watcher.pid(), guard] {
        let [group, session] = group_and_session(process);
        assert_ne!(session, own_session);
        assert_ne!(group, own_group);
    }
    drop(link);
}
