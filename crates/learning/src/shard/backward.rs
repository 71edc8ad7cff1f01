//! The backward pass of one step.

use std::mem::take;

use crate::kernels::convolution::Gradients;
use crate::kernels::pool::Pooling;
use crate::kernels::quantized::Rounding;
use crate::kernels::{sum_rows, unary::Unary};
use crate::step::{Input, Kernel, Step};

use super::{Context, Shard};

impl Step {
    /// Computes the gradients of this step's inputs, the `at`-th step of the plan.
    pub(crate) fn backward(&self, at: usize, context: &Context<'_>, shard: &mut Shard) {
        if let Kernel::Moments { norm } = self.kernel {
            return self.through_statistics(norm, context, shard);
        }
        let needs = &context.plan.slots[self.output];
        if !needs.needs_gradient {
            return;
        }
        let mut gradient = take(&mut shard.gradients[self.output]);
        match &self.kernel {
            Kernel::InPlace(function) => {
                function.backward_in_place(&shard.values[self.output], &mut gradient);
            }
            Kernel::Convolution { .. } | Kernel::Linear { .. } => {
                self.layer(at, context, shard, &mut gradient);
            }
            Kernel::Normalize { norm } => self.normalization(*norm, context, shard, &gradient),
            Kernel::Round { group } => {
                let rounding = Rounding::int8(context.scales[*group]);
                let x = shard.data(context, &self.inputs[0]);
                let by_scale = rounding.backward(x, &mut gradient);
                shard.observed[*group].gradient += by_scale;
                self.pass_on(shard, |to, accumulate| {
                    for (to, &g) in to.iter_mut().zip(&gradient) {
                        accumulate.put(to, g);
                    }
                });
            }
            Kernel::Dropout { .. } => {
                let factors = take(&mut shard.saved[at]);
                self.pass_on(shard, |to, accumulate| {
                    for ((to, g), factor) in to.iter_mut().zip(&gradient).zip(&factors) {
                        accumulate.put(to, g * factor);
                    }
                });
                shard.saved[at] = factors;
            }
            Kernel::MaxPool(_) => {
                let chosen = take(&mut shard.chosen[at]);
                self.pass_on(shard, |to, accumulate| {
                    Pooling::max_backward(&gradient, &chosen, to, accumulate);
                });
                shard.chosen[at] = chosen;
            }
            _ => self.inputs_gradients(context, shard, &gradient),
        }
        shard.gradients[self.output] = gradient;
    }

    /// Stores the gradient of the first input, if it is needed.
    fn pass_on(
        &self,
        shard: &mut Shard,
        store: impl FnOnce(&mut [f32], crate::kernels::Accumulate),
    ) {
        let input = &self.inputs[0];
        let Some(accumulate) = input.gradient else {
            return;
        };
        let mut to = shard.take_gradient(input);
        store(&mut to, accumulate);
        shard.put_gradient(input, to);
    }

    /// Operators whose inputs' gradients are computed one by one.
    fn inputs_gradients(&self, context: &Context<'_>, shard: &mut Shard, gradient: &[f32]) {
        for (index, input) in self.inputs.iter().enumerate() {
            let Some(accumulate) = input.gradient else {
                continue;
            };
            let mut to = shard.take_gradient(input);
            let data = |index: usize| shard.data(context, &self.inputs[index]);
            let output = &shard.values[self.output];
            let batch = (gradient, shard.count);
            match &self.kernel {
                Kernel::Product(product) => {
                    let operands = [data(0), data(1)];
                    product.backward(index, operands, batch, &mut to, accumulate);
                }
                Kernel::Binary(binary) => {
                    let operands = [data(0), data(1)];
                    binary.backward(index, operands, batch, &mut to, accumulate);
                }
                Kernel::AveragePool(pooling) => {
                    pooling.mean_backward(gradient, &mut to, accumulate);
                }
                Kernel::Unary(function) => {
                    function.backward((data(0), output), gradient, &mut to, accumulate);
                }
                Kernel::Reduce(reduce) => {
                    reduce.backward((data(0), output), gradient, &mut to, accumulate);
                }
                Kernel::Softmax(softmax) => {
                    softmax.backward(output, gradient, &mut to, accumulate);
                }
                Kernel::Moves(moves) if input.used().is_some() => {
                    // Every sample reads the same constant.
                    accumulate.start(&mut to);
                    let size = gradient.len() / shard.count.max(1);
                    for gradient in gradient.chunks_exact(size.max(1)) {
                        let add = crate::kernels::Accumulate::Add;
                        moves.backward(index, (gradient, 1), &mut to, add);
                    }
                }
                Kernel::Moves(moves) => moves.backward(index, batch, &mut to, accumulate),
                // The other kernels have functions of their own.
                _ => {}
            }
            shard.put_gradient(input, to);
        }
    }

    /// A layer with weights. The output's gradient is masked in place.
    fn layer(&self, at: usize, context: &Context<'_>, shard: &mut Shard, gradient: &mut [f32]) {
        let (relu, quantized, width) = match &self.kernel {
            Kernel::Convolution {
                convolution,
                relu,
                quantized,
            } => (*relu, *quantized, convolution.output[2]),
            Kernel::Linear {
                linear,
                relu,
                quantized,
                ..
            } => (*relu, *quantized, linear.outputs),
            _ => return,
        };
        let output = &shard.values[self.output];
        if relu {
            Unary::Relu.backward_in_place(output, gradient);
        }
        if let Some(layer) = quantized {
            let epilogue = &context.layers[layer].epilogue;
            let by_scale = epilogue.backward(output, &shard.saved[at], gradient);
            if let Some((group, _)) = context.plan.layers[layer].output {
                shard.observed[group].gradient += by_scale;
            }
        }
        if let Some(bias) = self.inputs.get(2)
            && bias.gradient.is_some()
        {
            let mut to = shard.take_gradient(bias);
            self.bias_gradient(gradient, width, &mut to);
            shard.put_gradient(bias, to);
        }
        self.products(context, shard, (gradient, quantized));
    }

    fn bias_gradient(&self, gradient: &[f32], width: usize, to: &mut [f32]) {
        if to.len() == width {
            sum_rows(gradient, to);
        } else {
            // One element for all units.
            to.fill(gradient.iter().sum());
        }
        if let Kernel::Linear { beta, .. } = self.kernel
            && beta != 1.0
        {
            to.iter_mut().for_each(|to| *to *= beta);
        }
    }

    /// The gradients of a layer's input and weights.
    fn products(
        &self,
        context: &Context<'_>,
        shard: &mut Shard,
        (gradient, quantized): (&[f32], Option<usize>),
    ) {
        let [x, weights] = [&self.inputs[0], &self.inputs[1]];
        let take_needed = |shard: &mut Shard, input: &Input| {
            let needed = input.gradient.is_some();
            needed.then(|| shard.take_gradient(input))
        };
        let mut to_input = take_needed(shard, x);
        let mut to_weights = take_needed(shard, weights);
        let mut scratch = take(&mut shard.scratch);
        let input = shard.data(context, x);
        let values = match quantized {
            Some(layer) => &context.layers[layer].weights,
            None => shard.data(context, weights),
        };
        match &self.kernel {
            Kernel::Convolution { convolution, .. } => {
                let to = Gradients {
                    input: to_input.as_deref_mut().zip(x.gradient),
                    weights: to_weights.as_deref_mut(),
                };
                convolution.backward(input, values, gradient, to, &mut scratch);
            }
            Kernel::Linear { linear, .. } => {
                if let Some(to) = &mut to_weights {
                    linear.weight_gradient(input, gradient, to);
                }
                if let Some((to, accumulate)) = to_input.as_deref_mut().zip(x.gradient) {
                    linear.input_gradient(values, gradient, to, accumulate);
                }
            }
            _ => {}
        }
        shard.scratch = scratch;
        if let Some(to) = to_input {
            shard.put_gradient(x, to);
        }
        if let Some(to) = to_weights {
            shard.put_gradient(weights, to);
        }
    }

    /// Scale and bias of a batch normalization, and its input if the statistics are constants.
    fn normalization(
        &self,
        norm: usize,
        context: &Context<'_>,
        shard: &mut Shard,
        gradient: &[f32],
    ) {
        let channels = context.plan.norms[norm].channels;
        let statistics = &context.norms[norm].statistics;
        let x = shard.data(context, &self.inputs[0]);
        let sums = channels.gradient_sums(x, statistics, gradient);
        for (input, sums) in self.inputs[1..].iter().zip([&sums[1], &sums[0]]) {
            if input.gradient.is_some() {
                let mut to = shard.take_gradient(input);
                for (to, &sum) in to.iter_mut().zip(sums) {
                    *to = sum as f32;
                }
                shard.put_gradient(input, to);
            }
        }
        shard.sums[norm] = sums;
        let input = &self.inputs[0];
        if let Some(accumulate) = input.gradient {
            let mut to = shard.take_gradient(input);
            let values = (shard.data(context, input), statistics);
            let scale = shard.data(context, &self.inputs[1]);
            channels.input_gradient(values, scale, (gradient, None), &mut to, accumulate);
            shard.put_gradient(input, to);
        }
    }

    /// The input of a batch normalization with the batch's statistics. The step after this one is
    /// the normalization.
    fn through_statistics(&self, norm: usize, context: &Context<'_>, shard: &mut Shard) {
        let input = &self.inputs[0];
        let follower = context
            .plan
            .steps
            .iter()
            .find(|step| matches!(step.kernel, Kernel::Normalize { norm: of } if of == norm));
        let (Some(accumulate), Some(follower)) = (input.gradient, follower) else {
            return;
        };
        let state = &context.norms[norm];
        let mut to = shard.take_gradient(input);
        let values = (shard.data(context, input), &state.statistics);
        let scale = shard.data(context, &follower.inputs[1]);
        let gradient = &shard.gradients[follower.output];
        let channels = context.plan.norms[norm].channels;
        let gradient = (&gradient[..], state.means.as_ref());
        channels.input_gradient(values, scale, gradient, &mut to, accumulate);
        shard.put_gradient(input, to);
    }
}
