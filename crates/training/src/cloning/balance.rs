//! Balances straight driving against bends.
//!
//! Most frames of a drive are nearly straight, and a network that answers "straight" has a small
//! error on them. Frames are therefore resampled by the histogram of their steering: each pass
//! draws a frame of a bin with `n` frames with a probability proportional to 1 / sqrt(n).
//! Resampling rather than weighting, because a few heavily weighted frames make the gradient of a
//! batch noisy, and because a frame that is drawn twice is augmented differently each time. The
//! square root rather than 1 / n, because full equality lets outliers and recording errors dominate.

use pilotage_simulator::Random;

/// Bins of the histogram: the middle one is straight ahead.
const BINS: usize = 21;
/// The largest ratio of two frames' probabilities.
const LARGEST_RATIO: f64 = 4.0;
/// Steering nearer to 0 than this share of its range is called straight.
const STRAIGHT: f64 = 0.05;

/// How often each frame is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// The expected number of draws of each frame in a pass; their sum is the number of frames.
    expected: Vec<f64>,
    /// The share of frames that are straight.
    pub straight: f64,
    /// The share of draws that are straight.
    pub straight_drawn: f64,
}

impl Balance {
    /// Balances frames by `steering`, in any unit. Without `balance`, each frame is drawn once in a
    /// pass.
    pub fn of(steering: &[f32], balance: bool) -> Self {
        let largest = steering
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()));
        let bin = |value: f32| match largest > 0.0 {
            true => {
                let place = (f64::from(value / largest) + 1.0) / 2.0 * BINS as f64;
                (place as usize).min(BINS - 1)
            }
            false => BINS / 2,
        };
        let mut counts = [0usize; BINS];
        for &value in steering {
            counts[bin(value)] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let ratio = |value: f32| match balance {
            true => (most / counts[bin(value)] as f64).sqrt().min(LARGEST_RATIO),
            false => 1.0,
        };
        let mut expected: Vec<f64> = steering.iter().map(|&value| ratio(value)).collect();
        let sum: f64 = expected.iter().sum();
        let count = steering.len() as f64;
        for expected in &mut expected {
            *expected *= count / sum;
        }
        let is_straight =
            |value: f32| f64::from(value.abs()) < STRAIGHT * f64::from(largest.max(1e-6));
        let straight = steering.iter().zip(&expected);
        let (frames, drawn) = straight
            .filter(|(value, _)| is_straight(**value))
            .fold((0.0, 0.0), |(frames, drawn), (_, expected)| {
                (frames + 1.0, drawn + expected)
            });
        Self {
            expected,
            straight: frames / count.max(1.0),
            straight_drawn: drawn / count.max(1.0),
        }
    }

    /// Draws the frames of a pass, in a random order: systematic sampling, which draws a frame of
    /// expectation e either floor(e) or ceil(e) times.
    pub fn draw(&self, random: &mut Random) -> Vec<usize> {
        let mut sum = random.unit();
        let mut drawn = Vec::with_capacity(self.expected.len() + 1);
        for (index, expected) in self.expected.iter().enumerate() {
            let before = sum.floor();
            sum += expected;
            let times = (sum.floor() - before) as usize;
            drawn.extend(std::iter::repeat_n(index, times));
        }
        random.shuffle(&mut drawn);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_steering_is_drawn_more_often_and_nothing_is_lost() {
        // 900 straight frames, 90 in a bend to the left, 10 in a sharp bend to the right.
        let mut steering = vec![0.0; 900];
        steering.extend(vec![0.5; 90]);
        steering.extend(vec![-1.0; 10]);
        let balance = Balance::of(&steering, true);
        assert!((balance.straight - 0.9).abs() < 1e-12);
        let mut times = vec![0usize; 1000];
        for pass in 0..100 {
            let drawn = balance.draw(&mut Random::new(pass));
            assert!((999..=1001).contains(&drawn.len()), "{}", drawn.len());
            for index in drawn {
                times[index] += 1;
            }
        }
        let mean = |range: std::ops::Range<usize>| {
            let count = range.len() as f64;
            times[range].iter().sum::<usize>() as f64 / count / 100.0
        };
        // sqrt(900 / 90) = 3.16, and sqrt(900 / 10) = 9.5, which is limited to 4.
        let (straight, left, right) = (mean(0..900), mean(900..990), mean(990..1000));
        assert!((left / straight - 3.162).abs() < 0.1, "{left} {straight}");
        assert!((right / straight - 4.0).abs() < 0.15, "{right} {straight}");
        assert!(times.iter().all(|&times| times > 0));
        assert!((balance.straight_drawn - 0.9 * straight).abs() < 0.01);
    }

    #[test]
    fn without_balance_every_frame_is_drawn_once() {
        let balance = Balance::of(&[0.0, 0.0, 1.0, -0.3], false);
        let mut drawn = balance.draw(&mut Random::new(2));
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 3]);
        assert_eq!(
            Balance::of(&[0.0; 5], true).draw(&mut Random::new(1)).len(),
            5
        );
    }
}
