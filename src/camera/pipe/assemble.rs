use std::time::Duration;

use pilotage_vehicle::Time;

/// A pause longer than this share of the frame period, within a frame, ends it.
const PAUSE: u32 = 2;

/// Puts frames together from the pieces in which they arrive. No clock and no I/O.
pub(super) struct Assembler {
    data: Vec<u8>,
    filled: usize,
    pause: Duration,
    /// When the first and the latest piece of this frame came.
    first: Time,
    latest: Time,
    number: u64,
    /// Frames whose rest never came.
    pub broken: u64,
}

impl Assembler {
    /// For frames of `len` bytes, one each `period`.
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

    /// Where the piece goes that has come `now`: never further than this frame's end.
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

    /// `count` bytes have come; whether the frame is whole with them.
    pub fn received(&mut self, count: usize) -> bool {
        self.filled += count;
        self.filled >= self.data.len()
    }

    /// Gives the whole frame away for `spare`, and says when it began and its number.
    pub fn swap(&mut self, spare: &mut Vec<u8>) -> (Time, u64) {
        std::mem::swap(&mut self.data, spare);
        self.filled = 0;
        let number = self.number;
        self.number += 1;
        (self.first, number)
    }
}
