//! Takes the newest frame from a queue of buffers.
//!
//! The crate `v4l` lacks two things. First, its stream returns the held buffer to the kernel before
//! each wait. After a wait that timed out it would return a buffer that the kernel already has, and
//! then fail permanently (EINVAL). Here no buffer is returned before another one is known to be
//! filled. Second, `v4l` gives the oldest frame. Here the queue is emptied.

use std::io;
use std::time::Duration;

use pilotage_vehicle::{Clock, Time};

use super::Buffers;
use crate::Counters;

/// A short sleep, so that a device that reports "ready" without a frame does not keep a core busy.
const SHORT: Duration = Duration::from_millis(1);
/// A larger jump of the sequence numbers means that they have restarted.
const GREATEST_GAP: u32 = 1 << 16;

/// The kernel's metadata of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The kernel's sequence number.
    pub sequence: u32,
    /// When it was captured, on CLOCK_MONOTONIC, if the kernel reports it.
    pub captured: Option<Time>,
    /// Whether the driver marked it as damaged.
    pub damaged: bool,
    /// The length in bytes.
    pub len: usize,
}

/// A frame that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// When it was captured; if the kernel does not report it, when it was taken.
    pub captured: Time,
    /// The sequence number, which only rises.
    pub sequence: u64,
}

/// Takes the newest frame.
pub(super) struct Newest<B, C> {
    buffers: B,
    clock: C,
    /// Whether a buffer is held, which can be given in exchange.
    held: bool,
    /// The kernel's sequence number of the previous frame, and the continuous one.
    before: Option<(u32, u64)>,
    counters: Counters,
    /// Whether there were broken frames since the last good one.
    broken: bool,
}

impl<B: Buffers, C: Clock> Newest<B, C> {
    /// For running `buffers`, all of which the kernel has.
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

    /// Waits up to `timeout` for a frame newer than the last one. `on_frame` gets the bytes of each
    /// frame that is taken, the newest last, and returns whether they are a valid frame. `None` if
    /// no valid frame came in time.
    ///
    /// # Errors
    /// The system's error: the device is gone or fails.
    pub fn next(
        &mut self,
        timeout: Duration,
        on_frame: &mut impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Option<Taken>> {
        let until = self.clock.now() + timeout;
        let mut best = None;
        let mut drained = 0;
        // Frames that are there already are taken without waiting. If these were all of the
        // kernel's buffers, the kernel had none left to fill, and newer frames were lost: then it
        // is better to wait for the next frame.
        let mut starved = false;
        loop {
            let mut is_ready = self.ready(Duration::ZERO)?;
            if !is_ready {
                if best.is_some() && !starved {
                    break;
                }
                drained = 0;
                is_ready = self.ready(until.since(self.clock.now()))?;
                starved &= !is_ready;
            }
            if is_ready {
                if let Some(taken) = self.take(on_frame)? {
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
            is_ready => is_ready,
        }
    }

    /// Takes one buffer. `None` if it contains no valid frame, if its content is not accessible
    /// (no buffer was held before), or if there is no filled buffer after all.
    fn take(&mut self, on_frame: &mut impl FnMut(&[u8]) -> bool) -> io::Result<Option<Taken>> {
        if !self.held {
            // This is the only way to hold a buffer; its content is not accessible.
            return match self.buffers.take() {
                Ok(()) => {
                    self.held = true;
                    Ok(None)
                }
                Err(error) => spurious(error).map(|()| None),
            };
        }
        // Until the exchange succeeds, the kernel has all buffers.
        self.held = false;
        let now = self.clock.now();
        let (bytes, metadata) = match self.buffers.exchange() {
            Ok(taken) => taken,
            Err(error) => return spurious(error).map(|()| None),
        };
        self.held = true;
        let good = !metadata.damaged && on_frame(bytes.get(..metadata.len).unwrap_or(&[]));
        let sequence = self.number(metadata.sequence);
        if !good {
            self.counters.broken += 1;
            self.broken = true;
            return Ok(None);
        }
        // A frame in hand cannot have been captured later than now, whatever its time stamp.
        let captured = metadata.captured.unwrap_or(now).min(now);
        Ok(Some(Taken { captured, sequence }))
    }

    /// The continuous number of the frame with the kernel's number `sequence`.
    fn number(&mut self, sequence: u32) -> u64 {
        let number = match self.before {
            None => 0,
            Some((before, number)) => {
                let passed = match sequence.wrapping_sub(before) {
                    passed @ 1..GREATEST_GAP => passed,
                    // Unchanged or restarted: a driver that does not count.
                    _ => 1,
                };
                self.counters.lost += u64::from(passed - 1);
                number + u64::from(passed)
            }
        };
        self.before = Some((sequence, number));
        number
    }

    /// The frame that was taken last could not be decoded.
    pub fn mark_last_broken(&mut self) {
        self.counters.frames -= 1;
        self.counters.broken += 1;
        self.broken = true;
    }

    /// The present time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// For the message that no frame came: what came instead.
    pub fn hint_for_missing_frame(&self) -> &'static str {
        match self.broken {
            true => {
                "; only damaged or incomplete frames: check the cable and the load on the USB bus"
            }
            false => "",
        }
    }

    /// Counters of the frames so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// A device that reported "ready" without a frame: wait again.
fn spurious(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        std::thread::sleep(SHORT);
        return Ok(());
    }
    Err(error)
}
