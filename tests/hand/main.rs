//! A gamepad at a real car: driving by hand, arm and stop while an engine drives, and
//! recording. The gamepad is a stand-in: a pipe with the kernel's event records in it. The
//! motors are PWM pins that are files, or a dry run.

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

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../film/mod.rs"]
mod film;
#[path = "../pins/mod.rs"]
mod pins;
mod recording;

use pins::FAILSAFE;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

const SYN: u16 = 0;
const KEY: u16 = 1;
const ABS: u16 = 3;
const REPORT: (u16, u16, i32) = (SYN, 0, 0);
const DROPPED: (u16, u16, i32) = (SYN, 3, 0);

const STEERING: u16 = 0;
const OTHER_AXIS: u16 = 1;
const THROTTLE: u16 = 4;
const STOP: u16 = 0x131;
const DEAD_MAN: u16 = 0x136;
const ARM: u16 = 0x13b;

/// Full left and full ahead.
const GO: [(u16, u16, i32); 2] = [(ABS, STEERING, -32768), (ABS, THROTTLE, -32768)];
const NEUTRAL: [u32; 2] = [1_500_000, 1_500_000];
/// Full left, and a fifth of full ahead.
const GOING: [u32; 2] = [1_900_000, 1_600_000];

/// A pipe that says what the kernel would.
struct Pad(File);

impl Pad {
    fn plug_in(path: &Path) -> Self {
        // Both ends, so that opening it waits for nobody.
        let both = OpenOptions::new().read(true).write(true).open(path);
        let mut pad = Self(both.unwrap());
        // How it is found.
        pad.say(&[(ABS, STEERING, 0), (ABS, THROTTLE, 0)]);
        pad
    }

    fn say(&mut self, events: &[(u16, u16, i32)]) {
        let mut bytes = Vec::new();
        for (kind, code, value) in events.iter().chain([&REPORT]) {
            bytes.extend([0; 16]);
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        self.0.write_all(&bytes).unwrap();
    }

    fn hold(&mut self, button: u16) {
        self.say(&[(KEY, button, 1)]);
    }

    fn let_go(&mut self, button: u16) {
        self.say(&[(KEY, button, 0)]);
    }

    fn press(&mut self, button: u16) {
        self.hold(button);
        self.let_go(button);
    }

    /// What a stick that is not quite still says.
    fn jitter(&mut self) {
        self.say(&[(ABS, OTHER_AXIS, 1), (ABS, OTHER_AXIS, 2)]);
    }
}

struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new(motors: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        film::pictures(&folder.path().join("pictures"));
        let socket = folder.path().join("guard.sock");
        let pad = folder.path().join("pad");
        mkfifoat(CWD, &pad, Mode::from_raw_mode(0o600)).unwrap();
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 50\n\
             [gamepad]\ndevice = \"pad\"\n\
             [mixer]\nwheelbase = 0.3\nsteering_range = 0.4\n\
             speed_to_throttle = [[0.0, 0.0], [4.0, 1.0]]\n\
             [guard]\ndeadline_ms = 400\nsocket = {socket:?}\n[guard.throttle]\nmax = 0.2\n{motors}"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    fn dry() -> Self {
        Self::new("[actuator]\nkind = \"dry-run\"\n")
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

    fn pad(&self) -> Pad {
        Pad::plug_in(&self.folder.path().join("pad"))
    }

    fn tape(&self) -> PathBuf {
        self.folder.path().join("tape")
    }

    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(words).arg("--car").arg(self.file());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    fn record(&self, more: &[&str]) -> Running {
        let mut command = self.command(&["record", "--json", "--to"]);
        let mut words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // --to FOLDER --car FILE
        words.insert(3, self.tape().into());
        words.extend(more.iter().map(Into::into));
        command = Command::new(PILOTAGE);
        command.args(words).stdin(Stdio::null());
        Running::start(command)
    }

    fn status(&self) -> String {
        out(&self.command(&["status"]).output().unwrap())
    }

    /// Waits until the guard says that.
    fn wait_for(&self, state: &str) {
        wait(state, || self.status().starts_with(state));
    }

    /// Waits until the motors have that, the stick not quite still.
    fn wait_pulses(&self, pad: &mut Pad, pulses: [u32; 2]) {
        wait(&format!("{pulses:?}"), || {
            pad.jitter();
            self.pulses() == pulses
        });
    }

    /// The rows of what was recorded, without their header.
    fn rows(&self) -> Vec<Vec<String>> {
        let list = fs::read_to_string(self.tape().join("data.csv")).unwrap_or_default();
        let rows = list.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }
}

struct Running {
    child: Option<Child>,
    said: Receiver<String>,
    heard: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (saying, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = saying.send(line);
            }
        });
        Self {
            child: Some(child),
            said,
            heard: String::new(),
        }
    }

    /// Waits until it says something with `what` in it, since the last such thing.
    fn wait_until_said(&mut self, what: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("it never said {what:?}, but: {}", self.heard);
            };
            self.heard += &(line.clone() + "\n");
            if line.contains(what) {
                return;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    fn end(mut self) -> (Output, String) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let rest: Vec<String> = self.said.iter().collect();
        (output, self.heard.clone() + &rest.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whatever is said, for this long nothing moves.
fn stays(car: &Car, pad: &mut Pad, pulses: [u32; 2]) {
    for _ in 0..40 {
        pad.jitter();
        assert_eq!(car.pulses(), pulses);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hand_moves_the_car_while_it_holds_the_button() {
    let car = Car::pins();
    let mut pad = car.pad();
    let drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    pad.say(&GO);
    pad.hold(DEAD_MAN);
    stays(&car, &mut pad, [0, 0]);

    pad.press(ARM);
    car.wait_pulses(&mut pad, GOING);
    pad.let_go(DEAD_MAN);
    car.wait_pulses(&mut pad, NEUTRAL);
    assert!(car.status().starts_with("driving"), "it only stands");
    pad.hold(DEAD_MAN);
    car.wait_pulses(&mut pad, GOING);

    // The stick still and the button held: nothing is said.
    let silent = Instant::now();
    wait("silent, it stands", || car.pulses() == NEUTRAL);
    let stood = silent.elapsed();
    println!("silent for {stood:?} when it stood");
    assert!(stood < Duration::from_millis(1000), "{stood:?}");
    car.wait_pulses(&mut pad, GOING);

    pad.press(STOP);
    wait("stopped", || car.pulses() == FAILSAFE);
    car.wait_for("stopped: a person stopped the car");
    stays(&car, &mut pad, FAILSAFE);
    pad.press(ARM);
    car.wait_pulses(&mut pad, GOING);
    drive.kill(Signal::TERM);
    let (ended, said) = drive.end();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("the car is disarmed"), "{said}");
    assert_eq!(car.pulses(), [0, 0]);
}

#[test]
fn a_gamepad_that_is_gone_stops_the_car_for_good() {
    let car = Car::pins();
    let mut pad = car.pad();
    let mut drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    pad.press(ARM);
    pad.hold(DEAD_MAN);
    pad.say(&GO);
    car.wait_pulses(&mut pad, GOING);
    drop(pad);
    wait("stopped", || car.pulses() == FAILSAFE);
    car.wait_for("stopped: the gamepad is gone");

    let mut pad = car.pad();
    drive.wait_until_said("the gamepad is back");
    pad.hold(DEAD_MAN);
    pad.say(&GO);
    stays(&car, &mut pad, FAILSAFE);
    pad.press(ARM);
    car.wait_pulses(&mut pad, GOING);
}

#[test]
fn what_is_held_down_at_the_start_arms_and_moves_nothing() {
    let car = Car::pins();
    // Not found before its first report: this is it.
    let path = car.folder.path().join("pad");
    let both = OpenOptions::new().read(true).write(true).open(path);
    let mut pad = Pad(both.unwrap());
    pad.say(&[(KEY, ARM, 1), (KEY, DEAD_MAN, 1), GO[0], GO[1]]);
    let _drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    // As of a key that repeats.
    pad.say(&[(KEY, ARM, 2), (KEY, DEAD_MAN, 2)]);
    stays(&car, &mut pad, [0, 0]);
    assert!(car.status().starts_with("disarmed"));
    pad.press(DEAD_MAN);
    pad.let_go(ARM);
    pad.press(ARM);
    car.wait_pulses(&mut pad, NEUTRAL);

    // Nor does what is held while events were lost.
    pad.hold(DEAD_MAN);
    car.wait_pulses(&mut pad, GOING);
    pad.say(&[DROPPED, (KEY, DEAD_MAN, 0)]);
    pad.say(&[(KEY, DEAD_MAN, 1), GO[0], GO[1]]);
    car.wait_pulses(&mut pad, NEUTRAL);
    stays(&car, &mut pad, NEUTRAL);
    pad.let_go(DEAD_MAN);
    pad.hold(DEAD_MAN);
    car.wait_pulses(&mut pad, GOING);
}

#[test]
fn a_frozen_pilot_is_stopped_though_the_button_is_held() {
    let car = Car::pins();
    let mut pad = car.pad();
    let drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    pad.press(ARM);
    pad.hold(DEAD_MAN);
    pad.say(&GO);
    car.wait_pulses(&mut pad, GOING);
    drive.kill(Signal::STOP);
    wait("stopped", || car.pulses() == FAILSAFE);
    drive.kill(Signal::CONT);
    stays(&car, &mut pad, FAILSAFE);
}

#[test]
fn while_an_engine_drives_its_buttons_arm_and_stop() {
    let car = Car::dry();
    let mut drive = car.run(&["drive", "--json"]);
    drive.wait_until_said("until then `pilotage stop` stops the car");
    car.wait_for("driving");
    let mut pad = car.pad();
    drive.wait_until_said("its buttons arm and stop");
    pad.press(STOP);
    car.wait_for("stopped: a person stopped the car");
    pad.press(ARM);
    car.wait_for("driving");
    // A stick means nothing, and silence is no fault.
    std::thread::sleep(Duration::from_millis(700));
    assert!(car.status().starts_with("driving"));
    drop(pad);
    car.wait_for("stopped: the gamepad is gone");
    let _pad = car.pad();
    drive.wait_until_said("its buttons arm and stop");
    assert!(car.status().starts_with("stopped: the gamepad is gone"));
    assert!(car.command(&["arm"]).status().unwrap().success());
    car.wait_for("driving");
}

#[test]
fn without_a_gamepad_nobody_drives_by_hand() {
    let car = Car::dry();
    let refused = |words: &[&str]| {
        let (ended, said) = car.run(words).end();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        said
    };
    let away = refused(&["drive", "--by-hand"]);
    assert!(away.contains("plug it in or pair it"), "{away}");
    let engine = refused(&["drive", "--by-hand", "--engine", "pilotnet"]);
    assert!(engine.contains("cannot be used with"), "{engine}");
    let laps = refused(&["drive", "--by-hand", "--laps", "2"]);
    assert!(laps.contains("--laps is of the simulated car"), "{laps}");
    let text = fs::read_to_string(car.file()).unwrap();
    let text = text.replace("[gamepad]\ndevice = \"pad\"\n", "");
    fs::write(car.file(), text).unwrap();
    let none = refused(&["drive", "--by-hand"]);
    assert!(none.contains("car.toml has no [gamepad]"), "{none}");
}
