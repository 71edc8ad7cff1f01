//! `pilotage drive` in the foreground of a terminal: each key that sends a signal, the end of the
//! terminal, and signals to the whole process group. The guard must not depend on what happens to
//! the pilot's terminal.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod car;
#[path = "../support/physical.rs"]
mod physical;
#[path = "../support/pins.rs"]
mod pins;
#[path = "../support/processes.rs"]
mod processes;
mod simulated;
#[path = "../support/tty.rs"]
mod tty;
mod while_held;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use car::{Car, Running, fails_safe, rests};
use processes::state;
use tty::{INTERRUPT, QUIT, SUSPEND, Shell};

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

const DEADLINE: Duration = Duration::from_millis(150);
/// Delays of a busy machine must not count as a guard's fault.
const SLACK: Duration = Duration::from_millis(100);
/// The limit for the end of a program that ends by itself.
const SOON: Duration = Duration::from_secs(2);
/// The start-up limit of a program in a debug build.
const START: Duration = Duration::from_secs(30);

/// Messages that only a guard that failed by itself may cause.
const ALARMS: [&str; 3] = ["died or froze", "the guard is gone", "panicked"];

fn wait(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a drive in a shell's foreground; returns the shell and the process.
fn at_a_terminal(car: &Car) -> (Shell, Pid) {
    let shell = Shell::open();
    shell.enter(&car.drive());
    let pilot = shell.job("pilotage", START);
    car.arm();
    // Let the car drive.
    std::thread::sleep(DEADLINE);
    (shell, pilot)
}

fn calm(text: &str) {
    for alarm in ALARMS {
        assert!(!text.contains(alarm), "{alarm:?} in:\n{text}");
    }
}

#[test]
fn ctrl_c_disarms_a_real_car_and_says_so_in_one_calm_line() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    let before = shell.text().len();
    shell.press(INTERRUPT);
    car.stops_and_stays_stopped("Ctrl-C", rests);
    car.all_end("Ctrl-C: pilot and guard end");
    shell.enter("echo \"status=$?\"");
    shell.wait_for("status=0", SOON);
    let text = shell.text()[before..].to_owned();
    calm(&text);
    assert_eq!(text.matches("the car is disarmed").count(), 1, "{text}");
    assert_eq!(text.matches("error").count(), 0, "{text}");
}

#[test]
fn ctrl_z_stops_a_real_car_that_stands_still_when_the_pilot_goes_on() {
    let car = Car::new();
    let (shell, pilot) = at_a_terminal(&car);
    shell.press(SUSPEND);
    car.stops_and_stays_stopped("Ctrl-Z", fails_safe);
    assert_eq!(state(pilot), Some('T'));
    shell.enter("fg");
    wait("it goes on", || state(pilot) != Some('T'));
    car.stays("Ctrl-Z, then `fg`");
    // It is the same drive, and can be armed again.
    car.arm();
    calm(&shell.text());
}

#[test]
fn ctrl_backslash_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.press(QUIT);
    car.stops_and_stays_stopped(r"Ctrl-\", fails_safe);
    car.all_end(r"Ctrl-\: pilot and guard end");
    calm(&shell.text());
}

#[test]
fn a_terminal_that_is_closed_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.hang_up();
    car.stops_and_stays_stopped("the terminal is closed", rests);
    car.all_end("the terminal is closed: pilot and guard end");
}

#[test]
fn a_shell_that_is_killed_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.kill(Signal::KILL);
    car.stops_and_stays_stopped("the shell is killed", rests);
    car.all_end("the shell is killed: pilot and guard end");
}

#[test]
fn signals_to_the_whole_process_group_stop_a_real_car() {
    let ends = [
        (Signal::INT, true),
        (Signal::TERM, true),
        (Signal::HUP, true),
        (Signal::QUIT, false),
        (Signal::USR1, false),
        (Signal::USR2, false),
        (Signal::ALARM, false),
        (Signal::ABORT, false),
        (Signal::KILL, false),
        (Signal::STOP, false),
    ];
    for (signal, orderly) in ends {
        let car = Car::new();
        let mut pilot = Running::drive(&car);
        let group = Pid::from_child(&pilot.0);
        car.arm();
        kill_process_group(group, signal).unwrap();
        let what = format!("{signal:?} to the group");
        match orderly {
            true => car.stops_and_stays_stopped(&what, rests),
            false => car.stops_and_stays_stopped(&what, fails_safe),
        }
        kill_process_group(group, Signal::CONT).unwrap_or_default();
        car.stays(&what);
        let _ = kill_process_group(group, Signal::KILL);
        pilot.0.wait().unwrap();
        car.all_end(&what);
    }
}

#[test]
fn a_signal_to_the_guard_alone_stops_a_real_car() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::PIPE,
        Signal::ABORT,
        Signal::KILL,
    ] {
        let car = Car::new();
        let mut pilot = Running::drive(&car);
        let group = Pid::from_child(&pilot.0);
        car.arm();
        let socket = rustix::net::SocketAddrUnix::new(car.folder.path().join("guard.sock"));
        let connection = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        rustix::net::connect(&connection, &socket.unwrap()).unwrap();
        let guard = rustix::net::sockopt::socket_peercred(&connection)
            .unwrap()
            .pid;
        assert_ne!(guard, group);
        rustix::process::kill_process(guard, signal).unwrap();
        // A broken pipe is a client's, and must not make the guard stop the car or end.
        if signal == Signal::PIPE {
            std::thread::sleep(DEADLINE);
            let _ = kill_process_group(group, Signal::KILL);
        }
        car.stops_and_stays_stopped(&format!("{signal:?} to the guard"), rests);
        let _ = kill_process_group(group, Signal::KILL);
        pilot.0.wait().unwrap();
        car.all_end("the guard got a signal");
    }
}

#[test]
fn timeout_ends_a_drive_without_an_alarm() {
    let ended = |words: &[&str]| {
        let mut timeout = Command::new("timeout");
        timeout.arg("2").arg(PILOTAGE).args(words);
        timeout.stdin(Stdio::null()).stdout(Stdio::null());
        let ended = timeout.output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        // The exit status of timeout itself.
        assert_eq!(ended.status.code(), Some(124), "{text}");
        assert_eq!(ended.status.signal(), None);
        calm(&text);
        assert!(text.contains("the car is disarmed"), "{text}");
    };
    ended(&["drive", "--pace", "real", "--time-limit", "60"]);
    let car = Car::new();
    ended(&["drive", "--car", car.file().to_str().unwrap()]);
    car.all_end("pilot and guard end");
    assert!(rests(car.pulses()), "{:?}", car.pulses());
}
