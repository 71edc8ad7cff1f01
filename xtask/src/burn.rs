//! Checks and measures burn as a training backend. `cargo xtask test` does not build it: burn takes
//! longer to build than all other libraries of the tests together.

use anyhow::Result;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The steps in order: burn and the crate's own trainer agree; the GPU backend compiles; the CPU
/// backends are timed. All steps run, even when one fails.
const STEPS: [&str; 3] = [
    "cargo test --package pilotage-training --features burn --lib burn_trainer",
    "cargo check --package pilotage-training --features burn,burn-wgpu",
    "cargo run --package pilotage-training --features burn --example speed",
];

/// Returns true when burn and the crate's own trainer agree, the GPU backend compiles and the
/// measurement runs.
pub fn run(checkout: &Checkout) -> Result<bool> {
    let mut passed = true;
    for step in STEPS {
        passed &= Invocation::new(step)
            // Optimizes this crate like a release build, without building burn again.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3")
            .within(checkout.root())
            .succeeds()?;
    }
    Ok(passed)
}
