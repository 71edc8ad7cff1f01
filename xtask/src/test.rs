//! `cargo xtask test`: runs every check and test in order, and prints the total counts.

use std::fs;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::{fuzz, runtime};
use cross::{arm, package, virtual_car};
use tooling::checkout::{Checkout, in_ci};
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};
use tooling::tally::Tally;

/// The engine's instruction sets for x86-64, by the names of their tests in
/// crates/engine/tests/conformance.rs. That program lists only the tests that the machine can run.
const SETS: [&str; 5] = ["scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni"];
/// The instruction sets that every CI machine has.
const MUST_HAVE: &str = "scalar,avx2";
/// The CPU minutes of the fuzzing step.
const FUZZ_MINUTES: f64 = 2.0;

/// The steps, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// cargo fmt --check
    Format,
    /// typos, in every file of the checkout
    Spelling,
    /// cargo clippy, all targets, warnings denied
    Clippy,
    /// Every test of the workspace, with cargo-nextest
    Tests,
    /// For aarch64, with qemu-user: all tests of the engine and of vision, the compiler's output
    Arm,
    /// The documentation: its examples, and that it builds without warnings
    Doctests,
    /// The release build needs no pkg-config, libclang or similar tools
    Runtime,
    /// `cargo run --release` drives its lap
    Lap,
    /// The .deb for a Jetson: dependencies, contents, and its life cycle in an arm64 system
    Package,
    /// The virtual car: the .deb on an emulated computer, with the most important faults
    VirtualCar,
    /// Two CPU minutes of fuzzing
    Fuzz,
}

impl Step {
    fn requirements(self) -> &'static [Requirement] {
        match self {
            Self::Format => &[Requirement::Rustfmt],
            Self::Spelling => &[Requirement::Python, Requirement::PythonPackages],
            Self::Clippy => &[Requirement::CCompiler, Requirement::Clippy],
            Self::Tests => &[
                Requirement::CCompiler,
                Requirement::ArmCompiler,
                Requirement::CppCompiler,
                Requirement::TensorRtHeaders,
                Requirement::Chromium,
                Requirement::Nextest,
                Requirement::Python,
                Requirement::PythonPackages,
                Requirement::OnnxCases,
            ],
            Self::Arm => &[
                Requirement::CCompiler,
                Requirement::ArmTarget,
                Requirement::ArmCompiler,
                Requirement::ArmEmulator,
            ],
            Self::Package => &package::tests::REQUIREMENTS,
            Self::VirtualCar => &virtual_car::REQUIREMENTS,
            Self::Doctests | Self::Runtime | Self::Lap => &[Requirement::CCompiler],
            Self::Fuzz => &[Requirement::CppCompiler],
        }
    }

    fn run(self, checkout: &Checkout) -> Result<Tally> {
        match self {
            Self::Format => checked(checkout, "cargo fmt --all --check"),
            Self::Spelling => {
                let typos = Invocation::of(&checkout.python().join("bin/typos"));
                let typos = typos.arg("--format=brief").path(checkout.root());
                Ok(Tally::of_step(typos.stream(|_| ())?))
            }
            Self::Clippy => checked(
                checkout,
                "cargo clippy --workspace --all-targets -- --deny warnings",
            ),
            Self::Tests => {
                let nextest = requirements::nextest(checkout)?;
                let mut run = prepared(nextest, checkout)
                    .arg("run")
                    .arg("--workspace")
                    .arg("--profile=all");
                if in_ci() && cfg!(target_arch = "x86_64") {
                    run = run.env("PILOTAGE_MUST_HAVE", MUST_HAVE);
                }
                let mut missing = SETS.to_vec();
                let tally = counted(&run, |line| {
                    let test = line.split_once("pilotage-engine::conformance ");
                    let ran = test.map(|(_, name)| name.trim());
                    missing.retain(|set| Some(*set) != ran);
                    Tally::from_nextest(line)
                })?;
                if cfg!(target_arch = "x86_64") && !missing.is_empty() {
                    println!(
                        "not tested, as this machine lacks them: {}",
                        missing.join(", ")
                    );
                }
                Ok(tally)
            }
            Self::Arm => {
                let mut tally = counted(&prepared(arm::tests(), checkout), Tally::from_harness)?;
                tally += Tally::of_step(arm::compiles_alike(checkout)?);
                tally += Tally::of_step(arm::answers_alike(checkout)?);
                Ok(tally)
            }
            Self::Doctests => {
                let examples = Invocation::new("cargo test --doc --workspace");
                let mut tally = counted(&prepared(examples, checkout), Tally::from_harness)?;
                let pages = Invocation::new("cargo doc --workspace --no-deps")
                    .env("RUSTDOCFLAGS", "--deny warnings");
                tally += Tally::of_step(prepared(pages, checkout).stream(|_| ())?);
                Ok(tally)
            }
            Self::Runtime => Ok(Tally::of_step(runtime::builds_alone(checkout)?)),
            Self::Lap => Ok(Tally::of_step(runtime::drives(checkout)?)),
            Self::Package => package::tests::run(checkout),
            Self::VirtualCar => virtual_car::test(checkout),
            Self::Fuzz => Ok(Tally::of_step(fuzz::run(checkout, FUZZ_MINUTES, &[])?)),
        }
    }

    /// The builds that no step after this one uses, relative to cargo's target directory.
    fn leaves(self) -> &'static [&'static str] {
        match self {
            Self::Arm => &["aarch64-unknown-linux-gnu/debug"],
            Self::Doctests => &["debug"],
            _ => &[],
        }
    }

    /// The step's name on the command line.
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs all steps except `skip`; if `only` is not empty, only those in it. A step that fails does
/// not stop the following steps. Returns true when nothing failed.
pub fn run(checkout: &Checkout, install: bool, skip: &[Step], only: &[Step]) -> Result<bool> {
    let selected = |step: &Step| !skip.contains(step) && (only.is_empty() || only.contains(step));
    let (steps, left_out): (Vec<_>, Vec<_>) =
        Step::value_variants().iter().copied().partition(selected);

    let mut needed = Vec::new();
    for requirement in steps.iter().flat_map(|step| step.requirements()) {
        if !needed.contains(requirement) {
            needed.push(*requirement);
        }
    }
    requirements::ensure(checkout, &needed, install)?;

    let mut total = Tally::default();
    let mut failures = Vec::new();
    let mut times = Vec::new();
    for step in steps {
        println!("==> {}", step.name());
        let start = Instant::now();
        let tally = step.run(checkout).unwrap_or_else(|error| {
            println!("error: {error:#}");
            Tally::FAILED
        });
        times.push(format!("{} {} s", step.name(), start.elapsed().as_secs()));
        println!("    {} free on the disk", free(checkout));
        if in_ci() {
            // A machine of CI is used once, and its disk is small.
            for folder in step.leaves() {
                let _ = fs::remove_dir_all(checkout.builds().join(folder));
            }
        }
        if tally.failed > 0 {
            failures.push(format!("{} failed ({tally})", step.name()));
        } else if tally.skipped > 0 && in_ci() {
            failures.push(format!("{} skipped tests ({tally})", step.name()));
        }
        total += tally;
    }

    println!("==> {}", times.join(", "));
    for step in left_out {
        println!("skipped: {}, left out on the command line", step.name());
        total += Tally::SKIPPED;
        if in_ci() {
            failures.push(format!("{} was left out", step.name()));
        }
    }
    for failure in &failures {
        println!("failed: {failure}");
    }
    println!("{total}");
    Ok(failures.is_empty())
}

/// The free space of the checkout's disk, as `df` prints it.
fn free(checkout: &Checkout) -> String {
    let df = Invocation::new("df --output=avail --human-readable").path(checkout.root());
    let printed = df.answer().unwrap_or_default();
    let free = printed.lines().nth(1).unwrap_or("an unknown amount");
    free.trim().to_owned()
}

/// Runs a command that passes or fails as a whole.
fn checked(checkout: &Checkout, line: &str) -> Result<Tally> {
    let passed = prepared(Invocation::new(line), checkout).stream(|_| ())?;
    Ok(Tally::of_step(passed))
}

/// Runs a command whose output `count` turns into tallies.
fn counted(command: &Invocation, mut count: impl FnMut(&str) -> Option<Tally>) -> Result<Tally> {
    let mut tally = Tally::default();
    let succeeded = command.stream(|line| tally += count(line).unwrap_or_default())?;
    if !succeeded && tally.failed == 0 {
        // The command failed, but not in a test: the build may have failed.
        tally += Tally::FAILED;
    }
    if succeeded && tally.passed == 0 {
        // A filter that matches nothing, or a summary line in an unknown format.
        println!("error: no test was counted");
        tally += Tally::FAILED;
    }
    Ok(tally)
}

/// Prepares a command for the checkout. CI starts cold, so incremental builds are of no use there.
fn prepared(command: Invocation, checkout: &Checkout) -> Invocation {
    let command = command.within(checkout.root());
    if in_ci() {
        command.env("CARGO_INCREMENTAL", "0")
    } else {
        command
    }
}
