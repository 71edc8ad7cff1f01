//! What does the arithmetic of training: the choice of `--backend`.

use crate::network::Weights;
use crate::trainer::{Learn, Trainer};

/// What does the arithmetic of training. Only what this build has is here: the
/// cargo feature `burn` adds burn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// This crate's own passes, on all cores: the fastest on a CPU.
    #[default]
    Own,
    /// burn on the CPU.
    #[cfg(feature = "burn")]
    Burn,
}

impl Backend {
    /// Something that trains `weights` with batches of up to `batch` pictures.
    pub fn learner(self, weights: Weights, batch: usize) -> Box<dyn Learn> {
        match self {
            Self::Own => Box::new(Trainer::new(weights, batch)),
            #[cfg(feature = "burn")]
            Self::Burn => Box::new(crate::burn_trainer::BurnTrainer::new(
                &weights,
                burn::tensor::Device::flex(),
            )),
        }
    }
}
