//! Optimisers, learning rate schedules, gradient clipping and weight averaging.

use std::f64::consts::PI;

/// An optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Adam (Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015), in PyTorch's form.
    Adam {
        /// Decay of the running mean of the gradient.
        beta_1: f64,
        /// Decay of the running mean of its square.
        beta_2: f64,
        /// Added to the root of the mean square.
        epsilon: f32,
        /// Share of the weight that each step removes, times the learning rate: the decoupled decay
        /// of AdamW (Loshchilov, Hutter, 2019).
        decay: f32,
    },
    /// Stochastic gradient descent with momentum, in PyTorch's form.
    Sgd {
        /// Decay of the velocity.
        momentum: f32,
        /// Share of the weight that is added to its gradient.
        decay: f32,
    },
}

impl Optimizer {
    /// Adam with the usual constants.
    pub const ADAM: Self = Self::Adam {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        decay: 0.0,
    };
}

/// What an optimiser keeps for one parameter. The lists are empty before its first step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptimizerState {
    /// The running mean of the gradient, or the velocity.
    pub first: Vec<f32>,
    /// The running mean of its square; empty for SGD.
    pub second: Vec<f32>,
    /// The number of steps.
    pub steps: i32,
}

impl OptimizerState {
    /// Begins a step over `count` values. Starts anew if their number has changed.
    pub(crate) fn begin(&mut self, optimizer: Optimizer, rate: f32, count: usize) -> Update {
        if self.first.len() != count {
            *self = Self {
                first: vec![0.0; count],
                second: Vec::new(),
                steps: 0,
            };
        }
        self.steps = self.steps.saturating_add(1);
        match optimizer {
            Optimizer::Adam {
                beta_1,
                beta_2,
                epsilon,
                decay,
            } => {
                self.second.resize(count, 0.0);
                let steps = f64::from(self.steps);
                let first = 1.0 - libm::pow(beta_1, steps);
                let second = 1.0 - libm::pow(beta_2, steps);
                Update::Adam {
                    keep: [beta_1 as f32, beta_2 as f32],
                    take: [(1.0 - beta_1) as f32, (1.0 - beta_2) as f32],
                    step: (f64::from(rate) / first) as f32,
                    root: libm::sqrt(second) as f32,
                    epsilon,
                    shrink: rate * decay,
                }
            }
            Optimizer::Sgd { momentum, decay } => Update::Sgd {
                rate,
                momentum,
                decay,
                starts: self.steps == 1,
            },
        }
    }

    /// The parts of a step over `values` that can be computed on their own.
    pub(crate) fn parts<'a>(
        &'a mut self,
        update: Update,
        values: &'a mut [f32],
        gradient: &'a [f32],
    ) -> impl Iterator<Item = Part<'a>> {
        let mut second = self.second.chunks_mut(PART);
        let lists = values.chunks_mut(PART).zip(gradient.chunks(PART));
        lists
            .zip(self.first.chunks_mut(PART))
            .map(move |((values, gradient), first)| Part {
                update,
                values,
                gradient,
                first,
                second: second.next().unwrap_or_default(),
            })
    }

    /// Moves `values` by one step.
    pub(crate) fn step(
        &mut self,
        optimizer: Optimizer,
        rate: f32,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let update = self.begin(optimizer, rate, values.len());
        for mut part in self.parts(update, values, gradient) {
            part.run();
        }
    }
}

/// The values of a part: enough that handing it to a thread costs little.
const PART: usize = 1 << 16;

/// One step of an optimiser, the same for all values of a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Update {
    /// The shares of the running means that are kept and that are new, for the gradient and for its
    /// square; the step, corrected for the first mean's start at 0; the root of the second's correction.
    Adam {
        keep: [f32; 2],
        take: [f32; 2],
        step: f32,
        root: f32,
        epsilon: f32,
        shrink: f32,
    },
    Sgd {
        rate: f32,
        momentum: f32,
        decay: f32,
        starts: bool,
    },
}

/// A step over some of a parameter's values.
pub(crate) struct Part<'a> {
    update: Update,
    values: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Part<'_> {
    pub(crate) fn run(&mut self) {
        let each = self.values.iter_mut().zip(self.gradient);
        match self.update {
            Update::Adam {
                keep,
                take,
                step,
                root,
                epsilon,
                shrink,
            } => {
                let moments = self.first.iter_mut().zip(&mut *self.second);
                for ((value, &g), (mean, square)) in each.zip(moments) {
                    *value -= shrink * *value;
                    *mean = keep[0] * *mean + take[0] * g;
                    *square = keep[1] * *square + take[1] * g * g;
                    *value -= step * *mean / (square.sqrt() / root + epsilon);
                }
            }
            Update::Sgd {
                rate,
                momentum,
                decay,
                starts,
            } => {
                for ((value, &g), velocity) in each.zip(&mut *self.first) {
                    let g = g + decay * *value;
                    *velocity = if starts { g } else { momentum * *velocity + g };
                    *value -= rate * *velocity;
                }
            }
        }
    }
}

/// How the learning rate changes over the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub rate: f64,
    /// The rate rises linearly over this many steps first.
    pub warm_up: u64,
    /// How it falls after that.
    pub decay: Decay,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// It does not.
    None,
    /// Along half a cosine to `last` times the highest rate at step `steps` (Loshchilov, Hutter,
    /// "SGDR", 2017).
    Cosine {
        /// The step at which it has fallen, counted from the first one.
        steps: u64,
        /// The last rate, as a share of the highest.
        last: f64,
    },
    /// By `factor` after every `steps` steps.
    Step {
        /// The number of steps between two changes; at least 1.
        steps: u64,
        /// The factor of each change.
        factor: f64,
    },
}

impl Schedule {
    /// A constant rate.
    pub fn constant(rate: f64) -> Self {
        Self {
            rate,
            warm_up: 0,
            decay: Decay::None,
        }
    }

    /// The rate of step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let after = step - self.warm_up;
        let factor = match self.decay {
            Decay::None => 1.0,
            Decay::Cosine { steps, last } => {
                let length = steps.saturating_sub(self.warm_up).max(1);
                let share = after.min(length) as f64 / length as f64;
                last + (1.0 - last) * 0.5 * (1.0 + libm::cos(PI * share))
            }
            Decay::Step { steps, factor } => {
                let changes = after.checked_div(steps).unwrap_or(0);
                libm::pow(factor, changes as f64)
            }
        };
        self.rate * factor
    }
}

/// The factor that reduces gradients of this squared norm to a norm of at most `limit` (Pascanu,
/// Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013), as
/// PyTorch's `clip_grad_norm_`.
pub(crate) fn clip_factor(squared_norm: f64, limit: f64) -> f32 {
    let factor = limit / (squared_norm.sqrt() + 1e-6);
    factor.min(1.0) as f32
}

/// A moving average of latent values over the steps (Polyak, Juditsky, 1992).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Average {
    pub(crate) values: Vec<f32>,
}

impl Average {
    pub(crate) fn add(&mut self, decay: f32, latent: &[f32]) {
        if self.values.len() != latent.len() {
            self.values = latent.to_vec();
            return;
        }
        for (average, &value) in self.values.iter_mut().zip(latent) {
            *average += (1.0 - decay) * (value - *average);
        }
    }
}
