//! Which times of a drive are shown.

use super::FilmError;

/// Most frames of a film: ten minutes at ten a second.
pub(crate) const MOST_FRAMES: usize = 6_000;

/// The part that is shown, seconds from the first picture.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Range {
    /// Its start; the first picture if not given.
    pub from: Option<f64>,
    /// Its end; the last one if not given.
    pub to: Option<f64>,
    /// The length of the part at the end, instead of both.
    pub last: Option<f64>,
}

/// The frames of a film.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The time that each frame shows, seconds from the first picture; at least one.
    pub frames: Vec<f64>,
    /// Frames a second.
    pub rate: f64,
}

impl Plan {
    /// The frames of `range` at `rate` frames a second, of pictures of `length` seconds, `speed_up`
    /// times as fast as they were taken.
    ///
    /// # Errors
    /// When the range has nothing, or more than [`MOST_FRAMES`].
    pub fn new(length: f64, range: Range, rate: f64, speed_up: f64) -> Result<Self, FilmError> {
        let from = match range.last {
            Some(last) => (length - last).max(0.0),
            None => range.from.unwrap_or(0.0),
        };
        let to = range.to.unwrap_or(length);
        let end = to.min(length);
        // Also false for what is no number.
        let is_range = from <= length && (from < to || (from == to && range.to.is_none()));
        if !is_range {
            return Err(FilmError::EmptyRange { from, to, length });
        }
        let step = speed_up / rate;
        // Rounding must not cost the last frame.
        let frames = ((end - from) / step + 1e-6).floor() + 1.0;
        if frames > MOST_FRAMES as f64 {
            return Err(FilmError::TooLong { frames });
        }
        let frames = (0..frames as u32).map(|index| from + f64::from(index) * step);
        Ok(Self {
            frames: frames.collect(),
            rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(length: f64, range: Range) -> Result<Vec<f64>, FilmError> {
        Plan::new(length, range, 10.0, 2.0).map(|plan| plan.frames)
    }

    fn range(from: Option<f64>, to: Option<f64>, last: Option<f64>) -> Range {
        Range { from, to, last }
    }

    #[test]
    fn frames_are_at_equal_times_from_the_start_to_the_end() {
        let all = plan(1.0, Range::default()).unwrap();
        assert_eq!(all.len(), 6);
        assert!((all[5] - 1.0).abs() < 1e-9, "{all:?}");
        let part = plan(1.0, range(Some(0.3), Some(0.75), None)).unwrap();
        assert_eq!(part.len(), 3);
        assert!((part[2] - 0.7).abs() < 1e-9, "{part:?}");
        let last = plan(1.0, range(None, None, Some(0.4))).unwrap();
        assert!(last.len() == 3 && (last[0] - 0.6).abs() < 1e-9, "{last:?}");
        // More than there is, and a single picture.
        assert_eq!(plan(1.0, range(None, Some(9.0), None)).unwrap(), all);
        assert_eq!(plan(1.0, range(None, None, Some(9.0))).unwrap(), all);
        assert_eq!(plan(0.0, Range::default()).unwrap(), [0.0]);
    }

    #[test]
    fn an_empty_or_a_very_long_range_is_refused() {
        for (from, to) in [(2.0, None), (0.5, Some(0.5)), (0.5, Some(0.2))] {
            let error = plan(1.0, range(Some(from), to, None)).unwrap_err();
            assert!(matches!(error, FilmError::EmptyRange { .. }), "{error}");
        }
        for length in [1e4, 1e300, f64::INFINITY] {
            let error = plan(length, Range::default()).unwrap_err();
            assert!(matches!(error, FilmError::TooLong { .. }), "{error}");
        }
        let error = plan(f64::NAN, Range::default()).unwrap_err();
        assert!(matches!(error, FilmError::EmptyRange { .. }), "{error}");
    }
}
