//! `cargo xtask gpu-test`: on a machine with a GPU, whether TensorRT's plans are right and how
//! fast they are; for docs/performance.md.

use anyhow::Result;
use clap::Args;

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// What the test is told.
#[derive(Debug, Args)]
pub struct Options {
    /// Passed on to benches/gpu, which has a --help of its own
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds it for this machine and runs it. False where something is missing, which is said, or a
/// plan is wrong.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    let mut test =
        Invocation::new("cargo run --quiet --release --package pilotage --example gpu_test --");
    for argument in &options.arguments {
        test = test.arg(argument);
    }
    test.within(checkout.root()).succeeds()
}
