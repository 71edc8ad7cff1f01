//! The newest frame out of a queue of buffers.
//!
//! Two things the crate `v4l` does not do by itself. Its stream gives the buffer taken
//! last back before each wait, so that after one that timed out it gives back what the
//! kernel has already, and fails for good (EINVAL): here nothing is given back before
//! another is known to be there. And it hands out the oldest: here the queue is emptied.

use std::io;
use std::time::Duration;

use pilotage_vehicle::{Clock, Time};

use super::Buffers;
use crate::camera::Counters;

/// A wait this short keeps a device that says "ready" and has nothing from taking a core.
const SHORT: Duration = Duration::from_millis(1);
/// Numbers that jump further have started anew.
const GREATEST_GAP: u32 = 1 << 16;

/// What the kernel says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The kernel's number of it.
    pub sequence: u32,
    /// When it was captured, on CLOCK_MONOTONIC, where the kernel says.
    pub captured: Option<Time>,
    /// Marked as damaged.
    pub damaged: bool,
    /// Bytes of it.
    pub len: usize,
}

/// A frame that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// When it was captured; when it was taken, where the kernel does not say.
    pub captured: Time,
    /// Its number, which only rises.
    pub sequence: u64,
}

/// Takes the newest frame.
pub(super) struct Newest<B, C> {
    buffers: B,
    clock: C,
    /// Whether a buffer is ours: one to give in exchange.
    held: bool,
    /// The kernel's number of the frame before, and ours.
    before: Option<(u32, u64)>,
    counters: Counters,
    /// Whether there were broken frames since the last good one.
    broken: bool,
}

impl<B: Buffers, C: Clock> Newest<B, C> {
    /// Of running `buffers`, all of them the kernel's.
    pub fn new(buffers: B, clock: C) -> Self {
        Self {
            buffers,
            clock,
            held: false,
            before: None,
            counters: Counters::default(),
            broken: false,
        }
    }

    /// Waits up to `timeout` for a frame newer than the last. `put` gets the bytes of
    /// each that is taken, the newest last, and says whether they are a frame. None
    /// when no good one came in time.
    ///
    /// # Errors
    /// The system's: the device is gone or fails.
    pub fn next(
        &mut self,
        timeout: Duration,
        put: &mut impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Option<Taken>> {
        let until = self.clock.now() + timeout;
        let mut best = None;
        let mut drained = 0;
        // What is there already is taken without waiting. When that was all that the
        // kernel had, it had none left to fill, and newer frames were lost: the next one
        // is worth its wait.
        let mut starved = false;
        loop {
            let mut there = self.ready(Duration::ZERO)?;
            if !there {
                if best.is_some() && !starved {
                    break;
                }
                drained = 0;
                there = self.ready(until.since(self.clock.now()))?;
                starved &= !there;
            }
            if there {
                if let Some(taken) = self.take(put)? {
                    self.counters.skipped += u64::from(best.is_some());
                    best = Some(taken);
                }
                drained += 1;
                starved |= drained >= self.buffers.count() - usize::from(self.held);
            }
            if self.clock.now() >= until {
                break;
            }
        }
        if best.is_some() {
            self.counters.frames += 1;
            self.broken = false;
        }
        Ok(best)
    }

    fn ready(&mut self, wait: Duration) -> io::Result<bool> {
        match self.buffers.wait(wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            there => there,
        }
    }

    /// Takes one buffer: none when it holds no frame, or is not there after all.
    fn take(&mut self, put: &mut impl FnMut(&[u8]) -> bool) -> io::Result<Option<Taken>> {
        if !self.held {
            // The only way to hold one; what is in it cannot be seen.
            return match self.buffers.take() {
                Ok(()) => {
                    self.held = true;
                    Ok(None)
                }
                Err(error) => spurious(error).map(|()| None),
            };
        }
        // Until it is taken, the kernel has them all.
        self.held = false;
        let now = self.clock.now();
        let (bytes, metadata) = match self.buffers.exchange() {
            Ok(taken) => taken,
            Err(error) => return spurious(error).map(|()| None),
        };
        self.held = true;
        let good = !metadata.damaged && put(bytes.get(..metadata.len).unwrap_or(&[]));
        let sequence = self.number(metadata.sequence);
        if !good {
            self.counters.broken += 1;
            self.broken = true;
            return Ok(None);
        }
        // What is in hand was not captured later than now, whatever its stamp says.
        let captured = metadata.captured.unwrap_or(now).min(now);
        Ok(Some(Taken { captured, sequence }))
    }

    /// Our number for the frame that the kernel calls `sequence`.
    fn number(&mut self, sequence: u32) -> u64 {
        let number = match self.before {
            None => 0,
            Some((before, number)) => {
                let passed = match sequence.wrapping_sub(before) {
                    passed @ 1..GREATEST_GAP => passed,
                    // The same again, or started anew: a driver that does not count.
                    _ => 1,
                };
                self.counters.lost += u64::from(passed - 1);
                number + u64::from(passed)
            }
        };
        self.before = Some((sequence, number));
        number
    }

    /// The frame taken last turned out to be none.
    pub fn was_broken(&mut self) {
        self.counters.frames -= 1;
        self.counters.broken += 1;
        self.broken = true;
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What came instead of a frame.
    pub fn excuse(&self) -> &'static str {
        match self.broken {
            true => ", only damaged or short ones: a bad cable, or too much on one USB bus?",
            false => "",
        }
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// A device that said "ready" and had nothing is waited for again.
fn spurious(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        std::thread::sleep(SHORT);
        return Ok(());
    }
    Err(error)
}
