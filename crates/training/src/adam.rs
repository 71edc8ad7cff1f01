//! Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015).

/// The state of Adam: running means of the gradient and of its square.
#[derive(Debug, Clone)]
pub struct Adam {
    pub(crate) mean: Vec<f32>,
    pub(crate) square: Vec<f32>,
    pub(crate) steps: i32,
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

impl Adam {
    /// The state for `count` values.
    pub fn new(count: usize) -> Self {
        Self {
            mean: vec![0.0; count],
            square: vec![0.0; count],
            steps: 0,
        }
    }

    /// Updates `values` by one step with the learning rate `rate`. `slope` is the gradient.
    pub fn step(&mut self, values: &mut [f32], slope: &[f32], rate: f32) {
        self.steps = self.steps.saturating_add(1);
        let first = 1.0 - libm::powf(BETA_1, self.steps as f32);
        let second = 1.0 - libm::powf(BETA_2, self.steps as f32);
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((value, &slope), (mean, square)) in values.iter_mut().zip(slope).zip(moments) {
            *mean = BETA_1 * *mean + (1.0 - BETA_1) * slope;
            *square = BETA_2 * *square + (1.0 - BETA_2) * slope * slope;
            *value -= rate * (*mean / first) / ((*square / second).sqrt() + EPSILON);
        }
    }
}
