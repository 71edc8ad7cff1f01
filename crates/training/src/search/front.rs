//! The engines that no other surpasses.

use std::time::Duration;

/// What an engine costs and gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merit {
    /// Its error on held-back frames; see [`crate::optimise::task::Task::error`].
    pub error: f64,
    /// The median time of one inference.
    pub time: Duration,
    /// The size of its weights as the engine file stores them.
    pub bytes: usize,
}

impl Merit {
    /// Whether this is at least as good in everything, and better in something, than `other` with
    /// `slack` times its error.
    fn surpasses(&self, other: &Self, slack: f64) -> bool {
        let error = other.error * slack;
        let is_as_good =
            self.error <= error && self.time <= other.time && self.bytes <= other.bytes;
        is_as_good && (self.error < error || self.time < other.time || self.bytes < other.bytes)
    }
}

/// Whether each is on the Pareto front: no other is at least as good in error, time and size, and
/// better in one of them. With a `slack` below 1, an engine is passed over only if the other's error
/// is smaller than this share of its own; with 1, that is the front itself.
pub fn front(merits: &[Merit], slack: f64) -> Vec<bool> {
    let is_on = |merit: &Merit| !merits.iter().any(|other| other.surpasses(merit, slack));
    merits.iter().map(is_on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merit(error: f64, micros: u64, bytes: usize) -> Merit {
        Merit {
            error,
            time: Duration::from_micros(micros),
            bytes,
        }
    }

    #[test]
    fn the_front_has_all_that_are_best_in_some_way() {
        let merits = [
            merit(0.10, 80, 1600),
            merit(0.12, 40, 800),
            // Slower than the second, and not more accurate.
            merit(0.12, 50, 800),
            // The smallest.
            merit(0.30, 90, 100),
            merit(0.11, 85, 1700),
        ];
        assert_eq!(front(&merits, 1.0), [true, true, false, true, false]);
        // 0.10 is not much smaller than 0.11, but 0.12 of the same size is not smaller at all.
        assert_eq!(front(&merits, 0.8), [true; 5]);
    }

    #[test]
    fn equal_engines_are_both_on_the_front() {
        let merits = [merit(0.1, 10, 10); 2];
        assert_eq!(front(&merits, 1.0), [true, true]);
    }
}
