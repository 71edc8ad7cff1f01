//! `cargo xtask gpu-test`: on a machine with a GPU, checks whether TensorRT's plans are correct and
//! measures them. The results are for docs/performance.md.

use anyhow::Result;
use clap::Args;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The options of the test.
#[derive(Debug, Args)]
pub struct Options {
    /// Test the use of CUDA only, on a machine that has a GPU's driver and no TensorRT. Arguments are
    /// cases of crates/tensorrt/examples/driver.rs
    #[arg(long)]
    driver_only: bool,
    /// Arguments for benches/gpu; see its --help
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds the test for this machine and runs it. Returns false when a plan is wrong, or when
/// something is missing; the test prints what.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    let mut test = Invocation::new(match options.driver_only {
        true => "cargo run --quiet --release --package tensorrt-rs --example driver --",
        false => "cargo run --quiet --release --package pilotage --example gpu_test --",
    });
    for argument in &options.arguments {
        test = test.arg(argument);
    }
    test.within(checkout.root()).succeeds()
}
