//! Checks whether a camera's picture can be used for driving. Without clock and I/O.

use std::time::Duration;

use pilotage_vision::{FrameView, PixelFormat};

/// A pixel up to this value is black: in the limited range black is 16, to which a covered sensor
/// adds noise.
const BLACK: u8 = 32;
/// In a black picture at most one pixel in this many is brighter: hot pixels.
const BRIGHT_PIXEL_OF: usize = 200;
/// The approximate number of pixels that are checked.
const PIXELS_CHECKED: usize = 4096;

/// The limits of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many identical frames count as a frozen picture; 0 disables the check.
    pub frozen_frames: u32,
    /// How many black frames count as a fault; 0 disables the check.
    pub black_frames: u32,
}

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// This many frames in a row are the same, byte for byte.
    Frozen(u32),
    /// This many frames in a row are black.
    Black(u32),
}

/// Checks each frame.
#[derive(Debug, Clone)]
pub struct Monitor {
    limits: Limits,
    previous: Vec<u8>,
    number: Option<u64>,
    /// The number of identical frames in a row, including the latest one.
    same: u32,
    /// The number of black frames in a row, including the latest one.
    black: u32,
}

impl Monitor {
    /// A monitor for frames of `len` bytes that has seen no frame yet.
    pub fn new(limits: Limits, len: usize) -> Self {
        Self {
            limits,
            previous: Vec::with_capacity(len),
            number: None,
            same: 0,
            black: 0,
        }
    }

    /// Checks a new frame. A frame whose number does not advance is ignored.
    pub fn check(&mut self, frame: FrameView<'_>) -> Option<Finding> {
        let advances = self.number.is_none_or(|number| frame.sequence > number);
        if !advances {
            return None;
        }
        self.number = Some(frame.sequence);
        // Identical pictures are rare: the comparison ends at the first noisy pixel.
        if self.limits.frozen_frames > 0 {
            if self.previous == frame.data {
                self.same = self.same.saturating_add(1);
            } else {
                self.same = 1;
                self.previous.clear();
                self.previous.extend_from_slice(frame.data);
            }
        }
        self.black = match black(frame) {
            true => self.black.saturating_add(1),
            false => 0,
        };
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        if reached(self.black, self.limits.black_frames) {
            Some(Finding::Black(self.black))
        } else if reached(self.same, self.limits.frozen_frames) {
            Some(Finding::Frozen(self.same))
        } else {
            None
        }
    }

    /// Resets the counts of identical and black frames, because the camera was reopened.
    pub fn restart(&mut self) {
        self.same = 0;
        self.black = 0;
        self.previous.clear();
    }
}

fn black(frame: FrameView<'_>) -> bool {
    let width = frame.width as usize;
    // The positions of luma, or of colour values that represent it, and their number in a row.
    let (pixels, first, step, row) = match frame.format {
        PixelFormat::Yuyv => (frame.data, 0, 2, width),
        PixelFormat::Uyvy => (frame.data, 1, 2, width),
        PixelFormat::Rgb8 | PixelFormat::Bgr8 => (frame.data, 0, 1, 3 * width),
        PixelFormat::Nv12 => (&frame.data[..frame.data.len() / 3 * 2], 0, 1, width),
        _ => (frame.data, 0, 1, width),
    };
    let all = pixels.len() / step;
    // Without a common factor with the row's length, so that every column and colour is sampled.
    let mut stride = (all / PIXELS_CHECKED).max(1);
    while greatest_common_divisor(stride, row) > 1 {
        stride += 1;
    }
    let samples = pixels.iter().skip(first).step_by(step * stride);
    let (mut count, mut bright) = (0_usize, 0_usize);
    for &pixel in samples {
        count += 1;
        bright += usize::from(pixel > BLACK);
    }
    bright * BRIGHT_PIXEL_OF <= count
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The wait before a lost camera is reopened. It doubles with each attempt, up to [`Self::MOST`].
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The first wait.
    pub const LEAST: Duration = Duration::from_millis(250);
    /// The longest wait.
    pub const MOST: Duration = Duration::from_secs(5);

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::MOST);
        wait
    }

    /// Starts again with the shortest wait.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Self::LEAST }
    }
}

#[cfg(test)]
mod tests;
