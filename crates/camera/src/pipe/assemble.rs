use std::time::Duration;

use pilotage_vehicle::Time;

/// The frame period divided by this is the longest pause within a frame. After a longer pause the
/// incomplete frame is dropped.
const PAUSE: u32 = 2;

/// So many bursts in a row of the same length, which is not that of whole frames, are no accident.
const MISFITS: u32 = 3;

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
    /// Bytes since the latest pause.
    burst: usize,
    /// The length of the latest bursts that were no whole frames, and their number.
    wrong: (usize, u32),
    /// The bytes that arrive between two pauses, if these are never whole frames.
    pub unexpected_frame_len: Option<usize>,
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
            burst: 0,
            wrong: (0, 0),
            unexpected_frame_len: None,
        }
    }

    /// The buffer for a piece that arrives at `now`: the rest of this frame, or a whole frame if
    /// the pause was too long.
    pub fn room(&mut self, now: Time) -> &mut [u8] {
        if now.since(self.latest) > self.pause {
            self.end_burst();
            if self.filled > 0 {
                self.filled = 0;
                self.broken += 1;
                self.number += 1;
            }
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
        self.burst += count;
        self.filled >= self.data.len()
    }

    /// A pause has passed. Frames of another length than expected, such as those with padded rows,
    /// give bursts of that length.
    fn end_burst(&mut self) {
        let burst = std::mem::take(&mut self.burst);
        if burst.is_multiple_of(self.data.len()) {
            (self.wrong, self.unexpected_frame_len) = ((0, 0), None);
            return;
        }
        self.wrong = match self.wrong {
            (length, count) if length == burst => (burst, count + 1),
            _ => (burst, 1),
        };
        if self.wrong.1 >= MISFITS {
            self.unexpected_frame_len = Some(burst);
        }
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
