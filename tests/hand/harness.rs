//! The stand-in for a gamepad, a car, and the programs that are run on them.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A pipe that says what the kernel would.
pub struct Pad(File);

impl Pad {
    /// Both ends, so that opening it does not wait.
    pub fn open(path: &Path) -> Self {
        let both = OpenOptions::new().read(true).write(true).open(path);
        Self(both.unwrap())
    }

    pub fn plug_in(path: &Path) -> Self {
        let mut pad = Self::open(path);
        // How it is found.
        pad.say(&CENTRE);
        pad
    }

    pub fn say(&mut self, events: &[(u16, u16, i32)]) {
        let mut bytes = Vec::new();
        for (kind, code, value) in events.iter().chain([&REPORT]) {
            bytes.extend([0; 16]);
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        self.0.write_all(&bytes).unwrap();
    }

    pub fn hold(&mut self, button: u16) {
        self.say(&[(KEY, button, 1)]);
    }

    pub fn release(&mut self, button: u16) {
        self.say(&[(KEY, button, 0)]);
    }

    pub fn press(&mut self, button: u16) {
        self.hold(button);
        self.release(button);
    }

    /// Moves both sticks from rest to their ends.
    pub fn go(&mut self) {
        self.say(&CENTRE);
        self.say(&GO);
    }

    /// What a stick that is not quite still says.
    pub fn jitter(&mut self) {
        self.say(&[(ABS, OTHER_AXIS, 1), (ABS, OTHER_AXIS, 2)]);
    }
}

pub struct Car {
    pub folder: tempfile::TempDir,
}

impl Car {
    pub fn new(motors: &str) -> Self {
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

    pub fn dry() -> Self {
        Self::new("[actuator]\nkind = \"dry-run\"\n")
    }

    pub fn pins() -> Self {
        let car = Self::new("");
        let text = fs::read_to_string(car.file()).unwrap() + &pins::lay(car.folder.path());
        fs::write(car.file(), text).unwrap();
        car
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    pub fn pad(&self) -> Pad {
        Pad::plug_in(&self.folder.path().join("pad"))
    }

    pub fn tape(&self) -> PathBuf {
        self.folder.path().join("tape")
    }

    pub fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(words).arg("--car").arg(self.file());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    pub fn record(&self, more: &[&str]) -> Running {
        let mut command = self.command(&["record", "--json", "--to"]);
        let mut words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // --to FOLDER --car FILE
        words.insert(3, self.tape().into());
        words.extend(more.iter().map(Into::into));
        command = Command::new(PILOTAGE);
        command.args(words).stdin(Stdio::null());
        Running::start(command)
    }

    pub fn status(&self) -> String {
        out(&self.command(&["status"]).output().unwrap())
    }

    /// Waits until the guard says that.
    pub fn wait_for(&self, state: &str) {
        wait(state, || self.status().starts_with(state));
    }

    /// Arms by the button, and waits until the pilot has seen it: then it sends commands.
    pub fn arm(&self, pad: &mut Pad) {
        pad.press(ARM);
        self.wait_for("driving");
    }

    /// Waits until the motors have that, the stick not quite still.
    pub fn wait_pulses(&self, pad: &mut Pad, pulses: [u32; 2]) {
        wait(&format!("{pulses:?}"), || {
            pad.jitter();
            self.pulses() == pulses
        });
    }

    /// The rows of what was recorded, without their header.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let list = fs::read_to_string(self.tape().join("data.csv")).unwrap_or_default();
        let rows = list.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }
}

pub struct Running {
    child: Option<Child>,
    pub said: Receiver<String>,
    pub heard: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
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
    pub fn wait_until_said(&mut self, what: &str) {
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

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    pub fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> (Output, String) {
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

pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same, no later than `limit` after `began`.
pub fn wait_at_most(limit: Duration, what: &str, done: impl FnMut() -> bool) {
    let began = Instant::now();
    wait(what, done);
    let took = began.elapsed();
    println!("{what} after {took:?}");
    assert!(took < limit, "{what} after {took:?}");
}

/// Sooner than the guard's deadline of 400 ms would do it, on a busy machine.
pub const AT_ONCE: Duration = Duration::from_millis(300);

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
