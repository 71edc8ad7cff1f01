//! The serial port of the motors.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pilotage_bridge::{Bridge, Outputs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use super::simulator::Sender;

/// The pulses of full left and of the full brake, of the middle and neutral, and the distance of full
/// right and full ahead from it, microseconds.
const MIDDLE: f64 = 1500.0;
const RANGE: f64 = 500.0;
/// Controls are sent when they change, and after this time again.
const REPEAT: Duration = Duration::from_millis(50);
/// How often the outputs are looked at: the dead-man's end shows in them.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// A microcontroller of docs/bridge.md at a pseudo-terminal, with the simulated car as servo and speed
/// controller.
pub struct Motors {
    port: File,
    bridge: Bridge,
    sender: Sender,
}

impl Motors {
    /// Links `path` to a new pseudo-terminal.
    pub fn plug(path: &Path, sender: Sender) -> io::Result<Self> {
        let port = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&port)?;
        unlockpt(&port)?;
        let name = ptsname(&port, Vec::new())?;
        super::remove_left(path)?;
        std::os::unix::fs::symlink(OsStr::from_bytes(name.as_bytes()), path)?;
        // A guard that reads no answers must not hold up the dead-man.
        rustix::fs::fcntl_setfl(&port, OFlags::NONBLOCK)?;
        Ok(Self {
            port: port.into(),
            bridge: Bridge::new(),
            sender,
        })
    }

    /// Serves the port until the simulator is gone.
    pub fn run(mut self) {
        let begin = Instant::now();
        let mut sent: Option<(Instant, Outputs)> = None;
        loop {
            self.wait();
            let now = || begin.elapsed().as_micros() as u64;
            self.receive(&now);
            let outputs = self.bridge.outputs(now());
            if sent.is_some_and(|(at, last)| last == outputs && at.elapsed() < REPEAT) {
                continue;
            }
            if self.sender.send(&control(outputs)).is_err() {
                return;
            }
            sent = Some((Instant::now(), outputs));
        }
    }

    fn wait(&self) {
        let mut port = [PollFd::new(&self.port, PollFlags::IN)];
        let _ = poll(&mut port, Some(&TICK));
        if port[0].revents().contains(PollFlags::HUP) {
            // Nobody has opened the port.
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Obeys what has come, and answers it.
    fn receive(&mut self, now: &impl Fn() -> u64) {
        let mut bytes = [0; 256];
        let Ok(count) = self.port.read(&mut bytes) else {
            return;
        };
        for &byte in &bytes[..count] {
            if let Some(status) = self.bridge.receive(now(), byte) {
                let _ = self.port.write(&status);
            }
        }
    }
}

/// The simulator's controls for the pulses. The speed controller has no reverse: what is below neutral
/// brakes. Without a pulse nothing is steered or driven.
fn control(outputs: Outputs) -> Value {
    let share = |us: u16| match us {
        0 => 0.0,
        us => ((f64::from(us) - MIDDLE) / RANGE).clamp(-1.0, 1.0),
    };
    let (steering, throttle) = (share(outputs.steering), share(outputs.throttle));
    json!({"msg_type": "control", "steering": steering.to_string(),
        "throttle": throttle.max(0.0).to_string(), "brake": (-throttle).max(0.0).to_string()})
}
