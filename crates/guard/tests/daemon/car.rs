//! A car whose pins are files, its guard, and helpers to wait for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pilotage_guard::{CommandLink, GuardedCar, SocketLink, StopError, Stopped};
use pilotage_vehicle::{Command as Drive, Domain, monotonic};
use rustix::process::{Pid, Signal, kill_process};

use crate::pins;

pub const GUARD: &str = env!("CARGO_BIN_EXE_pilotage-guard");

pub const DISARMED: [u32; 2] = [0, 0];

/// A car in a folder, with different failsafe and disarmed values.
pub struct Car {
    pub folder: tempfile::TempDir,
}

impl Car {
    pub fn new() -> Self {
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

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    pub fn settings(&self) -> GuardedCar {
        GuardedCar::load(&self.file()).unwrap()
    }

    /// The pulses of steering and throttle, in nanoseconds.
    pub fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    pub fn guard(&self, more: &[&str]) -> Running {
        let mut command = self.command(more);
        Running(command.spawn().unwrap())
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(GUARD);
        command.arg("--car").arg(self.file()).args(more);
        command.stdin(Stdio::null());
        command
    }

    pub fn connect(&self) -> SocketLink {
        let socket = self.settings().socket;
        let mut link = None;
        wait_for(START, "the guard listens", || {
            link = SocketLink::connect(&socket).ok();
            link.is_some()
        });
        link.unwrap()
    }

    /// Declares the pilot, arms the car and drives until the pulses are written.
    pub fn drive(&self, link: &mut SocketLink) {
        let car = self.settings().identification();
        link.hello(Domain::Physical, &car).unwrap();
        self.arm(link);
    }

    /// Arms the car as an operator, and drives it as the pilot.
    pub fn arm(&self, link: &mut SocketLink) {
        self.connect().arm_pilot().unwrap();
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

pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn ended(&mut self) -> std::process::ExitStatus {
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

/// Longest start of a program on a busy machine.
pub const START: Duration = Duration::from_secs(30);
/// Longest prompt action on a busy machine.
pub const PROMPT: Duration = Duration::from_secs(2);

pub fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(PROMPT, what, done);
}

pub fn wait_for(timeout: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < timeout, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Stops the car as `pilotage stop` does.
pub fn stop(car: &Car) -> Result<Stopped, StopError> {
    pilotage_guard::raise_priority();
    pilotage_guard::stop(&car.file(), |file| {
        let mut failsafe = Command::new(GUARD);
        failsafe.args(["--failsafe", "--car"]).arg(file);
        let done = failsafe.output().unwrap();
        assert!(done.status.success(), "{}", message(&done));
        Ok(())
    })
}

/// A field of /proc/PID/stat after the name, numbered as in proc(5).
pub fn stat_field(process: Pid, number: usize) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap();
    // The name, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let field = fields.split_whitespace().nth(number - 3).unwrap();
    field.parse().unwrap()
}

/// An amount of memory in /proc/PID/status, in kB.
pub fn kilobytes(process: Pid, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let amount = line.strip_prefix(name).unwrap().trim();
    amount.strip_suffix(" kB").unwrap().parse().unwrap()
}
