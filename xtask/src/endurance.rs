//! `cargo xtask faults`, `soak` and `wire`: longer runs of what the tests do 200, 3,000 and 50,000
//! times, to measure rare cases. The results are for docs/safety.md and docs/performance.md.

use anyhow::Result;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};

/// Injects `count` random faults; with `load`, while six threads spin and another writes to the
/// disk; with `observed`, while each drive has the page open in Chromium, a log, and an observer that
/// hangs. Returns true when the car stopped in time after each fault and stayed stopped.
pub fn faults(checkout: &Checkout, count: u64, load: bool, observed: bool) -> Result<bool> {
    if !companions(checkout, observed)? {
        return Ok(false);
    }
    let mut faults = test("many_faults").env("PILOTAGE_FAULTS", count.to_string());
    if load {
        faults = faults.env("PILOTAGE_LOAD", "1");
    }
    if observed {
        faults = faults.env("PILOTAGE_OBSERVED", "1");
    }
    faults.within(checkout.root()).succeeds()
}

/// Drives for `frames` frames; with `busy`, while another core is kept busy; with `observed`, as
/// [`faults`]. Returns true when the
/// frames' commands reached the guard.
pub fn soak(checkout: &Checkout, frames: u64, busy: bool, observed: bool) -> Result<bool> {
    if !companions(checkout, observed)? {
        return Ok(false);
    }
    let mut soak = test("soak").env("PILOTAGE_SOAK", frames.to_string());
    if busy {
        soak = soak.env("PILOTAGE_SOAK_BUSY", "1");
    }
    if observed {
        soak = soak.env("PILOTAGE_OBSERVED", "1");
    }
    soak.within(checkout.root()).succeeds()
}

/// Sends `messages` random messages to a guard, with the random seed `seed`. Returns true when only
/// its pilot moved the car, and only within the limits.
pub fn wire(checkout: &Checkout, messages: u64, seed: u64) -> Result<bool> {
    Invocation::new("cargo test --release --package pilotage-guard --test wire_fuzz -- --nocapture")
        .env("PILOTAGE_MESSAGES", messages.to_string())
        .env("PILOTAGE_SEED", seed.to_string())
        .within(checkout.root())
        .succeeds()
}

/// Builds the programs that `pilotage drive` starts in its own folder, which the tests of package `pilotage`
/// do not build, and ensures that Chromium is there if a page is to be opened.
fn companions(checkout: &Checkout, observed: bool) -> Result<bool> {
    let mut build = Invocation::new("cargo build --release --package pilotage-guard");
    if observed {
        requirements::ensure(checkout, &[Requirement::Chromium], false)?;
        build = build.arg("--package").arg("pilotage-watch");
    }
    build.within(checkout.root()).succeeds()
}

fn test(name: &str) -> Invocation {
    Invocation::new("cargo test --release --package pilotage --test")
        .arg(name)
        .arg("--")
        .arg("--nocapture")
}
