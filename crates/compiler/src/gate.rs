//! Measures an engine's error against fp32 and compares it with the limits.

use pilotage_engine::{GateResult, Output};
use pilotage_graph::Graph;

use crate::recipe::GateLimits;

/// Default limit of the root mean squared error, as a share of the span of fp32's answers.
const DEFAULT_ROOT: f64 = 0.02;
/// Default limit of the largest error of a frame, as a share of the same span.
const DEFAULT_WORST: f64 = 0.1;

/// One element of the network's outputs that is compared with fp32.
#[derive(Debug, Clone)]
struct Followed {
    output: Output,
    limits: GateLimits,
    /// Index in a frame's answer, in which all outputs are concatenated.
    place: usize,
    /// Scale of an integer output; multiplies the engine's value.
    unit: f32,
}

/// The answers of fp32, and the allowed errors.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    followed: Vec<Followed>,
    reference: Vec<Vec<f32>>,
}

impl Gate {
    /// `reference` is fp32's answers to the held-back frames. `outputs` are elements of the
    /// outputs of `graph`.
    pub(crate) fn new(
        graph: &Graph,
        outputs: &[(Output, GateLimits)],
        reference: Vec<Vec<f32>>,
    ) -> Self {
        let values = graph.outputs.iter().map(|&value| graph.value(value));
        let lengths: Vec<(&str, usize)> = values
            .map(|value| (value.name.as_str(), value.shape.iter().product()))
            .collect();
        Self::of_outputs(&lengths, outputs, reference)
    }

    /// Like [`new`](Self::new), for outputs with the given names and lengths.
    pub(crate) fn of_outputs(
        lengths: &[(&str, usize)],
        outputs: &[(Output, GateLimits)],
        reference: Vec<Vec<f32>>,
    ) -> Self {
        let place = |output: &Output| {
            let before = lengths.iter().take_while(|(name, _)| *name != output.name);
            before.map(|(_, length)| length).sum::<usize>() + output.index
        };
        let followed = outputs.iter().map(|(output, limits)| Followed {
            output: output.clone(),
            limits: *limits,
            place: place(output),
            unit: 1.0,
        });
        Self {
            followed: followed.collect(),
            reference,
        }
    }

    /// The answers of fp32.
    pub(crate) fn reference(&self) -> &[Vec<f32>] {
        &self.reference
    }

    /// The errors of `answers`. `units` has the scale of each integer output, by name.
    pub(crate) fn results(
        &self,
        form: &str,
        answers: &[Vec<f32>],
        units: &[(String, f32)],
    ) -> Vec<GateResult> {
        let result = |followed: &Followed| {
            let mut followed = followed.clone();
            for (name, unit) in units {
                if *name == followed.output.name {
                    followed.unit = *unit;
                }
            }
            followed.result(form, &self.reference, answers)
        };
        self.followed.iter().map(result).collect()
    }

    /// One error for all outputs: the sum of their mean squared errors, each divided by the
    /// variance of fp32's answers. Infinite if any error is not finite.
    pub(crate) fn error(&self, results: &[GateResult]) -> f64 {
        let each = self.followed.iter().zip(results).map(|(followed, result)| {
            let answers = followed.reference(&self.reference);
            let mean = answers.iter().sum::<f64>() / answers.len().max(1) as f64;
            let variance = answers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>()
                / answers.len().max(1) as f64;
            // If an output never changes, use its mean squared error without scaling.
            let unit = if variance > 0.0 { variance } else { 1.0 };
            result.mse / unit
        });
        let error: f64 = each.sum();
        if error.is_finite() {
            error
        } else {
            f64::INFINITY
        }
    }
}

impl Followed {
    /// fp32's value for each frame, in the output's physical unit.
    fn reference(&self, answers: &[Vec<f32>]) -> Vec<f64> {
        let scale = f64::from(self.output.scale);
        let number = |answer: &Vec<f32>| answer.get(self.place).copied().unwrap_or(f32::NAN);
        let each = answers.iter().map(number);
        each.map(|x| f64::from(x) * scale + f64::from(self.output.offset))
            .collect()
    }

    fn result(&self, form: &str, reference: &[Vec<f32>], answers: &[Vec<f32>]) -> GateResult {
        let expected = self.reference(reference);
        let offset = f64::from(self.output.offset);
        let scale = f64::from(self.output.scale) * f64::from(self.unit);
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for (frame, expected) in expected.iter().enumerate() {
            let found = answers.get(frame).and_then(|answer| answer.get(self.place));
            let found = found.map_or(f64::NAN, |&x| f64::from(x) * scale + offset);
            let deviation = (found - expected).abs();
            squares += deviation * deviation;
            // NaN counts as an infinite error.
            worst = match deviation.is_nan() {
                true => f64::INFINITY,
                false => worst.max(deviation),
            };
        }
        let mse = squares / expected.len().max(1) as f64;
        let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
        let most = expected.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let span = most - least;
        let root = DEFAULT_ROOT * span;
        GateResult {
            form: form.to_owned(),
            output: self.output.meaning.name().to_owned(),
            unit: self.output.meaning.unit().to_owned(),
            // JSON cannot represent infinity and NaN.
            mse: if mse.is_finite() { mse } else { f64::MAX },
            most_mse: self.limits.mse.unwrap_or(root * root),
            worst: if worst.is_finite() { worst } else { f64::MAX },
            most_worst: self.limits.worst.unwrap_or(DEFAULT_WORST * span),
        }
    }
}

#[cfg(test)]
mod tests;
