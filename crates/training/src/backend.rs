//! The training backends: the choices of `--backend`.

use crate::network::Weights;
use crate::trainer::{Learn, LearnError, Trainer};

/// A training backend. The list has only those in this build: the cargo features `burn` and
/// `burn-wgpu` add the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// This crate's own implementation, on all cores: the fastest on a CPU.
    #[default]
    Own,
    /// burn on the CPU.
    #[cfg(feature = "burn")]
    Burn,
    /// burn on a GPU, with Vulkan, Metal or DirectX 12.
    #[cfg(feature = "burn-wgpu")]
    Wgpu,
}

impl Backend {
    /// A learner that trains `weights` with batches of up to `batch` pictures.
    ///
    /// # Errors
    /// When this machine has no such device.
    pub fn learner(self, weights: Weights, batch: usize) -> Result<Box<dyn Learn>, LearnError> {
        match self {
            Self::Own => Ok(Box::new(Trainer::new(weights, batch))),
            #[cfg(feature = "burn")]
            Self::Burn => Ok(on_device(burn::tensor::Device::flex(), &weights)),
            #[cfg(feature = "burn-wgpu")]
            Self::Wgpu => on_first_device(burn::tensor::DeviceType::Wgpu, "GPU", &weights),
        }
    }
}

#[cfg(any(feature = "burn", feature = "burn-wgpu"))]
fn on_device(device: burn::tensor::Device, weights: &Weights) -> Box<dyn Learn> {
    Box::new(crate::burn_trainer::BurnTrainer::new(weights, device))
}

/// A learner on the first device of this kind.
#[cfg(feature = "burn-wgpu")]
fn on_first_device(
    kind: burn::tensor::DeviceType,
    wanted: &'static str,
    weights: &Weights,
) -> Result<Box<dyn Learn>, LearnError> {
    let found = burn::tensor::Device::enumerate(kind).into_iter().next();
    let device = found.ok_or(LearnError::Missing { wanted })?;
    Ok(on_device(device, weights))
}
