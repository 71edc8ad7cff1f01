//! Builds the firmware of a bridge (docs/bridge.md) for its microcontroller. `cargo xtask test` tests
//! what it decides (crates/bridge) and does not build it: that needs another target of rustc.

use anyhow::{Result, bail};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

const TARGET: &str = "thumbv6m-none-eabi";

const STEPS: [&str; 3] = [
    "cargo fmt --check",
    "cargo clippy --release -- --deny warnings",
    "cargo build --release",
];

/// Returns true when the firmware is built without a warning.
///
/// # Errors
/// When rustc has no library for the microcontroller.
pub fn run(checkout: &Checkout) -> Result<bool> {
    let targets = Invocation::new("rustup target list --installed").answer();
    if !targets.is_some_and(|targets| targets.lines().any(|target| target == TARGET)) {
        bail!("Rust's library for {TARGET} is missing: `rustup target add {TARGET}`");
    }
    let mut passed = true;
    for step in STEPS {
        passed &= Invocation::new(step)
            .env("CARGO_TARGET_DIR", checkout.builds().join("firmware"))
            .within(&checkout.root().join("firmware/rp2040-bridge"))
            .succeeds()?;
    }
    Ok(passed)
}
