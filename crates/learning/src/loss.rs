//! Losses: a function of each output element and its target.

/// How an error counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// The squared error.
    Squared,
    /// Huber's loss: half the squared error up to `delta`, linear beyond, as PyTorch's
    /// `HuberLoss`.
    Huber {
        /// The error from which the loss is linear; above 0.
        delta: f32,
    },
}

impl Loss {
    /// The loss of one error.
    pub fn at(self, error: f32) -> f32 {
        match self {
            Self::Squared => error * error,
            Self::Huber { delta } if error.abs() <= delta => 0.5 * error * error,
            Self::Huber { delta } => delta * (error.abs() - 0.5 * delta),
        }
    }

    /// The derivative by the error.
    pub fn derivative(self, error: f32) -> f32 {
        match self {
            Self::Squared => 2.0 * error,
            Self::Huber { delta } => error.clamp(-delta, delta),
        }
    }
}
