//! A substitute for a gamepad, for machines without one.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use arrayvec::ArrayVec;
use evdev::InputEvent;
use pilotage_vehicle::{Time, monotonic};
use rustix::fs::OFlags;

use super::axis::Range;
use super::capabilities::Capabilities;
use super::hand::{Input, Snapshot};
use super::mapping::{AxisName, Mapping};
use super::source::{Source, failed, input, open_file};
use super::{BATCH, GamepadError};

/// A pipe with records of the kernel (`struct input_event`), as a substitute for a gamepad. Its
/// axes have the range -32768 to 32767. Its state cannot be queried: its first report contains the
/// state, and so does the second after SYN_DROPPED. When the last writer closes the pipe, the
/// gamepad is gone.
pub(super) struct Records {
    name: String,
    pipe: OwnedFd,
    /// An incomplete record.
    part: ArrayVec<u8, RECORD>,
    /// A report that is older presses and moves nothing; `None` if the records have no times.
    oldest: Option<Duration>,
    /// The time of the latest report, and whether it was too old when its first record was read.
    report: (Time, bool),
}

/// The size of a `struct input_event` with 64-bit time: seconds, microseconds, type, code, value.
pub(super) const RECORD: usize = 24;

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, GamepadError> {
        let mut records = Self {
            name: format!("records in {}", path.display()),
            pipe: open_file(path)?,
            part: ArrayVec::new(),
            oldest: None,
            report: (Time::ZERO, false),
        };
        // A pipe without a writer is at its end.
        let mut first = [0; RECORD];
        match rustix::io::read(&records.pipe, &mut first) {
            Ok(0) => Err(failed(path, ErrorKind::NotFound.into())),
            Ok(read) => {
                records.part.extend(first[..read].iter().copied());
                Ok(records)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(records),
            Err(reason) => Err(failed(path, reason.into())),
        }
    }

    /// The records in an open `pipe`, which are those of `name`, with times of CLOCK_MONOTONIC. A
    /// report that is older than `oldest` when it is read presses nothing but the stop button.
    pub(super) fn over(pipe: OwnedFd, name: &str, oldest: Duration) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&pipe)?;
        rustix::fs::fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Self {
            name: name.to_owned(),
            pipe,
            part: ArrayVec::new(),
            oldest: Some(oldest),
            report: (Time::ZERO, false),
        })
    }

    fn whole(&self) -> Option<Input> {
        let record: &[u8; RECORD] = self.part.as_slice().try_into().ok()?;
        let two = |at: usize| u16::from_ne_bytes([record[at], record[at + 1]]);
        let value = [record[20], record[21], record[22], record[23]];
        let event = InputEvent::new(two(16), two(18), i32::from_ne_bytes(value));
        Some(input(event))
    }
}

impl Records {
    /// Whether the whole record is of a report that was too old when it began to be read.
    fn is_old(&mut self) -> bool {
        let (Some(oldest), Some((time, _))) = (self.oldest, self.part.split_first_chunk::<16>())
        else {
            return false;
        };
        let (words, _) = time.as_chunks::<8>();
        let [seconds, micros] = [words[0], words[1]].map(u64::from_ne_bytes);
        let nanos = (seconds.saturating_mul(1_000_000)).saturating_add(micros);
        let time = Time::from_nanos(nanos.saturating_mul(1000));
        if self.report.0 != time {
            self.report = (time, monotonic().since(time) > oldest);
        }
        self.report.1
    }
}

/// What is left of an input of an old report: releases, and the stop button.
fn late(input: Input) -> Option<Input> {
    match input {
        Input::Button { code, pressed } => {
            let is_stop = code == Mapping::default().stop.0;
            let pressed = pressed && is_stop;
            Some(Input::Button { code, pressed })
        }
        Input::Report | Input::Dropped => Some(input),
        Input::Axis { .. } | Input::Other => None,
    }
}

impl Source for Records {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn capabilities(&self) -> Option<&Capabilities> {
        None
    }

    fn range(&self, _: AxisName) -> Range {
        Range {
            least: i16::MIN.into(),
            most: i16::MAX.into(),
            flat: 0,
        }
    }

    fn read(&mut self, batch: &mut ArrayVec<Input, BATCH>) -> io::Result<()> {
        while !batch.is_full() {
            if let Some(input) = self.whole() {
                let is_old = self.is_old();
                batch.extend(if is_old { late(input) } else { Some(input) });
                self.part.clear();
                continue;
            }
            let mut bytes = [0; RECORD];
            let missing = RECORD - self.part.len();
            match rustix::io::read(&self.pipe, &mut bytes[..missing]) {
                Ok(0) => {
                    let what = "its pipe is closed";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
                }
                Ok(read) => self.part.extend(bytes[..read].iter().copied()),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(reason) => return Err(reason.into()),
            }
        }
        Ok(())
    }

    fn state(&mut self, _: &Mapping) -> io::Result<Option<Snapshot>> {
        Ok(None)
    }

    fn values(&mut self) -> io::Result<Vec<(AxisName, i32)>> {
        Ok(Vec::new())
    }
}
