use std::time::Duration;

use pilotage_vehicle::Time;

/// The frame period divided by this is the longest pause within a frame. After a longer pause the
/// incomplete frame is dropped.
const PAUSE: u32 = 2;

/// Assembles frames from the pieces in which they arrive. It has no clock and performs no I/O.
pub(super) struct Assembler {
    data: Vec<u8>,
    filled: usize,
    pause: Duration,
    /// The arrival times of the first and of the latest piece of this frame.
    first: Time,
    latest: Time,
    number: u64,
    /// The number of incomplete frames that were dropped.
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

    /// The buffer for a piece that arrives at `now`: the rest of this frame, or a whole frame if
    /// the pause was too long.
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

    /// Swaps the complete frame with `spare`; returns the arrival time of the frame's first piece
    /// and the frame's number.
    pub fn swap(&mut self, spare: &mut Vec<u8>) -> (Time, u64) {
        std::mem::swap(&mut self.data, spare);
        self.filled = 0;
        let number = self.number;
        self.number += 1;
        (self.first, number)
    }
}
