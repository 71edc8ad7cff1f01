use std::time::Duration;

use pilotage_vehicle::Time;

/// A pause within a frame ends the frame if it is longer than the frame period divided by this.
const PAUSE: u32 = 2;

/// Assembles frames from the pieces in which they arrive. Without clock and I/O.
pub(super) struct Assembler {
    data: Vec<u8>,
    filled: usize,
    pause: Duration,
    /// The arrival of the first and of the latest piece of this frame.
    first: Time,
    latest: Time,
    number: u64,
    /// Incomplete frames.
    pub broken: u64,
}

impl Assembler {
    /// For frames of `len` bytes, one per `period`.
    pub fn new(len: usize, period: Duration) -> Self {
        Self {
            data: vec![0; len],
            filled: 0,
            pause: period / PAUSE,
            first: Time::ZERO,
            latest: Time::ZERO,
            number: 0,
            broken: 0,
        }
    }

    /// The buffer for a piece that arrives `now`: up to the end of this frame.
    pub fn room(&mut self, now: Time) -> &mut [u8] {
        if self.filled > 0 && now.since(self.latest) > self.pause {
            self.filled = 0;
            self.broken += 1;
            self.number += 1;
        }
        if self.filled == 0 {
            self.first = now;
        }
        self.latest = now;
        &mut self.data[self.filled..]
    }

    /// `count` bytes have arrived; returns whether the frame is complete.
    pub fn received(&mut self, count: usize) -> bool {
        self.filled += count;
        self.filled >= self.data.len()
    }

    /// Exchanges the complete frame for `spare`; returns the frame's start time and number.
    pub fn swap(&mut self, spare: &mut Vec<u8>) -> (Time, u64) {
        std::mem::swap(&mut self.data, spare);
        self.filled = 0;
        let number = self.number;
        self.number += 1;
        (self.first, number)
    }
}
