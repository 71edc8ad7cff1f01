//! Rounds the weights of large fully connected layers to 4-bit integers times a whole number for
//! each group of inputs.
//!
//! The result is an INT8 layer whose weights need half the bytes: the scale of a unit stays a
//! float, that of a group is a whole number on top of it, so that all sums stay integers. Lin,
//! Tang, Yang et al., "QServe: W4A8KV4 Quantization and System Co-design for Efficient LLM
//! Serving" (MLSys 2025), section 4.1, uses such scales of two levels.

use pilotage_engine::plan::{ConstantData, ConstantId, Operand, Operation, Plan};

/// The sizes of groups that the engine's kernels have.
pub(crate) const INT4_GROUPS: [usize; 2] = [64, 128];

/// Layers with fewer weights keep 8 bits: they are not limited by reading their weights.
const LEAST: usize = 512 << 10;
/// The largest magnitude of an integer; the range is symmetric.
const LARGEST: i32 = 7;
/// The largest scale of a group: times [`LARGEST`] it is an 8-bit integer.
const LARGEST_SCALE: i32 = i8::MAX as i32 / LARGEST;

/// Rounds the weights of the plan's fully connected INT8 layers of at least [`LEAST`] weights.
/// Groups are consecutive inputs in the plan's order.
pub(crate) fn round_to_int4(plan: &mut Plan, group: usize) {
    let mut rounded: Vec<ConstantId> = Vec::new();
    for step in &plan.steps {
        if let Operation::QuantizedFullyConnected { weights, .. } = step.operation
            && !rounded.contains(&weights)
            && !is_operand(plan, weights)
        {
            rounded.push(weights);
        }
    }
    let errors = squared_errors();
    for ConstantId(id) in rounded {
        let constant = &mut plan.constants[id];
        let row = constant.shape.last().copied().unwrap_or(0);
        if let ConstantData::I8(weights) = &mut constant.data
            && weights.len() >= LEAST
            && row > 0
        {
            for row in weights.chunks_mut(row) {
                for group in row.chunks_mut(group) {
                    round_group(group, &errors);
                }
            }
        }
    }
}

/// Whether a step or output also reads the constant as a tensor.
fn is_operand(plan: &Plan, id: ConstantId) -> bool {
    let inputs = plan.steps.iter().flat_map(|step| &step.inputs);
    let outputs = plan.outputs.iter().map(|port| &port.operand);
    let mut operands = inputs.chain(outputs);
    operands.any(|&operand| operand == Operand::Constant(id))
}

/// The squared error of each weight with each scale: a row of 256 for each scale from 1 on, in the
/// order of the weights' bits.
fn squared_errors() -> Vec<[u32; 256]> {
    let of = |scale: i32| {
        std::array::from_fn(|bits| {
            let weight = (bits as u8).cast_signed();
            (i32::from(weight) - rounded(weight, scale))
                .unsigned_abs()
                .pow(2)
        })
    };
    (1..=LARGEST_SCALE).map(of).collect()
}

/// Rounds a group with the scale that gives the smallest squared error, the smallest of several.
fn round_group(weights: &mut [i8], errors: &[[u32; 256]]) {
    let error = |errors: &[u32; 256]| -> u64 {
        let of = |weight: &i8| u64::from(errors[usize::from(weight.cast_unsigned())]);
        weights.iter().map(of).sum()
    };
    let scales = (1..).zip(errors);
    let best = scales.min_by_key(|(_, errors)| error(errors));
    let best = best.map_or(1, |(scale, _)| scale);
    for weight in weights {
        // The scale is at most `LARGEST_SCALE`, so that the product fits.
        *weight = rounded(*weight, best) as i8;
    }
}

/// The nearest multiple of `scale` by a 4-bit integer; a half is rounded to even.
fn rounded(weight: i8, scale: i32) -> i32 {
    let quotient = (f64::from(weight) / f64::from(scale)).round_ties_even() as i32;
    quotient.clamp(-LARGEST, LARGEST) * scale
}

#[cfg(test)]
mod tests;
