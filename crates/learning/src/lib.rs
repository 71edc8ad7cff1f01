//! An ONNX graph that learns.
//!
//! [`Network`] runs a graph forward and backward in float32. [`Learner`] trains it. The network
//! can be quantized in the engine's arithmetic while it is trained ([`Network::quantize`]), pruned
//! ([`Network::prune`]) and clustered ([`Network::cluster`]), and returns to a graph with the trained
//! weights ([`Network::to_graph`], [`Network::to_quantized_graph`]).

mod cluster;
mod error;
mod kernels;
mod layout;
mod learner;
mod loss;
mod matrix;
mod network;
mod optimizer;
mod parallel;
mod parameter;
mod plan;
mod prune;
mod random;
mod scheme;
mod shard;
mod step;

pub use cluster::Clusters;
pub use error::{LearningError, UnsupportedNode, UnsupportedNodes};
pub use learner::{Learner, Progress, Training};
pub use loss::Loss;
pub use network::{Example, Fill, Losses, Network, RangeUpdate};
pub use optimizer::{Decay, Optimizer, OptimizerState, Schedule};
pub use parameter::{Form, Parameter, Role};
pub use prune::{PolynomialSparsity, magnitude_mask, magnitude_masks, two_of_four_mask};
