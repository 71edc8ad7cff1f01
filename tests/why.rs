//! `pilotage why` names the true cause of each stop, as the programs themselves produce it: a pilot,
//! its guard, a camera that is a pipe or a folder, and motors that move nothing or are PWM pins that
//! are files. What needs a gamepad is in tests/hand; an engine that is late, a GPU that fell back and
//! answers that are no numbers are in crates/drivelog/tests/why.rs, from records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use pilotage_drivelog::{Reader, Window};
use running::{Running, err, out, wait_for};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, kill_process};

#[path = "support/film.rs"]
mod film;
#[path = "support/running.rs"]
mod running;
const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");
const PERIOD: Duration = Duration::from_millis(50);

/// A dry-running car with a camera that is a pipe; it drives as soon as the program runs.
struct Car {
    folder: tempfile::TempDir,
    camera: Arc<AtomicU8>,
}

impl Car {
    /// `timeout_ms` is that of the camera.
    fn new(timeout_ms: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("camera.pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"pipe\"\ncommand = [\"cat\", {pipe:?}]\nformat = \"GREY\"\n\
             width = 640\nheight = 480\nrate = 20\ntimeout_ms = {timeout_ms}\n\
             frozen_frames = 10\nblack_frames = 10\n\
             [guard]\ndeadline_ms = 900\nsocket = {socket:?}\n\
             [actuator]\nkind = \"dry-run\"\n"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        let camera = Arc::new(AtomicU8::new(film::RUN));
        let shown = Arc::clone(&camera);
        std::thread::spawn(move || film::film(&pipe, PERIOD, &shown));
        Self { folder, camera }
    }

    fn film(&self, what: u8) {
        self.camera.store(what, Ordering::Relaxed);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(arguments).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn of_car(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .arg("--car")
            .arg(self.folder.path().join("car.toml"));
        command
    }

    /// Starts a drive, and waits until it has driven for some frames. A drive that a busy machine
    /// stops before that is started anew, without its log.
    fn drive(&self) -> Running {
        for _ in 0..20 {
            let running = Running::start(self.of_car(&["drive", "--json"]));
            let mut drives = false;
            wait("it drives or is stopped", || {
                drives = self.accepted() > Some(10);
                drives || self.status().starts_with("stopped")
            });
            if drives {
                return running;
            }
            running.kill(Signal::TERM);
            running.end();
            let _ = fs::remove_dir_all(self.folder.path().join("pilotage"));
        }
        panic!("the machine is too busy to drive on");
    }

    fn status(&self) -> String {
        out(&self.of_car(&["status"]).output().unwrap())
    }

    fn accepted(&self) -> Option<u64> {
        let answer = self.of_car(&["status", "--json"]).output().ok()?;
        let status: serde_json::Value = serde_json::from_slice(&answer.stdout).ok()?;
        status["guard"]["accepted"].as_u64()
    }

    /// Waits until the guard's status starts with `state`.
    fn wait_for(&self, state: &str) {
        wait(state, || self.status().starts_with(state));
    }

    fn logs(&self) -> Vec<PathBuf> {
        logs(&self.folder.path().join("pilotage/logs"))
    }

    /// Waits for the log of the stop while the drive goes on, and returns what `pilotage why`
    /// prints.
    fn why(&self) -> String {
        // A log is whole when it has its end.
        wait("the log is written", || {
            self.logs().last().is_some_and(|log| {
                let window = Reader::open(log).and_then(|mut log| Window::read(&mut log));
                window.is_ok_and(|window| !window.damaged)
            })
        });
        let why = self.command(&["why"]).output().unwrap();
        assert!(why.status.success(), "{}", err(&why));
        let text = out(&why);
        assert!(text.lines().count() <= 24, "one screen: {text}");
        text
    }
}

fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(60), what, done);
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

#[track_caller]
fn assert_because(why: &str, cause: &str) {
    let because = why.lines().find(|line| line.starts_with("because"));
    assert!(because.is_some_and(|line| line.contains(cause)), "{why}");
}

#[test]
fn an_operator() {
    let car = Car::new(2000);
    let drive = car.drive();
    assert!(car.of_car(&["stop"]).status().unwrap().success());
    let why = car.why();
    assert!(
        why.contains("stopped   an operator stopped the car"),
        "{why}"
    );
    assert!(!why.contains("because"), "stated already: {why}");
    assert!(why.contains("before: driving, granted steering"), "{why}");
    // The drive's end is in a log of its own.
    drive.kill(Signal::TERM);
    let ended = drive.end();
    assert!(ended.status.success(), "{}", err(&ended));
    let names: Vec<String> = car
        .logs()
        .iter()
        .map(|log| log.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(names[0].ends_with("-001-stop.mcap"), "{names:?}");
    assert!(
        names[1].ends_with("-002-end.mcap") && names.len() == 2,
        "{names:?}"
    );
    let listed = out(&car.command(&["log", "list"]).output().unwrap());
    assert!(
        listed.lines().count() == 2 && listed.contains(&names[0]),
        "{listed}"
    );
    let shown = car.command(&["log", "show"]).arg(&car.logs()[1]).output();
    let shown = out(&shown.unwrap());
    assert!(
        shown.contains("stopped: an operator stopped the car"),
        "{shown}"
    );
    assert!(shown.contains("end: stopped by a signal"), "{shown}");
    let drawn = car.folder.path().join("why.png");
    let picture = car
        .command(&["why", "--picture"])
        .arg(&drawn)
        .output()
        .unwrap();
    assert!(picture.status.success(), "{}", err(&picture));
    assert_eq!(image::image_dimensions(drawn).unwrap(), (1600, 1180));
}

#[test]
fn a_camera_that_gives_no_frame() {
    let car = Car::new(150);
    let _drive = car.drive();
    car.film(film::STALL);
    car.wait_for("stopped: the camera failed");
    let why = car.why();
    assert_because(&why, "the camera was late: no frame for");
    assert!(why.contains("gave no frame in"), "{why}");
}

/// The guard's deadline comes before the camera's time-out.
#[test]
fn a_camera_that_is_later_than_the_deadline() {
    let car = Car::new(2000);
    let _drive = car.drive();
    car.film(film::STALL);
    car.wait_for("stopped: no good command within the deadline");
    car.film(film::RUN);
    let why = car.why();
    assert_because(&why, "the camera was late: no frame for");
    let late = why.lines().find(|line| line.contains("late by"));
    assert!(
        late.is_some_and(|line| line.starts_with("wait for camera")),
        "{why}"
    );
}

#[test]
fn a_camera_that_is_frozen() {
    let car = Car::new(2000);
    let _drive = car.drive();
    car.film(film::FREEZE);
    car.wait_for("stopped: the camera's picture is frozen");
    assert_because(&car.why(), "the camera is frozen");
}

#[test]
fn a_camera_that_is_black() {
    let car = Car::new(2000);
    let _drive = car.drive();
    car.film(film::BLACK);
    car.wait_for("stopped: the camera failed");
    let why = car.why();
    assert_because(&why, "the camera's picture is black");
    assert!(why.contains("uncover the lens"), "{why}");
}

#[test]
fn a_pilot_that_was_not_run() {
    let car = Car::new(10_000);
    let drive = car.drive();
    drive.kill(Signal::STOP);
    car.wait_for("stopped: no good command within the deadline");
    drive.kill(Signal::CONT);
    assert_because(&car.why(), "the system did not run the pilot for");
}

#[test]
fn a_guard_that_was_killed() {
    for signal in [Signal::KILL, Signal::STOP] {
        let car = Car::new(2000);
        let drive = car.drive();
        let socket = car.folder.path().join("guard.sock");
        let guard = pilotage_guard::SocketLink::connect(&socket).unwrap();
        kill_process(guard.process().unwrap(), signal).unwrap();
        let ended = drive.end();
        assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
        let why = car.why();
        assert_because(&why, "the guard ended or does not answer");
        assert!(why.contains("not stopped by the guard"), "{why}");
    }
}

fn simulated(arguments: &[&str]) -> Output {
    let mut command = Command::new(PILOTAGE);
    command.args(["drive", "--json", "--pace", "fast", "--latency", "10"]);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The camera loses so many frames that the guard's deadline passes.
#[test]
fn a_simulated_camera_that_loses_frames() {
    let state = tempfile::tempdir().unwrap();
    let mut drive = Command::new(PILOTAGE);
    drive.args([
        "drive",
        "--pace",
        "fast",
        "--latency",
        "10",
        "--drop-frames",
        "0.9",
    ]);
    drive
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::null());
    assert_eq!(drive.output().unwrap().status.code(), Some(1));
    let mut why = Command::new(PILOTAGE);
    let why = why.arg("why").env("XDG_STATE_HOME", state.path()).output();
    let why = out(&why.unwrap());
    assert_because(&why, "frames missed");
    assert_because(&why, "the camera was late");
}

#[test]
fn a_whole_drive_is_exported_as_a_recording_to_train_with() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("logs");
    let driven = simulated(&["--time-limit", "10", "--log", to.to_str().unwrap()]);
    assert_eq!(driven.status.code(), Some(1), "{}", err(&driven));
    let report: serde_json::Value = serde_json::from_slice(&driven.stdout).unwrap();
    let frames = report["timing"]["frames"].as_u64().unwrap();
    let logs = logs(&to);
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let tape = folder.path().join("tape");
    let mut export = Command::new(PILOTAGE);
    let exported = export
        .args(["log", "export"])
        .arg(log)
        .arg(&tape)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", err(&exported));
    let mut data = pilotage_training::dataset::Dataset::default();
    let read = pilotage_training::recording::read(&tape, &mut data).unwrap();
    // On simulated time pictures come at the wall clock's rate, and most are left out.
    assert!(
        read.frames >= 1 && read.frames as u64 <= frames,
        "{}",
        read.frames
    );
    let rows = fs::read_to_string(tape.join("data.csv")).unwrap();
    for row in rows.lines().skip(1) {
        let speed: f64 = row.split(',').nth(1).unwrap().parse().unwrap();
        assert!((5.0..=25.0).contains(&speed), "{row}");
    }
    let again = Command::new(PILOTAGE)
        .args(["log", "export"])
        .arg(log)
        .arg(&tape)
        .output();
    assert!(err(&again.unwrap()).contains("not empty"));
}

#[test]
fn a_drive_goes_on_without_a_log_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("logs");
    fs::write(&to, "a file").unwrap();
    let plain = simulated(&["--no-log"]);
    let driven = simulated(&["--log", to.to_str().unwrap()]);
    assert!(driven.status.success(), "{}", err(&driven));
    assert_eq!(err(&driven).matches("no drive log is written").count(), 1);
    assert!(!err(&plain).contains("drive log"), "{}", err(&plain));
    let lap = |output: &Output| {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["metrics"]["lap_time"].clone()
    };
    assert_eq!(lap(&driven), lap(&plain));
    assert_eq!(fs::read(&to).unwrap(), b"a file");
}

#[test]
fn what_cannot_be_explained_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let why = |arguments: &[&str]| {
        let mut why = Command::new(PILOTAGE);
        why.arg("why")
            .args(arguments)
            .env("XDG_STATE_HOME", folder.path());
        let refused = why.output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", out(&refused));
        err(&refused)
    };
    let none = why(&[]);
    assert!(none.contains("there are no drive logs in"), "{none}");
    let file = folder.path().join("a.mcap");
    fs::write(&file, "GIF89a").unwrap();
    let other = why(&[file.to_str().unwrap()]);
    assert!(other.contains("is not an MCAP file"), "{other}");
}
