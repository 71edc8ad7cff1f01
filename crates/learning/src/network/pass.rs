//! Forward and backward passes over a batch.

use std::ops::Range;

use crate::kernels::normalization::Statistics;
use crate::loss::Loss;
use crate::parallel;
use crate::parameter::Parameter;
use crate::plan::Plan;
use crate::shard::{Context, NormState, Packed, Shard};
use crate::step::Kernel;

use super::{Network, Work};

/// Samples that one part of a batch of [`Network::answers`] has.
const TOGETHER: usize = 16;
/// Elements of a gradient that are summed at a time.
const CHUNK: usize = 1 << 14;

/// One sample of a batch, to be filled.
#[derive(Debug)]
pub struct Example<'a> {
    /// The elements of each input, in the graph's order.
    pub inputs: Vec<&'a mut [f32]>,
    /// The expected outputs, one output after the other; 0 at first. Empty for
    /// [`Network::answers`].
    pub targets: &'a mut [f32],
    /// The weight of each output element's loss; 1 at first. Empty for [`Network::answers`].
    pub weights: &'a mut [f32],
    /// The seed of the sample's dropout; 0 at first.
    pub seed: u64,
}

/// Writes the sample of the given index. Called from several threads in any order.
pub type Fill<'a> = dyn Fn(usize, &mut Example<'_>) + Sync + 'a;

/// The losses of a batch, before the step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses {
    /// The weighted loss: the mean over samples and output elements.
    pub mean: f64,
    /// For each output element, the sum over the samples of the squared errors, without weights.
    pub squared: Vec<f64>,
}

impl Network {
    /// The outputs of `count` samples, sample after sample, in the form of inference: running
    /// statistics, no dropout.
    pub fn answers(&mut self, count: usize, fill: &Fill<'_>) -> Vec<f32> {
        let mut answers = Vec::with_capacity(count * self.output_size());
        let batch = self.parts * TOGETHER;
        for first in (0..count).step_by(batch.max(1)) {
            let samples = first..count.min(first + batch);
            self.pass(samples, None, fill);
            for work in &self.work {
                answers.extend_from_slice(&work.answers);
            }
        }
        answers
    }

    /// Runs `count` samples forward in the form of training and backward. Each parameter has the
    /// gradient of the mean loss afterwards.
    pub fn gradients(&mut self, count: usize, loss: Loss, fill: &Fill<'_>) -> Losses {
        self.pass(0..count, Some(loss), fill);
        let outputs = self.output_size();
        let mut losses = Losses {
            mean: 0.0,
            squared: vec![0.0; outputs],
        };
        for work in &self.work {
            losses.mean += work.loss;
            for (sum, squared) in losses.squared.iter_mut().zip(&work.squared) {
                *sum += squared;
            }
        }
        losses.mean /= (count * outputs).max(1) as f64;
        self.sum_gradients();
        losses
    }

    /// The gradient of the loss by the elements of an input, sample after sample, if
    /// [`set_input_gradients`](Self::set_input_gradients) is set. Empty otherwise.
    pub fn input_gradient(&self, input: usize) -> Vec<f32> {
        let Some(&slot) = self.plan.inputs.get(input) else {
            return Vec::new();
        };
        let parts = self.work.iter();
        parts
            .flat_map(|work| work.shard.gradients[slot].iter().copied())
            .collect()
    }

    /// One pass over `samples`; backward too if there is a loss.
    fn pass(&mut self, samples: Range<usize>, loss: Option<Loss>, fill: &Fill<'_>) {
        let count = samples.len();
        let part = count.div_ceil(self.parts).max(1);
        self.work.resize_with(count.div_ceil(part), Work::default);
        let weights = packed(&self.plan, &self.parameters);
        let (layers, scales) = match &self.quantization {
            Some(quantization) => {
                let layers = quantization.layers(&self.plan, &self.parameters, self.threads);
                (layers, quantization.scales())
            }
            None => (Vec::new(), Vec::new()),
        };
        let training = loss.is_some();
        let of_batch = |norm: usize| training && self.plan.norms[norm].of_batch;
        for (index, norm) in self.plan.norms.iter().enumerate() {
            let [mean, variance] = norm.running.map(|p| self.parameters[p].values());
            self.norms[index] = NormState {
                statistics: Statistics::new(mean, variance, norm.epsilon),
                means: None,
            };
        }
        let plan = &self.plan;
        let threads = self.threads;
        parallel::for_each(&mut self.work, threads, |index, work| {
            let first = samples.start + index * part;
            let last = samples.end.min(first + part);
            work.start(plan, first..last, (training, scales.len()), fill);
        });
        let mut moments: Vec<Option<[Vec<f32>; 2]>> = vec![None; plan.norms.len()];
        let segments = segments(plan);
        macro_rules! context {
            () => {
                Context {
                    plan,
                    weights: &weights,
                    norms: &self.norms,
                    layers: &layers,
                    scales: &scales,
                    training,
                }
            };
        }
        for segment in &segments {
            let context = context!();
            parallel::for_each(&mut self.work, threads, |_, work| {
                for at in segment.clone() {
                    plan.steps[at].forward(at, &context, &mut work.shard);
                }
            });
            if let Some(norm) = joint(plan, segment).filter(|&norm| of_batch(norm)) {
                let joined = join(&self.work, norm, plan.norms[norm].channels.channels);
                let elements = plan.norms[norm]
                    .channels
                    .count(plan.norms[norm].size * count);
                let [mean, variance] = mean_and_variance(&joined, elements);
                let epsilon = plan.norms[norm].epsilon;
                self.norms[norm].statistics = Statistics::new(&mean, &variance, epsilon);
                moments[norm] = Some([mean, unbiased(&variance, elements)]);
            }
        }
        parallel::for_each(&mut self.work, threads, |_, work| {
            work.finish_forward(plan, loss, count);
        });
        if training {
            for segment in segments.iter().rev() {
                if let Some(norm) = joint(plan, segment).filter(|&norm| of_batch(norm)) {
                    let of = &plan.norms[norm];
                    let elements = of.channels.count(of.size * count).max(1) as f64;
                    let mut means = join(&self.work, norm, of.channels.channels);
                    means.iter_mut().flatten().for_each(|sum| *sum /= elements);
                    self.norms[norm].means = Some(means);
                }
                let context = context!();
                parallel::for_each(&mut self.work, threads, |_, work| {
                    for at in segment.clone().rev() {
                        plan.steps[at].backward(at, &context, &mut work.shard);
                    }
                });
            }
        }
        drop(weights);
        self.keep_moments(moments);
    }

    /// Mixes the batch's statistics into the running ones.
    fn keep_moments(&mut self, moments: Vec<Option<[Vec<f32>; 2]>>) {
        for (norm, moments) in self.plan.norms.iter().zip(moments) {
            let Some(moments) = moments else {
                continue;
            };
            for (parameter, of_batch) in norm.running.into_iter().zip(moments) {
                let parameter = &mut self.parameters[parameter];
                let mut running = parameter.latent().to_vec();
                let (keep, rest) = (self.momentum as f32, (1.0 - self.momentum) as f32);
                for (running, new) in running.iter_mut().zip(of_batch) {
                    *running = keep * *running + rest * new;
                }
                parameter.set_latent(&running);
            }
        }
    }

    /// Sums the gradients of all parts, in their order, to those of the parameters.
    fn sum_gradients(&mut self) {
        let mut uses = vec![Vec::new(); self.parameters.len()];
        for (index, used) in self.plan.uses.iter().enumerate() {
            uses[used.parameter].push(index);
        }
        let (plan, work) = (&self.plan, &self.work);
        for (index, parameter) in self.parameters.iter_mut().enumerate() {
            if !self.settings.trained[index] {
                parameter.gradient.clear();
                continue;
            }
            let len = parameter.len();
            parameter.gradient.resize(len, 0.0);
            let mut chunks: Vec<&mut [f32]> = parameter.gradient.chunks_mut(CHUNK).collect();
            parallel::for_each(&mut chunks, self.threads, |chunk, to| {
                to.fill(0.0);
                for &used in &uses[index] {
                    let inverse = plan.uses[used].inverse.as_deref();
                    for work in work {
                        let from = &work.shard.weights[used];
                        add(to, chunk * CHUNK, from, inverse);
                    }
                }
            });
            parameter.pull_back();
        }
    }
}

/// Adds a part's gradient, in the order in which a step reads the parameter.
fn add(to: &mut [f32], start: usize, from: &[f32], inverse: Option<&[u32]>) {
    match inverse {
        _ if from.is_empty() => {}
        None => {
            for (to, from) in to.iter_mut().zip(&from[start..]) {
                *to += from;
            }
        }
        Some(inverse) => {
            for (to, &at) in to.iter_mut().zip(&inverse[start..]) {
                *to += from[at as usize];
            }
        }
    }
}

/// The parameters as the steps read them.
fn packed<'a>(plan: &Plan, parameters: &'a [Parameter]) -> Vec<Packed<'a>> {
    let uses = plan.uses.iter();
    uses.map(|used| {
        let values = parameters[used.parameter].values();
        match &used.order {
            None => Packed::Parameter(values),
            Some(order) => Packed::Own(order.iter().map(|&at| values[at as usize]).collect()),
        }
    })
    .collect()
}

/// The steps between the points at which all parts of the batch are joined.
fn segments(plan: &Plan) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut start = 0;
    for (at, step) in plan.steps.iter().enumerate() {
        if matches!(step.kernel, Kernel::Moments { .. }) {
            segments.push(start..at + 1);
            start = at + 1;
        }
    }
    segments.push(start..plan.steps.len());
    segments
}

/// The normalization whose statistics are joined after a segment.
fn joint(plan: &Plan, segment: &Range<usize>) -> Option<usize> {
    match plan.steps.get(segment.end.checked_sub(1)?)?.kernel {
        Kernel::Moments { norm } => Some(norm),
        _ => None,
    }
}

/// The sums of a normalization over all parts, in their order.
fn join(work: &[Work], norm: usize, channels: usize) -> [Vec<f64>; 2] {
    let mut joined = [vec![0.0; channels], vec![0.0; channels]];
    for work in work {
        for (joined, part) in joined.iter_mut().zip(&work.shard.sums[norm]) {
            for (sum, part) in joined.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
    joined
}

fn mean_and_variance([sums, squares]: &[Vec<f64>; 2], elements: usize) -> [Vec<f32>; 2] {
    let elements = elements.max(1) as f64;
    let moments = sums.iter().zip(squares).map(|(sum, square)| {
        let mean = sum / elements;
        (mean, (square / elements - mean * mean).max(0.0))
    });
    let (mean, variance): (Vec<f64>, Vec<f64>) = moments.unzip();
    [mean, variance].map(|values| values.into_iter().map(|v| v as f32).collect())
}

fn unbiased(variance: &[f32], elements: usize) -> Vec<f32> {
    let factor = elements as f64 / elements.saturating_sub(1).max(1) as f64;
    let each = variance.iter().map(|&v| (f64::from(v) * factor) as f32);
    each.collect()
}

impl Work {
    /// Fills the part's samples.
    fn start(
        &mut self,
        plan: &Plan,
        samples: Range<usize>,
        (training, groups): (bool, usize),
        fill: &Fill<'_>,
    ) {
        let count = samples.len();
        let outputs: usize = plan.outputs.iter().map(|output| output.size).sum();
        self.shard.resize(plan, count, groups);
        let wanted = if training { outputs } else { 0 };
        self.targets.clear();
        self.targets.resize(count * wanted, 0.0);
        self.weights.clear();
        self.weights.resize(count * wanted, 1.0);
        let mut buffers: Vec<Vec<f32>> = (plan.inputs.iter())
            .map(|&slot| std::mem::take(&mut self.shard.values[slot]))
            .collect();
        for (index, sample) in samples.enumerate() {
            let inputs = buffers.iter_mut().zip(&plan.inputs).map(|(buffer, &slot)| {
                let size = plan.slots[slot].size;
                &mut buffer[index * size..][..size]
            });
            let mut example = Example {
                inputs: inputs.collect(),
                targets: &mut self.targets[index * wanted..][..wanted],
                weights: &mut self.weights[index * wanted..][..wanted],
                seed: 0,
            };
            fill(sample, &mut example);
            self.shard.seeds[index] = example.seed;
        }
        for (buffer, &slot) in buffers.into_iter().zip(&plan.inputs) {
            self.shard.values[slot] = buffer;
        }
    }

    /// Collects the answers, and starts the backward pass if there is a loss. `samples` is the
    /// number of samples of the whole batch.
    fn finish_forward(&mut self, plan: &Plan, loss: Option<Loss>, samples: usize) {
        let count = self.shard.count;
        let outputs: usize = plan.outputs.iter().map(|output| output.size).sum();
        self.answers.resize(count * outputs, 0.0);
        let mut first = 0;
        for output in &plan.outputs {
            let values = &self.shard.values[output.slot];
            for sample in 0..count {
                let from = &values[sample * output.size..][..output.size];
                self.answers[sample * outputs + first..][..output.size].copy_from_slice(from);
            }
            first += output.size;
        }
        let Some(loss) = loss else {
            return;
        };
        self.score(loss, (samples * outputs) as f32, outputs);
        let all = self.shard.gradients.iter_mut().zip(&plan.slots);
        for (gradient, _) in all.filter(|(_, slot)| slot.zeroed) {
            gradient.fill(0.0);
        }
        let mut first = 0;
        let mut part = Vec::new();
        for output in &plan.outputs {
            part.clear();
            for sample in 0..count {
                let from = &self.gradients[sample * outputs + first..][..output.size];
                part.extend_from_slice(from);
            }
            first += output.size;
            if plan.slots[output.slot].needs_gradient {
                self.shard
                    .seed_gradient(output.slot, output.accumulate, &part);
            }
        }
    }

    /// Computes the losses and their gradients by the answers.
    fn score(&mut self, loss: Loss, elements: f32, outputs: usize) {
        self.loss = 0.0;
        self.squared.clear();
        self.squared.resize(outputs, 0.0);
        self.gradients.clear();
        let wanted = self.targets.iter().zip(&self.weights);
        for (index, (answer, (target, weight))) in self.answers.iter().zip(wanted).enumerate() {
            let error = answer - target;
            self.loss += f64::from(loss.at(error)) * f64::from(*weight);
            self.squared[index % outputs] += f64::from(error) * f64::from(error);
            self.gradients
                .push(loss.derivative(error) * weight / elements);
        }
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }
}
