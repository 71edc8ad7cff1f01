//! `pilotage-guard` itself, over PWM pins that are files in a folder: whatever becomes of
//! it, the pins hold what they must.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pilotage_guard::{Domain, GuardedCar, Link, SocketLink, State, StopReason, Stopped, monotonic};
use pilotage_vehicle::Command as Drive;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../../../tests/pins/mod.rs"]
mod pins;

use pins::FAILSAFE;

const GUARD: &str = env!("CARGO_BIN_EXE_pilotage-guard");

const DISARMED: [u32; 2] = [0, 0];

/// A car in a folder, with failsafe and disarmed values that can be told apart.
struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let motors = pins::lay(folder.path());
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \".\"\nrate = 50\n\
             [guard]\ndeadline_ms = 400\nfirst_command_ms = 5000\nsocket = {socket:?}\n\
             {motors}"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    fn settings(&self) -> GuardedCar {
        GuardedCar::load(&self.file()).unwrap()
    }

    /// Steering's and throttle's pulses, nanoseconds.
    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    fn guard(&self, more: &[&str]) -> Running {
        let mut command = self.command(more);
        Running(command.spawn().unwrap())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(GUARD);
        command.arg("--car").arg(self.file()).args(more);
        command.stdin(Stdio::null());
        command
    }

    fn connect(&self) -> SocketLink {
        let socket = self.settings().socket;
        let mut link = None;
        wait_for(START, "the guard listens", || {
            link = SocketLink::connect(&socket).ok();
            link.is_some()
        });
        link.unwrap()
    }

    /// Drives ahead until the motors say so.
    fn drive(&self, link: &mut SocketLink) {
        link.hello(Domain::Physical).unwrap();
        self.arm(link);
    }

    fn arm(&self, link: &mut SocketLink) {
        link.arm_pilot().unwrap();
        let mut sequence = 0;
        wait_for(START, "the car drives", || {
            sequence += 1;
            let command = Drive {
                steering: 0.5,
                throttle: 0.5,
                captured: monotonic(),
                sequence,
            };
            link.send_at(monotonic(), command).unwrap();
            self.pulses() == [1_700_000, 1_750_000]
        });
    }
}

struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn ended(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        wait("the guard ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program has started by then on a busy machine.
const START: Duration = Duration::from_secs(30);
/// What is to be prompt is done by then, whatever else the machine does.
const PROMPT: Duration = Duration::from_secs(2);

fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(PROMPT, what, done);
}

fn wait_for(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_starts_disarmed_and_a_term_signal_leaves_it_so() {
    let car = Car::new();
    let pin = car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    // What a dead guard left behind.
    fs::write(pin, "1900000\n").unwrap();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Disarmed);
    assert_eq!(car.pulses(), DISARMED);
    car.drive(&mut link);
    guard.kill(Signal::TERM);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), DISARMED);
    assert!(!car.settings().socket.exists());
}

#[test]
fn it_takes_little_memory() {
    let car = Car::new();
    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let file = format!("/proc/{}/status", guard.pid().as_raw_nonzero());
    let status = fs::read_to_string(file).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|most| most.trim().strip_suffix(" kB"));
    let kilobytes: u32 = most.unwrap().parse().unwrap();
    println!("at most {kilobytes} kB resident");
    assert!(kilobytes <= 5 * 1024, "{kilobytes} kB");
}

#[test]
fn a_killed_guard_is_followed_by_failsafe() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    guard.kill(Signal::KILL);
    guard.ended();
    assert_ne!(car.pulses(), FAILSAFE, "nobody has written it yet");
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
    // What is left of the dead one does not keep the next from starting.
    let _again = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Disarmed, "no restart arms");
    assert_eq!(car.pulses(), DISARMED);
}

#[test]
fn a_frozen_guard_that_nobody_watches_is_killed_at_its_deadline() {
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
fn the_service_manager_is_told_the_deadline_and_that_it_lives() {
    let car = Car::new();
    let path = car.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = car.command(&[]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "1000000");
    let _guard = Running(command.spawn().unwrap());
    let hear = || {
        let mut said = [0; 64];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8(said[..length].to_vec()).unwrap()
    };
    let said = [hear(), hear(), hear(), hear()];
    assert_eq!(
        said,
        [
            "WATCHDOG_USEC=400000",
            "READY=1",
            "WATCHDOG=1",
            "WATCHDOG=1"
        ]
    );
}

#[test]
fn there_is_one_writer() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    car.drive(&mut car.connect());
    for more in [&[][..], &["--failsafe"]] {
        let second = car.command(more).output().unwrap();
        assert_eq!(second.status.code(), Some(2));
        let said = message(&second);
        assert!(said.contains("another guard holds it"), "{said}");
    }
}

#[test]
fn the_pilot_that_started_it_is_its_life() {
    let car = Car::new();
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let mut command = car.command(&["--pilot-on-stdin"]);
    command.stdin(Stdio::from(theirs));
    let mut guard = Running(command.spawn().unwrap());
    drop(command);
    // Others may come and go.
    drop(car.connect());
    let mut link = SocketLink::over(ours);
    car.drive(&mut link);
    drop(link);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn a_stop_needs_no_guard_that_answers() {
    let car = Car::new();
    let settings = car.settings();
    let nobody = pilotage_guard::stop(&settings).unwrap();
    assert_eq!(nobody, Stopped::WithoutGuard { killed: None });
    assert_eq!(car.pulses(), FAILSAFE);

    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let Stopped::ByGuard(status) = pilotage_guard::stop(&settings).unwrap() else {
        panic!("the guard answers");
    };
    assert_eq!(status.state.stopped(), Some(StopReason::Person));
    wait("the motors stand", || car.pulses() == FAILSAFE);

    car.arm(&mut link);
    guard.kill(Signal::STOP);
    let stopped = pilotage_guard::stop(&settings).unwrap();
    let killed = Some(guard.pid().as_raw_nonzero().get());
    assert_eq!(stopped, Stopped::WithoutGuard { killed });
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn a_pilot_that_falls_silent_is_stopped_by_it() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    // No word more, the line still open.
    wait("the motors stand", || car.pulses() == FAILSAFE);
    link.refresh().unwrap();
    assert_eq!(link.status().state.stopped(), Some(StopReason::Deadline));
}

#[test]
fn a_pin_that_another_changes_stops_the_car() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    link.hello(Domain::Physical).unwrap();
    link.arm_pilot().unwrap();
    let pin: &Path = &car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    let mut sequence = 0;
    let mut changed = false;
    // Settings are read back each second.
    wait_for(2 * PROMPT, "the guard sees it", || {
        sequence += 1;
        let command = Drive {
            steering: 0.5,
            throttle: 0.5,
            captured: monotonic(),
            sequence,
        };
        link.send_at(monotonic(), command).unwrap();
        if !changed && car.pulses() == [1_700_000, 1_750_000] {
            fs::write(pin, "1999000\n").unwrap();
            changed = true;
        }
        let stopped = link.status().state.stopped();
        stopped == Some(StopReason::Fault(pilotage_guard::Fault::Actuator))
    });
    wait("the motors stand", || car.pulses() == FAILSAFE);
}

#[test]
fn what_cannot_be_is_said() {
    let car = Car::new();
    let unknown = Command::new(GUARD).arg("--arm").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        message(&unknown).contains("--help"),
        "{}",
        message(&unknown)
    );
    let nobody = car.command(&["--allow", "nobody-of-that-name"]).output();
    let nobody = nobody.unwrap();
    assert!(
        message(&nobody).contains("/etc/passwd"),
        "{}",
        message(&nobody)
    );
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(
        car.file(),
        text.replace("failsafe_us = 1500", "failsafe_us = 1600"),
    )
    .unwrap();
    let moving = car.command(&[]).output().unwrap();
    assert_eq!(moving.status.code(), Some(2));
    let said = message(&moving);
    assert!(
        said.contains("`actuator.pwm.throttle.failsafe_us`"),
        "{said}"
    );
    assert_eq!(car.pulses(), DISARMED, "nothing was written");
    let missing = Command::new(GUARD).args(["--car", "/none.toml"]).output();
    assert!(message(&missing.unwrap()).contains("/none.toml"));
}
