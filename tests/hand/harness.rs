//! Stand-ins for a gamepad and a car, and the programs that run with them.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A stand-in for a gamepad: a pipe with event records as the kernel writes them.
pub struct Pad(File);

impl Pad {
    /// Opens both ends, so that opening does not block.
    pub fn open(path: &Path) -> Self {
        let both = OpenOptions::new().read(true).write(true).open(path);
        Self(both.unwrap())
    }

    pub fn plug_in(path: &Path) -> Self {
        let mut pad = Self::open(path);
        // The first report, which identifies the gamepad.
        pad.send(&CENTRE);
        pad
    }

    pub fn send(&mut self, events: &[(u16, u16, i32)]) {
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
        self.send(&[(KEY, button, 1)]);
    }

    pub fn release(&mut self, button: u16) {
        self.send(&[(KEY, button, 0)]);
    }

    pub fn press(&mut self, button: u16) {
        self.hold(button);
        self.release(button);
    }

    /// Moves both sticks from rest to their ends.
    pub fn full_left_and_ahead(&mut self) {
        self.send(&CENTRE);
        self.send(&GO);
    }

    /// Sends the events of an axis that is not quite still.
    pub fn jitter(&mut self) {
        self.send(&[(ABS, OTHER_AXIS, 1), (ABS, OTHER_AXIS, 2)]);
    }
}

pub struct Car {
    pub folder: tempfile::TempDir,
}

impl Car {
    pub fn new(motors: &str) -> Self {
        let camera =
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 50\n";
        let car = Self::with(&format!("{camera}{motors}"));
        film::pictures(&car.folder.path().join("pictures"));
        car
    }

    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("guard.sock");
        let pad = folder.path().join("pad");
        mkfifoat(CWD, &pad, Mode::from_raw_mode(0o600)).unwrap();
        let text = format!(
            "[gamepad]\ndevice = \"pad\"\n\
             [mixer]\nwheelbase = 0.3\nsteering_range = 0.4\n\
             speed_to_throttle = [[0.0, 0.0], [4.0, 1.0]]\n\
             [guard]\ndeadline_ms = 400\nsocket = {socket:?}\n[guard.throttle]\nmax = 0.2\n{text}"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    pub fn simulated() -> Self {
        Self::with("")
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

    pub fn recording_folder(&self) -> PathBuf {
        self.folder.path().join("recording")
    }

    pub fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(arguments).arg("--car").arg(self.file());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The message of a command that is refused before anything moves.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (ended, log) = self.run(arguments).end();
        assert_eq!(ended.status.code(), Some(2), "{log}");
        log
    }

    pub fn record(&self, more: &[&str]) -> Running {
        let mut command = self.command(&["record", "--json", "--to"]);
        let mut arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // --to FOLDER --car FILE
        arguments.insert(3, self.recording_folder().into());
        arguments.extend(more.iter().map(Into::into));
        command = Command::new(PILOTAGE);
        command.args(arguments).stdin(Stdio::null());
        Running::start(command)
    }

    pub fn status(&self) -> String {
        out(&self.command(&["status"]).output().unwrap())
    }

    /// Waits until the guard's status starts with `state`.
    pub fn wait_for(&self, state: &str) {
        wait(state, || self.status().starts_with(state));
    }

    /// Presses the arm button, and waits until the pilot sends commands.
    pub fn arm(&self, pad: &mut Pad) {
        pad.press(ARM);
        self.wait_for("driving");
    }

    /// Waits until the motors have these pulses, while the gamepad reports jitter.
    pub fn wait_pulses(&self, pad: &mut Pad, pulses: [u32; 2]) {
        wait(&format!("{pulses:?}"), || {
            pad.jitter();
            self.pulses() == pulses
        });
    }

    /// The rows of the recording, without the header.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let list = fs::read_to_string(self.recording_folder().join("data.csv")).unwrap_or_default();
        let rows = list.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }
}

pub struct Running {
    child: Option<Child>,
    pub line_receiver: Receiver<String>,
    pub log: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (line_sender, line_receiver) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = line_sender.send(line);
            }
        });
        Self {
            child: Some(child),
            line_receiver,
            log: String::new(),
        }
    }

    /// Waits for the next line of standard error that contains `what`.
    pub fn wait_for_message(&mut self, what: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.line_receiver.recv_timeout(left) else {
                panic!("{what:?} was not printed, but: {}", self.log);
            };
            self.log += &(line.clone() + "\n");
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

    /// Waits until the program ends.
    pub fn end(mut self) -> (Output, String) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let rest: Vec<String> = self.line_receiver.iter().collect();
        (output, self.log.clone() + &rest.join("\n"))
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

pub fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(60), what, done);
}

/// As [`wait`], but fails if it takes `limit` or longer.
pub fn wait_at_most(limit: Duration, what: &str, done: impl FnMut() -> bool) {
    let began = Instant::now();
    wait(what, done);
    let took = began.elapsed();
    println!("{what} after {took:?}");
    assert!(took < limit, "{what} after {took:?}");
}

/// Sooner than the guard's deadline of 400 ms would act, on a busy machine.
pub const AT_ONCE: Duration = Duration::from_millis(300);
