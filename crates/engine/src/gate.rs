//! Measures an engine's error against fp32 and compares it with the limits, when the engine is
//! compiled and again on the machine that runs it.

use serde::{Deserialize, Serialize};

use crate::{Decode, GateResult, Meaning, Output};

/// Default limit of the root mean squared error, as a share of the span of fp32's answers.
const DEFAULT_ROOT: f64 = 0.02;
/// Default limit of the largest error of a frame, as a share of the same span.
const DEFAULT_WORST: f64 = 0.1;

/// The largest allowed error of an engine against fp32, in the output's physical unit (after
/// scale and offset).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// Mean squared error. If absent, the square of 2 % of the span of fp32's answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// Error of a single frame. If absent, 10 % of the span of fp32's answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<f64>,
}

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

/// One element of the network's outputs that is compared with fp32.
#[derive(Debug, Clone)]
pub struct GatedOutput {
    output: Output,
    limits: GateLimits,
    /// Index in a frame's answer, in which all outputs are concatenated.
    place: usize,
}

/// The answers of fp32, and the allowed errors.
///
/// A frame's answer is the network's outputs in the model's order, concatenated.
#[derive(Debug, Clone)]
pub struct Gate {
    outputs: Vec<GatedOutput>,
    reference: Vec<Vec<f32>>,
}

impl Gate {
    /// `lengths` has the name and the number of elements of each output of the network, in the
    /// model's order. `outputs` are elements of these. `reference` has fp32's answer to each frame.
    #[must_use]
    pub fn new(
        lengths: &[(&str, usize)],
        outputs: &[(Output, GateLimits)],
        reference: Vec<Vec<f32>>,
    ) -> Self {
        let place = |output: &Output| {
            let before = lengths.iter().take_while(|(name, _)| *name != output.name);
            before.map(|(_, length)| length).sum::<usize>() + output.index
        };
        let outputs = outputs.iter().map(|(output, limits)| GatedOutput {
            output: output.clone(),
            limits: *limits,
            place: place(output),
        });
        Self {
            outputs: outputs.collect(),
            reference,
        }
    }

    /// The outputs that are compared.
    #[must_use]
    pub fn outputs(&self) -> &[GatedOutput] {
        &self.outputs
    }

    /// The answers of fp32, one for each frame.
    #[must_use]
    pub fn reference(&self) -> &[Vec<f32>] {
        &self.reference
    }

    /// The errors of `answers`, one answer for each frame. An answer that is missing or not finite
    /// never passes. `units` has the scale of each integer output, by name; `form` names what
    /// computed the answers.
    #[must_use]
    pub fn results(
        &self,
        form: &str,
        answers: &[Vec<f32>],
        units: &[(String, f32)],
    ) -> Vec<GateResult> {
        let result = |compared: &GatedOutput| {
            let unit = units
                .iter()
                .rfind(|(name, _)| *name == compared.output.name);
            let unit = unit.map_or(1.0, |(_, unit)| *unit);
            compared.result(form, unit, &self.reference, answers)
        };
        self.outputs.iter().map(result).collect()
    }
}

impl GatedOutput {
    /// What the element means.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// fp32's value for a frame, in the output's physical unit.
    #[must_use]
    pub fn value(&self, answer: &[f32]) -> f64 {
        let number = self.output.number(self.elements(answer));
        f64::from(number) * f64::from(self.output.scale) + f64::from(self.output.offset)
    }

    /// The frame's answer from the output's first element on; empty if the answer is too short.
    #[must_use]
    pub fn elements<'a>(&self, answer: &'a [f32]) -> &'a [f32] {
        answer.get(self.place..).unwrap_or_default()
    }

    /// The least and the largest value, in the output's physical unit. Both are NaN if any value
    /// is.
    #[must_use]
    pub fn span<'a>(&self, answers: impl IntoIterator<Item = &'a Vec<f32>>) -> (f64, f64) {
        let each = answers.into_iter().map(|answer| self.value(answer));
        each.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), x| match x.is_nan() || least.is_nan() {
                true => (f64::NAN, f64::NAN),
                false => (least.min(x), most.max(x)),
            },
        )
    }

    /// `unit` is the scale of an integer output. Bins are decoded in the same way with any scale.
    fn result(
        &self,
        form: &str,
        unit: f32,
        reference: &[Vec<f32>],
        answers: &[Vec<f32>],
    ) -> GateResult {
        let offset = f64::from(self.output.offset);
        let unit = match self.output.bins {
            Some(_) => 1.0,
            None => f64::from(unit),
        };
        let scale = f64::from(self.output.scale) * unit;
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for (frame, expected) in reference.iter().enumerate() {
            let found = answers.get(frame).map_or(&[][..], |a| self.elements(a));
            let found = f64::from(self.output.number(found)) * scale + offset;
            let deviation = (found - self.value(expected)).abs();
            squares += deviation * deviation;
            // NaN counts as an infinite error.
            worst = match deviation.is_nan() {
                true => f64::INFINITY,
                false => worst.max(deviation),
            };
        }
        let mse = squares / reference.len().max(1) as f64;
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
