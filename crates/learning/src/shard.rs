//! The state of one part of the batch, on which the steps of a plan run.

mod backward;
mod forward;

use crate::kernels::Accumulate;
use crate::kernels::normalization::Statistics;
use crate::kernels::quantized::{Epilogue, Observed};
use crate::plan::Plan;
use crate::step::{Input, Source};

/// A batch normalization during a step of training.
#[derive(Debug, Clone, Default)]
pub(crate) struct NormState {
    pub(crate) statistics: Statistics,
    /// Means over the batch of the gradient, and of the gradient times the normalized value.
    pub(crate) means: Option<[Vec<f64>; 2]>,
}

/// A quantized layer during a step of training.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerState {
    pub(crate) input_scale: f32,
    /// Integer weights, in parts whose sums of products are exact.
    pub(crate) parts: Vec<Vec<f32>>,
    /// The weights that the integers stand for.
    pub(crate) weights: Vec<f32>,
    pub(crate) epilogue: Epilogue,
}

/// The elements of a use of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Packed<'a> {
    /// In the parameter's order.
    Parameter(&'a [f32]),
    /// In another order.
    Own(Vec<f32>),
}

impl Packed<'_> {
    pub(crate) fn get(&self) -> &[f32] {
        match self {
            Self::Parameter(data) => data,
            Self::Own(data) => data,
        }
    }
}

/// What all parts of the batch share.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) weights: &'a [Packed<'a>],
    pub(crate) norms: &'a [NormState],
    pub(crate) layers: &'a [LayerState],
    /// The scale of each group of quantized values.
    pub(crate) scales: &'a [f32],
    pub(crate) training: bool,
}

/// The state of one part of the batch.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Samples in this part.
    pub(crate) count: usize,
    /// One buffer for each slot.
    pub(crate) values: Vec<Vec<f32>>,
    /// The loss's gradients by the values.
    pub(crate) gradients: Vec<Vec<f32>>,
    /// The gradient of each use of a parameter.
    pub(crate) weights: Vec<Vec<f32>>,
    /// For each step: what dropout multiplied by, or outputs before rounding.
    saved: Vec<Vec<f32>>,
    /// For each step: the chosen elements of a maximum.
    chosen: Vec<Vec<u32>>,
    /// For each normalization: sums of this part, forward and backward.
    pub(crate) sums: Vec<[Vec<f64>; 2]>,
    /// For each group of quantized values.
    pub(crate) observed: Vec<Observed>,
    /// The seed of each sample.
    pub(crate) seeds: Vec<u64>,
    scratch: [Vec<f32>; 2],
}

impl Shard {
    /// Prepares the buffers for `count` samples.
    pub(crate) fn resize(&mut self, plan: &Plan, count: usize, groups: usize) {
        self.count = count;
        let resize = |buffers: &mut Vec<Vec<f32>>, sizes: &mut dyn Iterator<Item = usize>| {
            let sizes: Vec<usize> = sizes.collect();
            buffers.resize_with(sizes.len(), Vec::new);
            for (buffer, size) in buffers.iter_mut().zip(sizes) {
                buffer.resize(size, 0.0);
            }
        };
        let slots = plan.slots.iter();
        resize(
            &mut self.values,
            &mut slots.clone().map(|slot| slot.size * count),
        );
        let needed = |size: usize, needs: bool| if needs { size } else { 0 };
        let gradients = slots.map(|slot| needed(slot.size * count, slot.needs_gradient));
        resize(&mut self.gradients, &mut gradients.into_iter());
        self.weights.resize_with(plan.uses.len(), Vec::new);
        self.saved.resize_with(plan.steps.len(), Vec::new);
        self.chosen.resize_with(plan.steps.len(), Vec::new);
        self.sums.resize_with(plan.norms.len(), Default::default);
        self.observed.clear();
        self.observed.resize(groups, Observed::default());
        self.seeds.resize(count, 0);
    }

    /// The elements of a step's input.
    fn data<'s>(&'s self, context: &'s Context<'_>, input: &Input) -> &'s [f32] {
        match input.source {
            Source::Slot(slot) => &self.values[slot],
            Source::Use(used) => context.weights[used].get(),
        }
    }

    /// Takes the buffer of an input's gradient.
    fn take_gradient(&mut self, input: &Input) -> Vec<f32> {
        match input.source {
            Source::Slot(slot) => std::mem::take(&mut self.gradients[slot]),
            Source::Use(used) => {
                let mut buffer = std::mem::take(&mut self.weights[used]);
                buffer.resize(input.size, 0.0);
                buffer
            }
        }
    }

    fn put_gradient(&mut self, input: &Input, buffer: Vec<f32>) {
        match input.source {
            Source::Slot(slot) => self.gradients[slot] = buffer,
            Source::Use(used) => self.weights[used] = buffer,
        }
    }

    /// Stores the loss's gradient by an output of the network.
    pub(crate) fn seed_gradient(&mut self, slot: usize, accumulate: Accumulate, from: &[f32]) {
        let to = &mut self.gradients[slot];
        for (to, &from) in to.iter_mut().zip(from) {
            accumulate.put(to, from);
        }
    }
}
