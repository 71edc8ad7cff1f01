//! How far an engine is from fp32, and whether that is near enough.

use pilotage_engine::{GateResult, Output};
use pilotage_graph::Graph;

use crate::recipe::GateLimits;

/// Where no limit is given: the root of the mean squared error as a share of the
/// span of fp32's answers.
const DEFAULT_ROOT: f64 = 0.02;
/// Likewise for the worst error of a frame.
const DEFAULT_WORST: f64 = 0.1;

/// One number of the network's, followed from fp32 to an engine.
#[derive(Debug, Clone)]
struct Followed {
    output: Output,
    limits: GateLimits,
    /// Its place in a frame's answers, outputs laid end to end.
    place: usize,
    /// Multiplies an engine's number: the scale of an integer output.
    unit: f32,
}

/// The answers of fp32, and what is allowed to differ.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    followed: Vec<Followed>,
    reference: Vec<Vec<f32>>,
}

impl Gate {
    /// `reference` is what fp32 answers to the held-back frames; `outputs` are
    /// numbers of the outputs of `graph`.
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

    /// As [`new`](Self::new), for outputs of these names and lengths.
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

    /// The error of `answers`, whose integer outputs count in `units` (one for each
    /// of the model's outputs, by name).
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

    /// One number for all outputs: mean squared errors over the variance of
    /// fp32's answers, summed. Infinite where anything is not finite.
    pub(crate) fn error(&self, results: &[GateResult]) -> f64 {
        let each = self.followed.iter().zip(results).map(|(followed, result)| {
            let answers = followed.reference(&self.reference);
            let mean = answers.iter().sum::<f64>() / answers.len().max(1) as f64;
            let variance = answers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>()
                / answers.len().max(1) as f64;
            // An output that never changes is measured in its own unit.
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
    /// fp32's number for each frame, in the car's unit.
    fn reference(&self, answers: &[Vec<f32>]) -> Vec<f64> {
        let scale = f64::from(self.output.scale);
        let number = |answer: &Vec<f32>| answer.get(self.place).copied().unwrap_or(f32::NAN);
        let each = answers.iter().map(number);
        each.map(|x| f64::from(x) * scale + f64::from(self.output.offset))
            .collect()
    }

    fn result(&self, form: &str, reference: &[Vec<f32>], answers: &[Vec<f32>]) -> GateResult {
        let wanted = self.reference(reference);
        let offset = f64::from(self.output.offset);
        let scale = f64::from(self.output.scale) * f64::from(self.unit);
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for (frame, wanted) in wanted.iter().enumerate() {
            let found = answers.get(frame).and_then(|answer| answer.get(self.place));
            let found = found.map_or(f64::NAN, |&x| f64::from(x) * scale + offset);
            let miss = (found - wanted).abs();
            squares += miss * miss;
            // A number that is none is as wrong as can be.
            worst = match miss.is_nan() {
                true => f64::INFINITY,
                false => worst.max(miss),
            };
        }
        let mse = squares / wanted.len().max(1) as f64;
        let least = wanted.iter().copied().fold(f64::INFINITY, f64::min);
        let most = wanted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let span = most - least;
        let root = DEFAULT_ROOT * span;
        GateResult {
            form: form.to_owned(),
            output: self.output.meaning.name().to_owned(),
            unit: self.output.meaning.unit().to_owned(),
            // JSON has no infinities and no NaN.
            mse: if mse.is_finite() { mse } else { f64::MAX },
            most_mse: self.limits.mse.unwrap_or(root * root),
            worst: if worst.is_finite() { worst } else { f64::MAX },
            most_worst: self.limits.worst.unwrap_or(DEFAULT_WORST * span),
        }
    }
}

#[cfg(test)]
mod tests;
