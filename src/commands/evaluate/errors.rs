//! The errors of an engine's answers to a recording.

use anyhow::{bail, ensure};
use pilotage_dataset::Recording;
use pilotage_simulator::{SPEED_MIN_AND_SPAN, YAW_RATE_MIN_AND_SPAN};
use pilotage_vehicle::Mixer;
use serde::{Deserialize, Serialize};

use crate::replay::answers::Answers;
use crate::replay::compare::{Pair, Pairs, Quantity, Unit};

/// The errors of one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OutputError {
    /// `steering`, `throttle`, `speed` or `yaw_rate`.
    pub output: String,
    pub unit: String,
    /// The frames whose record has the value.
    pub frames: usize,
    /// The normalized error is the error divided by this.
    pub span: f64,
    /// Mean squared error, in the unit squared.
    pub mse: f64,
    /// Mean absolute error, in the unit.
    pub mae: f64,
    /// The largest error, in the unit.
    pub worst: f64,
    #[serde(rename = "mse_normalised")]
    pub mse_normalized: f64,
    #[serde(rename = "worst_normalised")]
    pub worst_normalized: f64,
}

/// The span that errors are normalized with: that of Behavior Metrics and of its networks' training,
/// or 1 for what is from -1 to 1.
fn span(quantity: Quantity) -> f64 {
    match quantity {
        Quantity::Steering | Quantity::Throttle => 1.0,
        Quantity::Speed => SPEED_MIN_AND_SPAN.1,
        Quantity::YawRate => YAW_RATE_MIN_AND_SPAN.1,
    }
}

impl OutputError {
    fn of(quantity: Quantity, pairs: &[Pair]) -> Self {
        let count = pairs.len().max(1) as f64;
        let over = |value: fn(f64) -> f64| pairs.iter().map(move |pair| value(pair.error()));
        let span = span(quantity);
        let mse = over(|error| error * error).sum::<f64>() / count;
        let worst = over(f64::abs).fold(0.0, f64::max);
        Self {
            output: quantity.name().to_owned(),
            unit: quantity.unit().to_owned(),
            frames: pairs.len(),
            span,
            mse,
            mae: over(f64::abs).sum::<f64>() / count,
            worst,
            mse_normalized: mse / (span * span),
            worst_normalized: worst / span,
        }
    }
}

/// The errors of each output that was recorded. An engine that only steers has no error of the
/// throttle, which its recipe sets.
///
/// # Errors
/// Fails if an answer is not a number, or nothing can be compared.
pub(super) fn of(
    recording: &Recording,
    answers: &Answers,
    unit: Unit,
    mixer: &Mixer,
    steers_only: bool,
) -> anyhow::Result<Vec<OutputError>> {
    let mut outputs = Vec::new();
    for quantity in unit.quantities() {
        if steers_only && !quantity.is_lateral() {
            continue;
        }
        let Pairs { pairs, not_finite } = Pairs::of(recording, answers, quantity, mixer);
        if not_finite > 0 {
            bail!(
                "engine `{}`: {not_finite} answers for {} are not numbers: its error cannot be \
                 computed; `pilotage replay` shows the frames",
                answers.engine,
                quantity.name()
            );
        }
        if !pairs.is_empty() {
            outputs.push(OutputError::of(quantity, &pairs));
        }
    }
    ensure!(
        !outputs.is_empty(),
        "{}: it has no recorded value of the outputs of engine `{}`",
        recording.folder().display(),
        answers.engine
    );
    Ok(outputs)
}

/// The errors of all outputs together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Together {
    /// The mean of the normalized mean squared errors.
    pub mse: f64,
    /// The largest normalized error.
    pub worst: f64,
}

pub(super) fn together(outputs: &[OutputError]) -> Together {
    let count = outputs.len().max(1) as f64;
    Together {
        mse: outputs.iter().map(|it| it.mse_normalized).sum::<f64>() / count,
        worst: (outputs.iter()).fold(0.0, |worst, it| it.worst_normalized.max(worst)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(errors: &[f64]) -> Vec<Pair> {
        let pair = |(index, error): (usize, &f64)| Pair {
            index,
            time: None,
            recorded: 8.0,
            predicted: 8.0 + error,
        };
        errors.iter().enumerate().map(pair).collect()
    }

    #[test]
    fn errors_by_hand() {
        let speed = OutputError::of(Quantity::Speed, &pairs(&[1.75, -3.5, 0.0]));
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-12, "{one} {other}");
        near(speed.mse, (1.75 * 1.75 + 3.5 * 3.5) / 3.0);
        // In the network's own unit: 0.1 and 0.2.
        near(speed.mse_normalized, 0.05 / 3.0);
        near(speed.mae, 5.25 / 3.0);
        near(speed.worst, 3.5);
        near(speed.worst_normalized, 0.2);
        let yaw = OutputError::of(Quantity::YawRate, &pairs(&[1.42, 1.42, 0.0]));
        near(yaw.mse_normalized, 0.02 / 3.0);
        let both = together(&[speed, yaw]);
        near(both.mse, 0.5 * 0.07 / 3.0);
        near(both.worst, 0.2);
        let steering = OutputError::of(Quantity::Steering, &pairs(&[0.5]));
        near(steering.mse_normalized, 0.25);
    }
}
