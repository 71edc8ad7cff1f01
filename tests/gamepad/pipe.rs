//! A pipe as a substitute for a gamepad.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use pilotage_gamepad::{Gamepad, GamepadError};

use super::*;

/// A named pipe with records of the kernel.
pub struct Pipe {
    folder: tempfile::TempDir,
    both: File,
}

impl Pipe {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pad"), mode).unwrap();
        Self::at(folder)
    }

    /// Opens the pipe that exists in `folder`.
    pub fn at(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("pad");
        let both = OpenOptions::new().read(true).write(true).open(path);
        let both = both.unwrap();
        Self { folder, both }
    }

    /// Closes the pipe; its folder is kept.
    pub fn unplug(self) -> tempfile::TempDir {
        self.folder
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("pad")
    }

    /// Writes events of type, code and value, followed by the end of the report.
    pub fn send(&mut self, events: &[(u16, u16, i32)]) {
        let all = events.iter().chain([&(0, 0, 0)]);
        let bytes: Vec<u8> = all.flat_map(|&(a, b, c)| record(a, b, c)).collect();
        self.both.write_all(&bytes).unwrap();
    }
}

/// A record of the kernel.
fn record(kind: u16, code: u16, value: i32) -> Vec<u8> {
    let mut record = vec![0; 16];
    record.extend(kind.to_ne_bytes());
    record.extend(code.to_ne_bytes());
    record.extend(value.to_ne_bytes());
    record
}

#[test]
fn reading_allocates_nothing_and_a_flood_does_not_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pad");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let car = car(&format!("device = {path:?}"), "max = 0.2");
    let open = || Gamepad::open(config(&car), &car.limits);
    assert!(
        matches!(open(), Err(GamepadError::Open { .. })),
        "unplugged"
    );
    let both = OpenOptions::new().read(true).write(true).open(&path);
    let mut pipe = both.unwrap();
    let mut pad = open().unwrap();
    let found = [
        record(3, STEERING, 0),
        record(3, THROTTLE, 0),
        record(0, 0, 0),
    ];
    pipe.write_all(&found.concat()).unwrap();
    assert!(pad.read(at(0)).unwrap());
    let driven = [
        record(1, DEAD_MAN, 1),
        record(0, 0, 0),
        record(3, THROTTLE, -32768),
        record(0, 0, 0),
    ];
    // In two pieces, which the kernel never does.
    let driven = driven.concat();
    pipe.write_all(&driven[..31]).unwrap();
    let mut request = DriveRequest::default();
    let taken = allocation_counter::measure(|| {
        pad.read(at(1)).unwrap();
        pipe.write_all(&driven[31..]).unwrap();
        pad.read(at(2)).unwrap();
        request = pad.hand().request(at(2));
    });
    assert_eq!(taken.count_total, 0);
    assert_eq!(request.throttle, 0.2);

    let flood: Vec<u8> = (0..1500).flat_map(|_| record(3, STEERING, 5)).collect();
    pipe.write_all(&flood).unwrap();
    assert!(
        !pad.read(at(3)).unwrap(),
        "more is left than one read takes"
    );
    assert!(pad.read(at(3)).unwrap());
    drop(pipe);
    assert!(matches!(pad.read(at(4)), Err(GamepadError::Gone(_))));
}
