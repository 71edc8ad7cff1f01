//! burn as a training backend: not built by `cargo xtask test`, because burn takes
//! longer to build than the rest of the tests' libraries together.

use anyhow::Result;

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// In this order: burn and the crate's own trainer agree; the GPU backend compiles;
/// how fast the backends of a CPU are. All of them even when one fails.
const STEPS: [&str; 3] = [
    "cargo test --package pilotage-training --features burn --lib burn_trainer",
    "cargo check --package pilotage-training --features burn,burn-wgpu",
    "cargo run --package pilotage-training --features burn --example speed",
];

/// True when burn and the crate's own trainer agree and the GPU backend compiles.
pub fn run(checkout: &Checkout) -> Result<bool> {
    let mut held = true;
    for step in STEPS {
        held &= Invocation::new(step)
            // As a release, for this crate too, but without building burn once more.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3")
            .within(checkout.root())
            .succeeds()?;
    }
    Ok(held)
}
