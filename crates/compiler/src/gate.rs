//! Measures an engine's error against fp32 and compares it with the limits.

use pilotage_engine::{Decode, GateResult, Meaning, Output};
use pilotage_graph::Graph;

use crate::recipe::GateLimits;

/// Default limit of the root mean squared error, as a share of the span of fp32's answers.
const DEFAULT_ROOT: f64 = 0.02;
/// Default limit of the largest error of a frame, as a share of the same span.
const DEFAULT_WORST: f64 = 0.1;

/// An output that changes by less over all frames does not depend on them; in the output's unit. A
/// hundredth of a servo's step.
const STILL: f64 = 1e-4;

/// The least default limits of an output, of the root mean squared error and of the error of a
/// frame, in its unit. No car shows such an error: a step of a servo is 0.01 of the steering (a
/// PCA9685 at 60 Hz and a servo of 400 us to each side).
///
/// Where the largest of several bins decides, a frame between two bins may go to either: an error of
/// one bin is allowed on a sixteenth of the frames.
fn floors(output: &Output) -> (f64, f64) {
    let (root, worst): (f64, f64) = match output.meaning {
        Meaning::Steering => (0.01, 0.03),
        Meaning::Throttle => (0.005, 0.02),
        Meaning::Speed | Meaning::YawRate => (0.02, 0.1),
    };
    match &output.bins {
        Some(bins) if bins.decode == Decode::Argmax => {
            let step = (bins.step() * f64::from(output.scale)).abs();
            // A little more than a step, for rounding.
            (root.max(step / 4.0), worst.max(1.001 * step))
        }
        _ => (root, worst),
    }
}

/// A network's answers do not change over the frames.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "the network answers all {frames} frames with the same {what}, so it does not drive by its \
     camera; no precision corrects that: check the training, and whether [input] (scale, mean, std, \
     colour, crop) is that of the training"
)]
pub struct Still {
    /// How many frames there were.
    pub frames: usize,
    /// The outputs that are always the same, and their values.
    pub what: String,
}

/// How far the sum of probabilities may be from 1.
const SUM_ERROR: f64 = 0.02;

/// The elements of an output are not the probabilities that its decoder needs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "the elements of `{output}` are not probabilities (on one frame the least is {least:.3} and the \
     sum {sum:.3}), which decode = \"expectation\" needs; for a model without a softmax at its end \
     use decode = \"softmax\""
)]
pub struct NoProbabilities {
    /// The output's name.
    pub output: String,
    /// The least element.
    pub least: f32,
    /// The sum of the elements.
    pub sum: f64,
}

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

    /// Whether the network ignores its frames: its steering or yaw rate, or every output, is the
    /// same for all held-back frames and for those with the answers `others`.
    pub(crate) fn constant_output(&self, others: &[Vec<f32>]) -> Option<Still> {
        let answers = self.reference.iter().chain(others);
        let constant = |followed: &&Followed| followed.is_still(answers.clone());
        let still: Vec<&Followed> = self.followed.iter().filter(constant).collect();
        let steers = |followed: &&Followed| {
            matches!(
                followed.output.meaning,
                Meaning::Steering | Meaning::YawRate
            )
        };
        if still.len() < self.followed.len() && !still.iter().any(steers) {
            return None;
        }
        let named = still.iter().map(|followed| {
            let (value, _) = followed.span(&self.reference);
            format!("{} ({value:.4})", followed.output.meaning.name())
        });
        Some(Still {
            frames: self.reference.len() + others.len(),
            what: named.collect::<Vec<_>>().join(" and "),
        })
    }

    /// An output whose elements should be probabilities, but are not on some frame.
    pub(crate) fn no_probabilities(&self) -> Option<NoProbabilities> {
        let expected = self.followed.iter().filter(|followed| {
            let bins = followed.output.bins.as_ref();
            bins.is_some_and(|bins| bins.decode == Decode::Expectation)
        });
        expected
            .flat_map(|followed| self.reference.iter().map(move |answer| (followed, answer)))
            .find_map(|(followed, answer)| {
                let elements = followed
                    .elements(answer)
                    .iter()
                    .take(followed.output.elements());
                let sum: f64 = elements.clone().map(|&x| f64::from(x)).sum();
                let least = elements.copied().fold(f32::INFINITY, f32::min);
                let probable = least >= -SUM_ERROR as f32 && (sum - 1.0).abs() <= SUM_ERROR;
                (!probable).then(|| NoProbabilities {
                    output: followed.output.name.clone(),
                    least,
                    sum,
                })
            })
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
        answers.iter().map(|answer| self.value(answer)).collect()
    }

    /// fp32's value for a frame, in the output's physical unit.
    fn value(&self, answer: &[f32]) -> f64 {
        let number = self.output.number(self.elements(answer));
        f64::from(number) * f64::from(self.output.scale) + f64::from(self.output.offset)
    }

    /// The frame's answer from the output's first element on.
    fn elements<'a>(&self, answer: &'a [f32]) -> &'a [f32] {
        answer.get(self.place..).unwrap_or_default()
    }

    /// Whether all `answers` are the same, within [`STILL`]. Answers that are not finite are errors
    /// of their own.
    fn is_still<'a>(&self, answers: impl Iterator<Item = &'a Vec<f32>> + Clone) -> bool {
        let (least, most) = self.span(answers.clone());
        let alike = least.is_finite() && most - least < STILL;
        // The same bin may win on all frames of a straight road.
        alike
            && (0..self.output.bins.map_or(0, |bins| bins.count)).all(|bin| {
                let each = answers.clone().filter_map(|a| self.elements(a).get(bin));
                let (least, most) = each.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, m), &x| {
                    (l.min(x), m.max(x))
                });
                f64::from(most) - f64::from(least) < STILL
            })
    }

    /// The least and the largest value. Both are NaN if any value is.
    fn span<'a>(&self, answers: impl IntoIterator<Item = &'a Vec<f32>>) -> (f64, f64) {
        let each = answers.into_iter().map(|answer| self.value(answer));
        each.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), x| match x.is_nan() || least.is_nan() {
                true => (f64::NAN, f64::NAN),
                false => (least.min(x), most.max(x)),
            },
        )
    }

    fn result(&self, form: &str, reference: &[Vec<f32>], answers: &[Vec<f32>]) -> GateResult {
        let expected = self.reference(reference);
        let offset = f64::from(self.output.offset);
        let unit = if self.output.bins.is_some() {
            1.0
        } else {
            f64::from(self.unit)
        };
        let scale = f64::from(self.output.scale) * unit;
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for (frame, expected) in expected.iter().enumerate() {
            let found = answers.get(frame).map_or(&[][..], |a| self.elements(a));
            let found = f64::from(self.output.number(found)) * scale + offset;
            let deviation = (found - expected).abs();
            squares += deviation * deviation;
            // NaN counts as an infinite error.
            worst = match deviation.is_nan() {
                true => f64::INFINITY,
                false => worst.max(deviation),
            };
        }
        let mse = squares / expected.len().max(1) as f64;
        let (least, most) = self.span(reference);
        // Answers that are not finite have no span, and never pass.
        let span = Some(most - least).filter(|span| span.is_finite());
        let span = span.unwrap_or(0.0);
        let (least_root, least_worst) = floors(&self.output);
        let root = (DEFAULT_ROOT * span).max(least_root);
        GateResult {
            form: form.to_owned(),
            output: self.output.meaning.name().to_owned(),
            unit: self.output.meaning.unit().to_owned(),
            // JSON cannot represent infinity and NaN.
            mse: if mse.is_finite() { mse } else { f64::MAX },
            most_mse: self.limits.mse.unwrap_or(root * root),
            worst: if worst.is_finite() { worst } else { f64::MAX },
            most_worst: (self.limits.worst).unwrap_or((DEFAULT_WORST * span).max(least_worst)),
        }
    }
}

#[cfg(test)]
mod tests;
