//! `pilotage drive` with a real car's car.toml: pictures in a folder as the camera, a dry run or
//! PWM pins that are files as the motors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pilotage_guard::{LinkError, Refusal, SocketLink};
use pilotage_tap::Observer;
use running::{Running, err, out, wait_for};
use rustix::process::{Signal, kill_process};

#[path = "support/film.rs"]
mod film;
#[path = "support/pins.rs"]
mod pins;
#[path = "support/running.rs"]
mod running;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new(motors: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        film::pictures(&folder.path().join("pictures"));
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 50\n\
             [guard]\ndeadline_ms = 400\nsocket = {socket:?}\n{motors}"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    fn pins() -> Self {
        let car = Self::new("");
        let text = fs::read_to_string(car.file()).unwrap() + &pins::lay(car.folder.path());
        fs::write(car.file(), text).unwrap();
        car
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(arguments).arg("--car").arg(self.file());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, word: &str) -> Output {
        self.command(&[word]).output().unwrap()
    }

    fn drive(&self) -> Running {
        Running::start(self.command(&["drive", "--json"]))
    }

    /// Waits until the guard's status starts with `state`.
    fn wait_for(&self, state: &str) {
        self.wait_within(START, state);
    }

    /// As [`wait_for`](Self::wait_for), for a state that was requested and must be reached
    /// promptly.
    fn wait_promptly(&self, state: &str) {
        self.wait_within(PROMPT, state);
    }

    fn wait_within(&self, patience: Duration, state: &str) {
        wait_for(patience, state, || {
            let answer = self.run("status");
            out(&answer).starts_with(state)
        });
    }
}

/// The start-up limit of a program on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The limit for things that must be prompt, whatever else the machine does.
const PROMPT: Duration = Duration::from_secs(2);

fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(START, what, done);
}

#[test]
fn a_dry_run_drives_stops_and_is_armed_again() {
    let car = Car::new("[actuator]\nkind = \"dry-run\"\n");
    let drive = car.drive();
    wait("it drives for some frames", || {
        let status: serde_json::Value = match car.command(&["status", "--json"]).output() {
            Ok(answer) => serde_json::from_slice(&answer.stdout).unwrap_or_default(),
            Err(_) => return false,
        };
        status["guard"]["accepted"].as_u64() > Some(10)
    });
    let stopped = out(&car.run("stop"));
    let mut lines = stopped.lines();
    assert_eq!(lines.next(), Some("stopped: an operator stopped the car"));
    assert!(lines.next().unwrap().contains("dry-run"), "{stopped}");
    car.wait_promptly("stopped: an operator stopped the car");
    assert!(car.run("arm").status.success());
    car.wait_promptly("driving");
    assert!(car.run("disarm").status.success());
    car.wait_promptly("disarmed");
    drive.kill(Signal::TERM);
    let ended = drive.end();
    assert!(ended.status.success(), "{}", err(&ended));
    assert!(
        err(&ended).contains("the car is disarmed"),
        "{}",
        err(&ended)
    );
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["actuator"], "dry-run");
    assert!(report["timing"]["reaction"]["p50_us"].as_f64().unwrap() > 0.0);
    assert_eq!(report["guard"]["stops"], 1);
    // The guard ended with its pilot.
    let no_guard = car.run("status");
    assert_eq!(no_guard.status.code(), Some(2));
    assert!(
        err(&no_guard).contains("no guard answers"),
        "{}",
        err(&no_guard)
    );
}

#[test]
fn an_engine_from_the_simulator_never_moves_a_real_car() {
    let car = Car::pins();
    let drive = car.drive();
    car.wait_for("disarmed");
    wait("the pilot is there", || {
        let refused = err(&car.run("arm"));
        assert!(!refused.is_empty());
        refused.contains("trained in the simulator")
    });
    assert_eq!(car.pulses(), [0, 0]);
    // A second pilot is refused.
    let second = car.run("drive");
    assert_eq!(second.status.code(), Some(2));
    assert!(err(&second).contains("another pilot"), "{}", err(&second));
    drive.kill(Signal::INT);
    let ended = drive.end();
    assert!(ended.status.success());
    // It was reported at the start, too.
    assert!(
        err(&ended).contains("so the guard will not arm this car"),
        "{}",
        err(&ended)
    );
}

#[test]
fn the_death_of_the_guard_of_a_disarmed_car_ends_the_drive_and_its_motors_get_failsafe() {
    for signal in [Signal::KILL, Signal::STOP] {
        let car = Car::pins();
        let drive = car.drive();
        car.wait_for("disarmed");
        assert_eq!(car.pulses(), [0, 0]);
        let mut guard = SocketLink::connect(&car.folder.path().join("guard.sock")).unwrap();
        // Not while the pilot is still connecting.
        wait_for(PROMPT, "the pilot has declared itself", || {
            guard.arm_pilot() != Err(LinkError::Refused(Refusal::NoPilot))
        });
        kill_process(guard.process().unwrap(), signal).unwrap();
        wait_for(PROMPT, "failsafe is written", || {
            car.pulses() == [1_480_000, 1_500_000]
        });
        let ended = drive.end();
        assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
        assert!(err(&ended).contains("the guard is gone"), "{}", err(&ended));
    }
}

#[test]
fn a_folder_ends_and_frames_are_counted() {
    let car = Car::new("[actuator]\nkind = \"dry-run\"\n");
    let counted = car.command(&["drive", "--json", "--frames", "10"]).output();
    let report: serde_json::Value = serde_json::from_slice(&counted.unwrap().stdout).unwrap();
    assert_eq!(report["timing"]["frames"], 10);
    for key in [
        "outcome",
        "car",
        "camera",
        "actuator",
        "engine",
        "backend",
        "wall_seconds",
        "timing",
        "frames",
        "guard",
    ] {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    assert_eq!(report["outcome"], "the frames that were asked for are seen");
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(car.file(), text.replace("repeat = true", "repeat = false")).unwrap();
    let ended = car.run("drive");
    assert!(ended.status.success());
    assert!(
        out(&ended).contains("all pictures have been shown"),
        "{}",
        out(&ended)
    );
    // The end is no fault of which an operator would be informed.
    assert!(
        !err(&ended).contains("arms the car again"),
        "{}",
        err(&ended)
    );
}

#[test]
fn an_engines_drive_is_recorded_and_its_commands_are_drawn() {
    let car = Car::new("[actuator]\nkind = \"dry-run\"\n");
    let (tape, picture) = (
        car.folder.path().join("tape"),
        car.folder.path().join("drive.png"),
    );
    let mut drive = car.command(&["drive", "--json", "--frames", "20", "--all"]);
    drive.arg("--record").arg(&tape).arg("--plot").arg(&picture);
    let ended = drive.output().unwrap();
    assert!(ended.status.success(), "{}", err(&ended));
    assert!(
        err(&ended).contains("the drive is drawn in"),
        "{}",
        err(&ended)
    );
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let recording = &report["recording"];
    let of = |key: &str| recording[key].as_u64().unwrap();
    assert_eq!(of("written") + of("dropped"), 20, "{recording}");
    let rows = fs::read_to_string(tape.join("data.csv")).unwrap();
    assert_eq!(rows.lines().count() as u64, of("written") + 1);
    assert_eq!(image::image_dimensions(picture).unwrap(), (1600, 900));
}

#[test]
fn options_of_the_simulator_are_refused() {
    let car = Car::new("[actuator]\nkind = \"dry-run\"\n");
    for option in [["--laps", "2"], ["--deadline", "200"], ["--pace", "fast"]] {
        let refused = car.command(&["drive"]).args(option).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(err(&refused).contains(option[0]), "{}", err(&refused));
    }
    let mut simulated = Command::new(PILOTAGE);
    let simulated = simulated.args(["drive", "--frames", "3"]).output().unwrap();
    assert!(err(&simulated).contains("--frames"), "{}", err(&simulated));
}

#[test]
fn stop_without_a_car_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file: &Path = &folder.path().join("none.toml");
    let mut stop = Command::new(PILOTAGE);
    let output = stop.arg("stop").arg("--car").arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("none.toml"), "{}", err(&output));
}

/// Runs `pilotage trim` for `car` with these lines.
fn trimmed(car: &Car, typed: &str) -> Output {
    let mut command = car.command(&["trim"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).unwrap();
    drop(keys);
    child.wait_with_output().unwrap()
}

/// The wheels turn right at the value that the file has for full left.
#[test]
fn trim_swaps_the_ends_of_a_car_that_steers_to_the_wrong_side() {
    let car = Car::pins();
    let before = fs::read_to_string(car.file()).unwrap();
    assert!(before.contains("left_us = 1900") && before.contains("right_us = 1100"));
    // Left and right are swapped, then the new left end is moved.
    let swapped = trimmed(&car, "\nn\ny\n1110\n\n\n\n");
    assert!(swapped.status.success(), "{}", err(&swapped));
    let after = fs::read_to_string(car.file()).unwrap();
    assert!(after.contains("left_us = 1110"), "{after}");
    assert!(after.contains("right_us = 1900"), "{after}");
    // Two swaps are none.
    let twice = trimmed(&car, "\nn\nn\ny\n\n\n\n");
    assert!(out(&twice).contains("nothing changed"), "{}", out(&twice));
    // Without an answer nothing is written.
    for typed in ["\n", "\nn\n", "\nn\nq\n", "\n1200\n\n\n\n\n"] {
        let ended = trimmed(&car, typed);
        assert_eq!(ended.status.code(), Some(1), "{typed:?}: {}", out(&ended));
        assert_eq!(fs::read_to_string(car.file()).unwrap(), after);
    }
}

#[test]
fn trim_shows_each_value_and_writes_the_accepted_ones() {
    let car = Car::pins();
    let before = fs::read_to_string(car.file()).unwrap();
    let commented = before.replace("centre_us = 1500", "centre_us = 1500   # straight, I think");
    let commented = commented.replace(
        "disarmed_us = 0\n[actuator.pwm.throttle]",
        "disarmed_us = 1500\n[actuator.pwm.throttle]",
    );
    fs::write(car.file(), &commented).unwrap();
    let trim = |typed: &str| trimmed(&car, typed);
    // Nothing is written before the end, and the motors are at rest.
    let ended = trim("+\nq\n");
    assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
    assert_eq!(fs::read_to_string(car.file()).unwrap(), commented);
    assert_eq!(car.pulses(), [1_500_000, 0]);
    let kept = trim("++\n-\nnonsense\n9999\n\n\ny\n1850\n\n\n1510\n\n");
    assert!(kept.status.success(), "{}", err(&kept));
    assert!(
        out(&kept).contains("a number from 400 to 2600"),
        "{}",
        out(&kept)
    );
    let after = fs::read_to_string(car.file()).unwrap();
    assert!(
        after.contains("centre_us = 1545   # straight, I think"),
        "{after}"
    );
    assert!(after.contains("left_us = 1850\n"), "{after}");
    assert!(after.contains("right_us = 1100\n"), "{after}");
    // The disarmed value was equal to the centre, and follows it.
    assert!(
        after.contains("failsafe_us = 1480\ndisarmed_us = 1545\n"),
        "{after}"
    );
    assert!(after.contains("neutral_us = 1510\n"), "{after}");
    assert!(after.contains("failsafe_us = 1510\n"), "{after}");
    assert_eq!(
        car.pulses(),
        [1_500_000, 0],
        "disarmed as the car was started"
    );
    assert!(
        out(&kept).contains("1900: do the wheels turn LEFT, seen from behind? y, n > y, n, ="),
        "nothing but an answer goes on: {}",
        out(&kept)
    );
    // Values that are not valid together are not written.
    let crossed = trim("1900\n\ny\n\n\n\n");
    assert_eq!(crossed.status.code(), Some(2));
    assert!(err(&crossed).contains("centre_us"), "{}", err(&crossed));
    assert_eq!(fs::read_to_string(car.file()).unwrap(), after);
}

#[test]
fn an_observer_sees_a_drive_by_its_socket() {
    let car = Car::new("[actuator]\nkind = \"dry-run\"\n");
    let socket = car.folder.path().join("tap.sock");
    let place = socket.display().to_string();
    let drive = car.command(&["drive", "--json", "--no-log", "--tap", &place]);
    let drive = Running::start(drive);
    let mut observer = None;
    wait("the socket", || {
        observer = Observer::connect(&socket).ok();
        observer.is_some()
    });
    let mut observer = observer.unwrap();
    assert!(!observer.drive().simulated);
    wait("a frame", || observer.next_record().is_some());
    drive.kill(Signal::TERM);
    assert!(drive.end().status.success());
    wait("the end", || observer.has_ended());
    assert!(!socket.exists());
    // The car drives without its observers.
    let drive = [
        "drive",
        "--json",
        "--frames",
        "3",
        "--tap",
        "/nowhere/tap.sock",
    ];
    let driven = car.command(&drive).output().unwrap();
    assert!(driven.status.success(), "{}", err(&driven));
    assert!(
        err(&driven).contains("/nowhere/tap.sock"),
        "{}",
        err(&driven)
    );
}
