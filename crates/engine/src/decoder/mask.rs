//! The middle of a road, or of a line, in a mask.

use serde::{Deserialize, Serialize};

use super::camera::Ground;

/// A picture of what is road, or line: one number for each pixel and class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// How many classes there are.
    pub channels: usize,
    /// The class that is followed.
    pub channel: usize,
    /// Whether the classes of a pixel are adjacent; else every class is a plane.
    pub interleaved: bool,
    /// A pixel belongs to the class above this number. If absent, where the class has the largest
    /// number of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Fewer pixels side by side are ignored.
    pub least_pixels: usize,
    /// The width of the road on the ground, metres, for rows of which only one edge is seen. If
    /// absent, such rows have no middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub road_width: Option<f32>,
}

/// Pixels side by side in a row: from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    /// How far it is from a column; 0 if it contains the column.
    fn from(self, column: f64) -> f64 {
        (self.start as f64 - column)
            .max(column - self.end as f64)
            .max(0.0)
    }
}

impl Mask {
    /// How many elements it takes; `None` if that overflows, or if there is no such class.
    pub(super) fn elements(&self) -> Option<usize> {
        if self.channel >= self.channels {
            return None;
        }
        let pixels = self.width.checked_mul(self.height)?;
        pixels.checked_mul(self.channels)
    }

    /// Whether a pixel belongs to the class.
    pub(super) fn has(&self, elements: &[f32], pixel: usize) -> bool {
        let number = |channel: usize| {
            let at = match self.interleaved {
                true => pixel * self.channels + channel,
                false => channel * self.width * self.height + pixel,
            };
            elements.get(at).copied().unwrap_or(f32::NEG_INFINITY)
        };
        let own = number(self.channel);
        match self.threshold {
            Some(threshold) => own > threshold,
            // Of several that are equal the first counts, as with argmax.
            None => (0..self.channels).all(|other| match other < self.channel {
                true => number(other) < own,
                false => number(other) <= own,
            }),
        }
    }

    /// The run of a row that is nearest a column; of several the longest, of those the first.
    fn run(&self, elements: &[f32], row: usize, column: f64) -> Option<Run> {
        let mut best: Option<Run> = None;
        let mut start = None;
        for at in 0..=self.width {
            let inside = at < self.width && self.has(elements, row * self.width + at);
            match (start, inside) {
                (None, true) => start = Some(at),
                (Some(first), false) => {
                    let run = Run {
                        start: first,
                        end: at,
                    };
                    start = None;
                    let length = run.end - run.start;
                    let better = best.is_none_or(|best| {
                        let (near, nearest) = (run.from(column), best.from(column));
                        near < nearest || near == nearest && length > best.end - best.start
                    });
                    if better && length >= self.least_pixels {
                        best = Some(run);
                    }
                }
                _ => {}
            }
        }
        best
    }

    /// Passes on the middle of every row on the ground, the nearest row first.
    ///
    /// Of each row, the run nearest the one before counts, of the lowest that nearest the picture's
    /// middle: roads elsewhere in the picture do not matter. Rows without a run are skipped, so that
    /// a dashed line goes on. The end of a run at the picture's edge is not the road's.
    pub(super) fn each(&self, elements: &[f32], ground: &Ground, mut to: impl FnMut([f64; 2])) {
        let (width, height) = (self.width as f64, self.height as f64);
        let mut column = 0.5 * width;
        for row in (0..self.height).rev() {
            let Some(run) = self.run(elements, row, column) else {
                continue;
            };
            let down = (row as f64 + 0.5) / height;
            let at = |column: f64| ground.point(column / width, down);
            let (start, end) = (run.start as f64, run.end as f64);
            let half = self.road_width.map(|width| 0.5 * f64::from(width));
            let beside = |edge: f64, side: f64| {
                let ([x, y], half) = (at(edge)?, half?);
                Some([x, y + side * half])
            };
            let middle = match (run.start == 0, run.end == self.width) {
                (false, false) => at(0.5 * (start + end)),
                // The middle is to the left of the right edge, and the other way round.
                (true, false) => beside(end, 1.0),
                (false, true) => beside(start, -1.0),
                (true, true) => None,
            };
            if !(run.start == 0 && run.end == self.width) {
                column = 0.5 * (start + end);
            }
            if let Some(point) = middle {
                to(point);
            }
        }
    }

    /// The share of the pixels that belong to the class in one of two answers only.
    pub(super) fn distance(&self, expected: &[f32], found: &[f32]) -> f64 {
        let pixels = self.width * self.height;
        let differs = |&pixel: &usize| self.has(expected, pixel) != self.has(found, pixel);
        (0..pixels).filter(differs).count() as f64 / pixels.max(1) as f64
    }
}
