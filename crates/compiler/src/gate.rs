//! Checks that fp32's answers are worth comparing with, and ranks the forms of an engine by their
//! error.

use pilotage_engine::{Decode, Gate, GateResult, Gated, GatedPart, Meaning, NoPath};
use pilotage_graph::Graph;

/// An output that changes by less over all frames does not depend on them; in the output's unit. A
/// hundredth of a servo's step.
const STILL: f64 = 1e-4;

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

/// The recipe's decoder finds no path in fp32's answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "[decoder] finds no path that the car can follow on {frames} of {of} held-back frames, on which \
     the car would stop: on one, {reason}. Check `threshold`, `camera`, the scales and the order of \
     the coordinates, and whether the frames show the road"
)]
pub struct WithoutPath {
    /// How many frames have none.
    pub frames: usize,
    /// How many frames there are.
    pub of: usize,
    /// Why the first of them has none.
    pub reason: NoPath,
}

/// The held-back frames on which fp32's answers are no path.
pub(crate) fn without_path(gate: &Gate) -> Option<WithoutPath> {
    let path = gate.parts().iter().find_map(|part| match part.part() {
        GatedPart::Curvature(path) => Some(path),
        _ => None,
    })?;
    let answers = gate.reference().iter();
    let missing: Vec<NoPath> = answers.filter_map(|it| path.command(it).err()).collect();
    Some(WithoutPath {
        frames: missing.len(),
        of: gate.reference().len(),
        reason: *missing.first()?,
    })
}

/// The name and the number of elements of each output of `graph`.
pub(crate) fn lengths(graph: &Graph) -> Vec<(&str, usize)> {
    let values = graph.outputs.iter().map(|&value| graph.value(value));
    values
        .map(|value| (value.name.as_str(), value.shape.iter().product()))
        .collect()
}

/// Whether the network ignores its frames: its steering or yaw rate, or every output, is the
/// same for all held-back frames and for those with the answers `others`.
pub(crate) fn constant_output(gate: &Gate, others: &[Vec<f32>]) -> Option<Still> {
    let answers = gate.reference().iter().chain(others);
    let constant = |part: &&Gated| is_still(part, answers.clone());
    let still: Vec<&Gated> = gate.parts().iter().filter(constant).collect();
    let steers = |part: &&Gated| match part.part() {
        GatedPart::Output(output) => matches!(output.meaning, Meaning::Steering | Meaning::YawRate),
        GatedPart::Curvature(_) => true,
        GatedPart::PathSpeed(_) | GatedPart::Path(_) => false,
    };
    if still.len() < gate.parts().len() && !still.iter().any(steers) {
        return None;
    }
    let named = still.iter().map(|output| {
        let (value, _) = output.span(gate.reference());
        format!("{} ({value:.4})", output.name())
    });
    Some(Still {
        frames: gate.reference().len() + others.len(),
        what: named.collect::<Vec<_>>().join(" and "),
    })
}

/// Whether all `answers` are the same, within [`STILL`]. Answers that are not finite are errors
/// of their own.
fn is_still<'a>(output: &Gated, answers: impl Iterator<Item = &'a Vec<f32>> + Clone) -> bool {
    if matches!(output.part(), GatedPart::Path(_)) {
        return false;
    }
    let (least, most) = output.span(answers.clone());
    let alike = least.is_finite() && most - least < STILL;
    // The same bin may win on all frames of a straight road.
    let bins = output.output().and_then(|output| output.bins);
    let bins = bins.map_or(0, |bins| bins.count);
    alike
        && (0..bins).all(|bin| {
            let each = answers.clone().filter_map(|a| output.elements(a).get(bin));
            let (least, most) = each.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, m), &x| {
                (l.min(x), m.max(x))
            });
            f64::from(most) - f64::from(least) < STILL
        })
}

/// An output whose elements should be probabilities, but are not on some frame.
pub(crate) fn no_probabilities(gate: &Gate) -> Option<NoProbabilities> {
    let expected = gate.parts().iter().filter_map(|part| {
        let output = part.output()?;
        let decode = output.bins.as_ref()?.decode;
        (decode == Decode::Expectation).then_some((part, output))
    });
    expected
        .flat_map(|it| gate.reference().iter().map(move |answer| (it, answer)))
        .find_map(|((part, output), answer)| {
            let elements = part.elements(answer).iter().take(output.elements());
            let sum: f64 = elements.clone().map(|&x| f64::from(x)).sum();
            let least = elements.copied().fold(f32::INFINITY, f32::min);
            let probable = least >= -SUM_ERROR as f32 && (sum - 1.0).abs() <= SUM_ERROR;
            (!probable).then(|| NoProbabilities {
                output: output.name.clone(),
                least,
                sum,
            })
        })
}

/// One error for all outputs: the sum of their mean squared errors in `results`, each divided by
/// the variance of fp32's answers. Infinite if any error is not finite.
pub(crate) fn error(gate: &Gate, results: &[GateResult]) -> f64 {
    let each = gate.parts().iter().zip(results).map(|(part, result)| {
        if matches!(part.part(), GatedPart::Path(_)) {
            // In shares of the range of the points, or of the pixels.
            let (least, most) = part.span(gate.reference());
            let range = (most - least).max(f64::MIN_POSITIVE);
            return result.mse / (range * range);
        }
        let answers = gate.reference().iter().map(|answer| part.value(answer));
        // Frames without a path have no value.
        let answers: Vec<f64> = match part.output() {
            Some(_) => answers.collect(),
            None => answers.filter(|it| it.is_finite()).collect(),
        };
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

#[cfg(test)]
mod tests;
