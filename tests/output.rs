//! Output never blocks or ends a drive, whatever happens to its terminal and its reader.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, OpenOptions};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

#[path = "support/film.rs"]
mod film;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");
/// The limit for the end of a program that is not blocked, even on a busy machine.
const PROMPT: Duration = Duration::from_secs(20);

struct Car(tempfile::TempDir);

impl Car {
    /// A dry run with a pipe (if `piped`) or a folder as its camera, and a pipe as its gamepad.
    fn new(piped: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mkfifoat(CWD, at("pad"), Mode::from_raw_mode(0o600)).unwrap();
        let camera = match piped {
            true => {
                mkfifoat(CWD, at("film"), Mode::from_raw_mode(0o600)).unwrap();
                format!(
                    "kind = \"pipe\"\ncommand = [\"cat\", {:?}]\nformat = \"GREY\"\nwidth = 640\n\
                     height = 480\ntimeout_ms = 150\n",
                    at("film")
                )
            }
            false => {
                film::pictures(&at("pictures"));
                "kind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\n".to_owned()
            }
        };
        let socket = at("guard.sock");
        let text = format!(
            "[camera]\n{camera}rate = 30\n[gamepad]\ndevice = \"pad\"\n\
             [guard]\ndeadline_ms = 600\nsocket = {socket:?}\n[actuator]\nkind = \"dry-run\"\n"
        );
        fs::write(at("car.toml"), text).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command
            .args(arguments)
            .arg("--car")
            .arg(self.path("car.toml"));
        command.stdin(Stdio::null());
        command
    }

    /// The number of commands that the guard accepted; `None` while there is no guard.
    fn accepted(&self) -> Option<u64> {
        let answer = self.command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&answer.stdout).ok()?;
        status["guard"]["accepted"].as_u64()
    }

    /// Waits until the guard has accepted this many more commands.
    fn goes_on(&self, more: u64) {
        let mut first = None;
        wait("the car is driven", || match (self.accepted(), first) {
            (Some(now), Some(first)) => now >= first + more,
            (now, _) => {
                first = now;
                false
            }
        });
    }

    /// Stops the car and arms it again; the pilot writes a message for each.
    fn stop_and_arm(&self) {
        for word in ["stop", "arm"] {
            let output = self.command(&[word]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}

struct Running(Child);

impl Running {
    fn ends(mut self) -> Output {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PROMPT, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut stdout = Vec::new();
        if let Some(mut output) = self.0.stdout.take() {
            std::io::Read::read_to_end(&mut output, &mut stdout).unwrap();
        }
        Output {
            status: self.0.wait().unwrap(),
            stdout,
            stderr: Vec::new(),
        }
    }

    fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")));
        names
            .filter_map(|name| Some(name.ok()?.trim().to_owned()))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: Command, stderr: impl Into<Stdio>) -> Running {
    command.stdout(Stdio::piped()).stderr(stderr);
    Running(command.spawn().unwrap())
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn without_reader() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer
}

/// A full pipe without a reader.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'.'; size]).unwrap();
    (reader, writer)
}

/// Writes the kernel's records of a pressed button.
fn press(pad: &mut fs::File, button: u16) {
    let mut bytes = Vec::new();
    for (kind, code, value) in [(1, button, 1), (0, 0, 0), (1, button, 0), (0, 0, 0)] {
        bytes.extend([0; 16]);
        bytes.extend(u16::to_ne_bytes(kind));
        bytes.extend(u16::to_ne_bytes(code));
        bytes.extend(i32::to_ne_bytes(value));
    }
    pad.write_all(&bytes).unwrap();
}

fn plug_in(car: &Car) -> fs::File {
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(car.path("pad"));
    both.unwrap()
}

#[test]
fn a_command_whose_reader_is_gone_ends_quietly_with_its_own_status() {
    let cars = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    let mut files: Vec<_> = fs::read_dir(cars)
        .unwrap()
        .map(|car| car.unwrap().path())
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    let file = files.first().unwrap().to_str().unwrap();
    for arguments in [
        &["check", file][..],
        &["inspect"],
        &["inspect", "pilotnet"],
        &["doctor"],
        &["--help"],
        &["check", "/nonexistent.toml"],
    ] {
        let mut command = Command::new(PILOTAGE);
        command.args(arguments).stdin(Stdio::null());
        let expected = command.output().unwrap();
        let ended = command.stdout(without_reader()).output().unwrap();
        assert_eq!(ended.status.code(), expected.status.code(), "{arguments:?}");
        assert_eq!(ended.stderr, expected.stderr, "{arguments:?}");
        // An error message without a reader is not another error either.
        let ended = command.stderr(without_reader()).output().unwrap();
        assert_eq!(ended.status.code(), expected.status.code(), "{arguments:?}");
    }
}

#[test]
fn output_that_a_full_disk_did_not_take_is_an_error() {
    let disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut inspect = Command::new(PILOTAGE);
    let ended = inspect.arg("inspect").stdout(disk).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(text.contains("error: standard output: "), "{text}");
}

#[test]
fn a_drive_goes_on_when_the_reader_of_its_stderr_is_gone() {
    let car = Car::new(false);
    let (reader, writer) = pipe().unwrap();
    let drive = start(car.command(&["drive", "--json"]), writer);
    car.goes_on(5);
    // The reader of standard error disconnects.
    drop(reader);
    for _ in 0..2 {
        car.stop_and_arm();
        car.goes_on(5);
    }
    let ended = drive.ends();
    assert_eq!(ended.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["guard"]["stops"], 2);
}

#[test]
fn a_drive_goes_on_and_ends_when_its_stderr_is_full() {
    let car = Car::new(false);
    let (_unread, writer) = full();
    let mut command = car.command(&["drive", "--json"]);
    // With tracing, the guard writes as much as the pilot.
    command.env("RUST_LOG", "trace");
    let drive = start(command, writer);
    car.goes_on(5);
    for _ in 0..2 {
        car.stop_and_arm();
        car.goes_on(5);
    }
    let ended = drive.ends();
    assert_eq!(ended.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["guard"]["stops"], 2);
}

#[test]
fn a_drive_ends_although_no_one_reads_its_report() {
    let car = Car::new(false);
    let mut command = car.command(&["drive", "--json"]);
    let (_unread, writer) = full();
    command.stdout(writer).stderr(Stdio::null());
    let drive = Running(command.spawn().unwrap());
    car.goes_on(5);
    assert_eq!(drive.ends().status.code(), Some(0));
}

#[test]
fn the_gamepad_is_still_read_after_a_refused_press_that_no_one_reads_of() {
    const ARM: u16 = 0x13b;
    let car = Car::new(false);
    let mut pad = plug_in(&car);
    let drive = start(car.command(&["drive", "--json"]), without_reader());
    car.goes_on(5);
    // Refused, because the car is armed already.
    for _ in 0..5 {
        press(&mut pad, ARM);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        drive.threads().iter().any(|name| name == "gamepad"),
        "{:?}",
        drive.threads()
    );
    car.goes_on(5);
    assert_eq!(drive.ends().status.code(), Some(0));
}

#[test]
fn a_recording_goes_on_when_no_one_reads_its_messages() {
    let car = Car::new(true);
    let _pad = plug_in(&car);
    let what = Arc::new(AtomicU8::new(film::RUN));
    let (pipe, shows) = (car.path("film"), Arc::clone(&what));
    std::thread::spawn(move || film::film(&pipe, Duration::from_millis(33), &shows));
    let mut command = car.command(&["record", "--all", "--json"]);
    command.arg("--to").arg(car.path("tape"));
    let record = start(command, without_reader());
    let pictures = || fs::read_dir(car.path("tape")).map_or(0, Iterator::count);
    wait("it records", || pictures() > 5);
    for _ in 0..2 {
        // The camera stalls, which causes a message, and recovers, which causes another.
        what.store(film::STALL, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
        what.store(film::RUN, Ordering::Relaxed);
        let before = pictures();
        wait("it records again", || pictures() > before + 5);
    }
    let ended = record.ends();
    assert_eq!(ended.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(report["recording"]["written"].as_u64() > Some(10));
}
