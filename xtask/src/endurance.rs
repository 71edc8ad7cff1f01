//! `cargo xtask faults`, `soak` and `wire`: what the tests do three hundred, three thousand and
//! fifty thousand times, done until it says something about rare cases. For their figures in
//! docs/safety.md and docs/performance.md.

use anyhow::Result;

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// Strikes `count` random faults, with `load` beside six busy threads and a writing disk; true
/// when the car stood in time after each and stayed so.
pub fn faults(checkout: &Checkout, count: u64, load: bool) -> Result<bool> {
    // `pilotage drive` starts the guard that lies beside it, which no test of its package builds.
    let guard = Invocation::new("cargo build --release --package pilotage-guard");
    if !guard.within(checkout.root()).succeeds()? {
        return Ok(false);
    }
    let mut faults = test("many_faults").env("PILOTAGE_FAULTS", count.to_string());
    if load {
        faults = faults.env("PILOTAGE_LOAD", "1");
    }
    faults.within(checkout.root()).succeeds()
}

/// Drives for `frames` frames, where that is wanted beside a busy core; true when they
/// reached the guard.
pub fn soak(checkout: &Checkout, frames: u64, busy: bool) -> Result<bool> {
    let mut soak = test("soak").env("PILOTAGE_SOAK", frames.to_string());
    if busy {
        soak = soak.env("PILOTAGE_SOAK_BUSY", "1");
    }
    soak.within(checkout.root()).succeeds()
}

/// Sends a guard `messages` random messages from `seed` on; true when only its pilot moved the
/// car, and only within its limits.
pub fn wire(checkout: &Checkout, messages: u64, seed: u64) -> Result<bool> {
    Invocation::new("cargo test --release --package pilotage-guard --test wire_fuzz -- --nocapture")
        .env("PILOTAGE_MESSAGES", messages.to_string())
        .env("PILOTAGE_SEED", seed.to_string())
        .within(checkout.root())
        .succeeds()
}

fn test(name: &str) -> Invocation {
    Invocation::new("cargo test --release --package pilotage --test")
        .arg(name)
        .arg("--")
        .arg("--nocapture")
}
