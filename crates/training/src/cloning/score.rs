//! The error on held-back frames, beside that of simple answers.

use std::fmt;

use pilotage_engine::Meaning;

/// Errors of a list of answers, in the car's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Mean absolute error.
    pub mean_absolute: f64,
    /// Root of the mean squared error.
    pub root_mean_square: f64,
}

impl Errors {
    fn of(errors: impl Iterator<Item = f64>) -> Self {
        let (count, absolute, square) = errors.fold((0.0, 0.0, 0.0), |(n, a, s), error| {
            (n + 1.0, a + error.abs(), s + error * error)
        });
        let count = f64::max(count, 1.0);
        Self {
            mean_absolute: absolute / count,
            root_mean_square: (square / count).sqrt(),
        }
    }
}

/// The errors of one control on the held-back frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The control.
    pub meaning: Meaning,
    /// The network's errors.
    pub network: Errors,
    /// The mean of the network's answer minus the recorded value.
    pub bias: f64,
    /// The errors of always answering 0, straight ahead; for steering and yaw rate.
    pub straight: Option<Errors>,
    /// The errors of always answering the mean of the learned frames.
    pub mean: Errors,
}

impl Score {
    /// Compares answers with recorded values; `mean` is that of the learned frames.
    pub fn of(meaning: Meaning, pairs: &[(f32, f32)], mean: f64) -> Self {
        let errors = || {
            pairs
                .iter()
                .map(|&(answer, label)| f64::from(answer) - f64::from(label))
        };
        let constant = |answer: f64| Errors::of(pairs.iter().map(|&(_, l)| answer - f64::from(l)));
        let turns = matches!(meaning, Meaning::Steering | Meaning::YawRate);
        Self {
            meaning,
            network: Errors::of(errors()),
            bias: errors().sum::<f64>() / pairs.len().max(1) as f64,
            straight: turns.then(|| constant(0.0)),
            mean: constant(mean),
        }
    }

    /// Whether the network's squared error is smaller than that of every simple answer.
    pub fn is_better(&self) -> bool {
        let least = |errors: Errors| self.network.root_mean_square < errors.root_mean_square;
        least(self.mean) && self.straight.is_none_or(least)
    }
}

/// A table of scores for the operator.
pub struct ScoreTable<'a>(pub &'a [Score]);

impl fmt::Display for ScoreTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:28} {:>13} {:>13} {:>9}",
            "error on held-back frames", "mean absolute", "root m. square", "bias"
        )?;
        for score in self.0 {
            let name = format!("{} ({})", score.meaning.name(), score.meaning.unit());
            line(f, &name, score.network, Some(score.bias))?;
            if let Some(straight) = score.straight {
                line(f, "  always straight", straight, None)?;
            }
            line(f, "  always the mean of training", score.mean, None)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, errors: Errors, bias: Option<f64>) -> fmt::Result {
    let (absolute, square) = (errors.mean_absolute, errors.root_mean_square);
    write!(f, "\n{name:28} {absolute:13.4} {square:14.4}")?;
    match bias {
        Some(bias) => write!(f, " {bias:+9.4}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_definitions() {
        let pairs = [(0.5, 0.0), (-0.5, -1.0), (0.0, 1.0)];
        let score = Score::of(Meaning::Steering, &pairs, 0.25);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(score.network.mean_absolute, 2.0 / 3.0);
        close(score.network.root_mean_square, 0.5_f64.sqrt());
        close(score.bias, 0.0);
        close(
            score.straight.unwrap().root_mean_square,
            (2.0_f64 / 3.0).sqrt(),
        );
        close(score.mean.mean_absolute, (0.25 + 1.25 + 0.75) / 3.0);
        assert!(score.is_better());
        let throttle = Score::of(Meaning::Throttle, &[(0.2, 0.1)], 0.1);
        assert_eq!(throttle.straight, None);
        assert!(!throttle.is_better());
        let table = ScoreTable(&[score, throttle]).to_string();
        assert_eq!(table.lines().count(), 1 + 3 + 2, "{table}");
    }
}
