//! Measures an engine's error against fp32 and compares it with the limits, when the engine is
//! compiled and again on the machine that runs it.

mod part;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{BoundPath, GateResult, Output, PathSpeed};

pub use part::{Gated, GatedPart};

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

/// The largest allowed errors of a decoded path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathLimits {
    /// Of the curvature, 1/m.
    pub curvature: GateLimits,
    /// Of the speed that follows from the points, m/s.
    pub speed: GateLimits,
    /// Of the points, or the mask; see [`BoundPath::distance`].
    pub path: GateLimits,
}

impl PathLimits {
    /// How many results a path has: its curvature, its speed if it follows from the points, and itself.
    pub(crate) fn count(path: &BoundPath) -> usize {
        2 + usize::from(has_speed(path))
    }

    /// The limits of the results in their order.
    pub(crate) fn of(path: &BoundPath, limits: impl Fn(usize) -> GateLimits) -> Self {
        Self {
            curvature: limits(0),
            speed: limits(1),
            path: limits(Self::count(path) - 1),
        }
    }
}

/// Whether the speed follows from the points, and is no output of its own.
fn has_speed(path: &BoundPath) -> bool {
    matches!(path.decoder().speed, PathSpeed::Period(_))
}

/// The answers of fp32, and the allowed errors.
///
/// A frame's answer is the network's outputs in the model's order, concatenated.
#[derive(Debug, Clone)]
pub struct Gate {
    parts: Vec<Gated>,
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
        let parts = outputs.iter().map(|(output, limits)| Gated {
            part: GatedPart::Output(output.clone()),
            limits: *limits,
            place: place(output),
        });
        Self {
            parts: parts.collect(),
            reference,
        }
    }

    /// Also compares what a decoded path commands, and the path itself. After the outputs come the
    /// curvature, the speed if it follows from the points, and the path.
    #[must_use]
    pub fn with_path(mut self, path: BoundPath, limits: PathLimits) -> Self {
        let path = Arc::new(path);
        let mut add = |part: fn(Arc<BoundPath>) -> GatedPart, limits| {
            self.parts.push(Gated {
                part: part(Arc::clone(&path)),
                limits,
                place: 0,
            });
        };
        add(GatedPart::Curvature, limits.curvature);
        if has_speed(&path) {
            add(GatedPart::PathSpeed, limits.speed);
        }
        add(GatedPart::Path, limits.path);
        self
    }

    /// What is compared.
    #[must_use]
    pub fn parts(&self) -> &[Gated] {
        &self.parts
    }

    /// The answers of fp32, one for each frame.
    #[must_use]
    pub fn reference(&self) -> &[Vec<f32>] {
        &self.reference
    }

    /// The errors of `answers`, one answer for each frame. An answer that is missing or not finite
    /// never passes, nor does one of which only fp32's, or only this, is a path. `units` has the scale
    /// of each integer output, by name; `form` names what computed the answers.
    #[must_use]
    pub fn results(
        &self,
        form: &str,
        answers: &[Vec<f32>],
        units: &[(String, f32)],
    ) -> Vec<GateResult> {
        let result = |part: &Gated| part.result(form, units, &self.reference, answers);
        self.parts.iter().map(result).collect()
    }
}

#[cfg(test)]
mod tests;
