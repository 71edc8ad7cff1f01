//! The forward pass of one step.

use std::mem::take;

use crate::kernels::normalization::drop;
use crate::kernels::quantized::{Rounding, integers};
use crate::kernels::{add_row, unary::Unary};
use crate::random::Random;
use crate::step::{Kernel, Step};

use super::{Context, Shard};

impl Step {
    /// Computes the output of this step, the `at`-th of the plan.
    pub(crate) fn forward(&self, at: usize, context: &Context<'_>, shard: &mut Shard) {
        match &self.kernel {
            Kernel::InPlace(function) => {
                function.forward_in_place(&mut shard.values[self.output]);
                return;
            }
            Kernel::Moments { norm } => {
                let of = &context.plan.norms[*norm];
                if context.training {
                    shard.sums[*norm] = of.channels.moments(shard.data(context, &self.inputs[0]));
                }
                return;
            }
            _ => {}
        }
        let mut output = take(&mut shard.values[self.output]);
        match &self.kernel {
            Kernel::Convolution {
                quantized: Some(layer),
                ..
            }
            | Kernel::Linear {
                quantized: Some(layer),
                ..
            } => output = self.integer_layer(at, context, shard, (*layer, output)),
            Kernel::Dropout { share } => {
                self.dropout(at, context, shard, (*share, &mut output[..]));
            }
            Kernel::MaxPool(pooling) => {
                let mut chosen = take(&mut shard.chosen[at]);
                let x = shard.data(context, &self.inputs[0]);
                pooling.max(x, &mut output, &mut chosen);
                shard.chosen[at] = chosen;
            }
            Kernel::Round { group } => {
                let rounding = Rounding::int8(context.scales[*group]);
                let x = shard.data(context, &self.inputs[0]);
                let largest = rounding.forward(x, &mut output);
                let observed = &mut shard.observed[*group].largest;
                *observed = observed.max(largest);
            }
            _ => self.plain(context, shard, &mut output),
        }
        shard.values[self.output] = output;
    }

    /// The steps without state of their own.
    fn plain(&self, context: &Context<'_>, shard: &mut Shard, output: &mut [f32]) {
        let mut scratch = take(&mut shard.scratch);
        let x = shard.data(context, &self.inputs[0]);
        let second = || shard.data(context, &self.inputs[1]);
        let bias = || {
            let bias = self.inputs.get(2);
            bias.map(|bias| shard.data(context, bias))
        };
        match &self.kernel {
            Kernel::Convolution {
                convolution, relu, ..
            } => {
                convolution.forward(x, second(), output, &mut scratch[0]);
                finish(output, bias(), 1.0, convolution.output[2], *relu);
            }
            Kernel::Linear {
                linear, beta, relu, ..
            } => {
                linear.forward(x, second(), output);
                finish(output, bias(), *beta, linear.outputs, *relu);
            }
            Kernel::Product(product) => product.forward([x, second()], output, shard.count),
            Kernel::Normalize { norm } => {
                let of = &context.plan.norms[*norm];
                let statistics = &context.norms[*norm].statistics;
                let parameters = [second(), bias().unwrap_or_default()];
                of.channels.normalize(x, statistics, parameters, output);
            }
            Kernel::AveragePool(pooling) => pooling.mean(x, output),
            Kernel::Unary(function) => function.forward(x, output),
            Kernel::Binary(binary) => binary.forward([x, second()], output, shard.count),
            Kernel::Reduce(reduce) => reduce.forward(x, output),
            Kernel::Softmax(softmax) => softmax.forward(x, output),
            Kernel::Moves(moves) => {
                if let Some(fill) = moves.fill {
                    output.fill(fill);
                }
                let size = output.len() / shard.count.max(1);
                for (index, input) in self.inputs.iter().enumerate() {
                    let data = shard.data(context, input);
                    for (sample, output) in output.chunks_exact_mut(size.max(1)).enumerate() {
                        let from = match input.used() {
                            Some(_) => data,
                            None => &data[sample * input.size..][..input.size],
                        };
                        moves.forward(index, from, output);
                    }
                }
            }
            // The other kernels are computed by their own functions.
            Kernel::MaxPool(_)
            | Kernel::Moments { .. }
            | Kernel::InPlace(_)
            | Kernel::Round { .. }
            | Kernel::Dropout { .. } => {}
        }
        shard.scratch = scratch;
    }

    /// A layer in integers.
    fn integer_layer(
        &self,
        at: usize,
        context: &Context<'_>,
        shard: &mut Shard,
        (layer, output): (usize, Vec<f32>),
    ) -> Vec<f32> {
        let state = &context.layers[layer];
        let [mut patches, mut input] = take(&mut shard.scratch);
        let x = shard.data(context, &self.inputs[0]);
        integers(x, state.input_scale, &mut input);
        let len = output.len();
        let mut sums = vec![output];
        sums.resize_with(state.parts.len().max(1), || vec![0.0; len]);
        for (part, sums) in state.parts.iter().zip(&mut sums) {
            match &self.kernel {
                Kernel::Convolution { convolution, .. } => {
                    convolution.forward(&input, part, sums, &mut patches);
                }
                Kernel::Linear { linear, .. } => linear.forward(&input, part, sums),
                _ => {}
            }
        }
        let quotients = &mut shard.saved[at];
        quotients.resize(len, 0.0);
        let largest = state.epilogue.forward(&mut sums, len, quotients);
        if let Some((group, _)) = context.plan.layers[layer].output {
            let observed = &mut shard.observed[group].largest;
            *observed = observed.max(largest);
        }
        shard.scratch = [patches, input];
        sums.swap_remove(0)
    }

    fn dropout(
        &self,
        at: usize,
        context: &Context<'_>,
        shard: &mut Shard,
        (share, output): (f32, &mut [f32]),
    ) {
        let mut factors = take(&mut shard.saved[at]);
        factors.resize(output.len(), 0.0);
        output.copy_from_slice(shard.data(context, &self.inputs[0]));
        if context.training {
            let size = self.inputs[0].size.max(1);
            let samples = output.chunks_exact_mut(size);
            let samples = samples.zip(factors.chunks_exact_mut(size));
            for ((output, factors), &seed) in samples.zip(&shard.seeds) {
                drop(share, &mut Random::stream(seed, at as u64), output, factors);
            }
        } else {
            factors.fill(1.0);
        }
        shard.saved[at] = factors;
    }
}

/// Adds the bias, a row or one element, and cuts off negative outputs.
fn finish(output: &mut [f32], bias: Option<&[f32]>, beta: f32, width: usize, relu: bool) {
    match bias {
        Some(row) if beta == 1.0 && row.len() == width && relu => {
            for values in output.chunks_exact_mut(width.max(1)) {
                for (value, add) in values.iter_mut().zip(row) {
                    *value = Unary::Relu.at(*value + add);
                }
            }
            return;
        }
        Some(row) if beta == 1.0 && row.len() == width => add_row(output, row),
        Some(row) => {
            for (index, value) in output.iter_mut().enumerate() {
                *value += beta * row[index % width % row.len()];
            }
        }
        None => {}
    }
    if relu {
        Unary::Relu.forward_in_place(output);
    }
}
