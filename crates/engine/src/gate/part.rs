//! One number that is compared with fp32.

use std::sync::Arc;

use super::GateLimits;
use crate::{BoundPath, Decode, GateResult, Meaning, Output};

/// Default limit of the root mean squared error, as a share of the span of fp32's answers.
const DEFAULT_ROOT: f64 = 0.02;
/// Default limit of the largest error of a frame, as a share of the same span.
const DEFAULT_WORST: f64 = 0.1;

/// One number that is compared with fp32.
#[derive(Debug, Clone)]
pub struct Gated {
    pub(super) part: GatedPart,
    pub(super) limits: GateLimits,
    /// Index in a frame's answer, in which all outputs are concatenated; of an [`Output`].
    pub(super) place: usize,
}

/// What is compared.
#[derive(Debug, Clone)]
pub enum GatedPart {
    /// An element of the network's outputs, or bins.
    Output(Output),
    /// The curvature that a decoded path commands.
    Curvature(Arc<BoundPath>),
    /// The speed that a decoded path commands.
    PathSpeed(Arc<BoundPath>),
    /// The path itself, by [`BoundPath::distance`].
    Path(Arc<BoundPath>),
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

/// The least default limits of a curvature, as [`floors`]. A step of a servo turns a car with a wheelbase
/// of 0.25 m by 0.02 1/m.
const CURVATURE_FLOORS: (f64, f64) = (0.02, 0.06);

/// The least default limits of a speed.
const SPEED_FLOORS: (f64, f64) = (0.02, 0.1);

/// The least default limits of points or a mask, in the units of [`BoundPath::compared`].
const PATH_FLOORS: (f64, f64) = (0.005, 0.02);

impl Gated {
    /// What is compared.
    #[must_use]
    pub fn part(&self) -> &GatedPart {
        &self.part
    }

    /// The element of the network's outputs, if it is one.
    #[must_use]
    pub fn output(&self) -> Option<&Output> {
        match &self.part {
            GatedPart::Output(output) => Some(output),
            _ => None,
        }
    }

    /// The name, for display.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.part {
            GatedPart::Output(output) => output.meaning.name(),
            GatedPart::Curvature(_) => "curvature",
            GatedPart::PathSpeed(_) => Meaning::Speed.name(),
            GatedPart::Path(path) => path.compared().0,
        }
    }

    fn unit(&self) -> &'static str {
        match &self.part {
            GatedPart::Output(output) => output.meaning.unit(),
            GatedPart::Curvature(_) => "1/m",
            GatedPart::PathSpeed(_) => Meaning::Speed.unit(),
            GatedPart::Path(path) => path.compared().1,
        }
    }

    /// fp32's value for a frame, in the car's unit. NaN if the answer is not a number or no path, and
    /// for a path itself, which is more than one number.
    #[must_use]
    pub fn value(&self, answer: &[f32]) -> f64 {
        self.value_in(1.0, answer)
    }

    /// `unit` is the scale of an integer output. Bins are decoded in the same way with any scale.
    fn value_in(&self, unit: f32, answer: &[f32]) -> f64 {
        let command = |path: &BoundPath| path.command(answer).ok();
        match &self.part {
            GatedPart::Output(output) => {
                let unit = match output.bins {
                    Some(_) => 1.0,
                    None => f64::from(unit),
                };
                let number = output.number(self.elements(answer));
                f64::from(number) * (f64::from(output.scale) * unit) + f64::from(output.offset)
            }
            GatedPart::Curvature(path) => command(path).map_or(f64::NAN, |it| it.curvature),
            GatedPart::PathSpeed(path) => command(path).map_or(f64::NAN, |it| it.speed),
            GatedPart::Path(_) => f64::NAN,
        }
    }

    /// The frame's answer from the output's first element on; empty if the answer is too short.
    #[must_use]
    pub fn elements<'a>(&self, answer: &'a [f32]) -> &'a [f32] {
        answer.get(self.place..).unwrap_or_default()
    }

    /// The least and the largest value, in the car's unit; of a path the sides between which its
    /// points lie. Both are NaN if any value is, except that frames without a path are left out.
    #[must_use]
    pub fn span<'a>(&self, answers: impl IntoIterator<Item = &'a Vec<f32>>) -> (f64, f64) {
        let each = answers.into_iter().map(|answer| match &self.part {
            GatedPart::Path(path) => path.side(answer),
            _ => {
                let value = self.value(answer);
                (value, value)
            }
        });
        let is_path = self.output().is_none();
        let each = each.filter(|(least, _)| !(is_path && least.is_nan()));
        each.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), (low, high)| match low.is_nan() || least.is_nan() {
                true => (f64::NAN, f64::NAN),
                false => (least.min(low), most.max(high)),
            },
        )
    }

    /// The error of an answer, in the car's unit.
    fn deviation(&self, unit: f32, expected: &[f32], found: &[f32]) -> f64 {
        if let GatedPart::Path(path) = &self.part {
            return path.distance(expected, found);
        }
        let (expected, found) = (self.value(expected), self.value_in(unit, found));
        // The car stops for both.
        let none = self.output().is_none() && expected.is_nan() && found.is_nan();
        if none { 0.0 } else { (found - expected).abs() }
    }

    fn floors(&self) -> (f64, f64) {
        match &self.part {
            GatedPart::Output(output) => floors(output),
            GatedPart::Curvature(_) => CURVATURE_FLOORS,
            GatedPart::PathSpeed(_) => SPEED_FLOORS,
            GatedPart::Path(_) => PATH_FLOORS,
        }
    }

    /// `units` has the scale of each integer output, by name.
    pub(super) fn result(
        &self,
        form: &str,
        units: &[(String, f32)],
        reference: &[Vec<f32>],
        answers: &[Vec<f32>],
    ) -> GateResult {
        let of_output = |output: &Output| units.iter().rfind(|(name, _)| *name == output.name);
        let unit = self.output().and_then(of_output);
        let unit = unit.map_or(1.0, |(_, unit)| *unit);
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for (frame, expected) in reference.iter().enumerate() {
            let found = answers.get(frame).map_or(&[][..], |answer| answer);
            let deviation = self.deviation(unit, expected, found);
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
        let (least_root, least_worst) = self.floors();
        let root = (DEFAULT_ROOT * span).max(least_root);
        GateResult {
            form: form.to_owned(),
            output: self.name().to_owned(),
            unit: self.unit().to_owned(),
            // JSON cannot represent infinity and NaN.
            mse: if mse.is_finite() { mse } else { f64::MAX },
            most_mse: self.limits.mse.unwrap_or(root * root),
            worst: if worst.is_finite() { worst } else { f64::MAX },
            most_worst: (self.limits.worst).unwrap_or((DEFAULT_WORST * span).max(least_worst)),
        }
    }
}
