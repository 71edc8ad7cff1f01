//! What does the arithmetic of training: the choice of `--backend`.

use crate::network::Weights;
use crate::trainer::{Learn, LearnError, Trainer};

/// What does the arithmetic of training. Only what this build has is here: the
/// cargo features `burn` and `burn-wgpu` add the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// This crate's own passes, on all cores: the fastest on a CPU.
    #[default]
    Own,
    /// burn on the CPU.
    #[cfg(feature = "burn")]
    Burn,
    /// burn on a GPU, by Vulkan, Metal or DirectX 12.
    #[cfg(feature = "burn-wgpu")]
    Wgpu,
}

impl Backend {
    /// Something that trains `weights` with batches of up to `batch` pictures.
    ///
    /// # Errors
    /// When this machine has no such device.
    pub fn learner(self, weights: Weights, batch: usize) -> Result<Box<dyn Learn>, LearnError> {
        match self {
            Self::Own => Ok(Box::new(Trainer::new(weights, batch))),
            #[cfg(feature = "burn")]
            Self::Burn => Ok(on(burn::tensor::Device::flex(), &weights)),
            #[cfg(feature = "burn-wgpu")]
            Self::Wgpu => first(burn::tensor::DeviceType::Wgpu, "GPU", &weights),
        }
    }
}

#[cfg(any(feature = "burn", feature = "burn-wgpu"))]
fn on(device: burn::tensor::Device, weights: &Weights) -> Box<dyn Learn> {
    Box::new(crate::burn_trainer::BurnTrainer::new(weights, device))
}

/// On the first device of that kind.
#[cfg(feature = "burn-wgpu")]
fn first(
    kind: burn::tensor::DeviceType,
    wanted: &'static str,
    weights: &Weights,
) -> Result<Box<dyn Learn>, LearnError> {
    let found = burn::tensor::Device::enumerate(kind).into_iter().next();
    let device = found.ok_or(LearnError::Missing { wanted })?;
    Ok(on(device, weights))
}
