//! The project's development tasks: `cargo xtask test`, `fuzz`, `mutants`, `evaluate`,
//! `tables`, `shims`, `stand-ins`, `peers`, `arm-table`, `faults`, `soak`, `wire`, `gpu-test`, `package`, `virtual-car`,
//! `firmware`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer tool, which drives no car"
)]

mod arm_table;
mod endurance;
mod firmware;
mod fuzz;
mod gpu;
mod mutants;
mod peers;
mod runtime;
mod shims;
mod stand_ins;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cross::{package, virtual_car};
use results::{evaluate, tables};

use tooling::checkout::Checkout;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Pilotage project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check and test; without --install nothing outside the checkout is changed
    Test {
        /// First install what the tests need: Debian packages, rustup components, and under target/
        /// the test runner and a Python environment
        #[arg(long)]
        install: bool,
        /// Leave this step out; it is counted as skipped (may be given again)
        #[arg(long, value_enum)]
        skip: Vec<test::Step>,
        /// Run only this step (may be given again)
        #[arg(long, value_enum, conflicts_with = "skip")]
        only: Vec<test::Step>,
    },
    /// Fuzz the code that reads untrusted files, with two processes
    Fuzz {
        /// CPU minutes, divided among the targets
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// The fuzz targets to run [default: all of them]
        targets: Vec<String>,
    },
    /// Drive every shipped circuit and many random ones, and write docs/results.md
    Evaluate {
        /// Number of random circuits for each condition
        #[arg(long, default_value_t = 100)]
        random: u64,
        /// Write to this file instead
        #[arg(long)]
        out: Option<std::path::PathBuf>,
    },
    /// Optimise the shipped network by every strategy, measure and drive the engines, and write
    /// docs/tables.md
    ///
    /// This takes half an hour on two cores. Results are kept in target/tables: after an
    /// interruption, or with more strategies or seeds, the same command continues.
    Tables(tables::Options),
    /// Mutation testing: plant faults in the guard, and report those that its tests do not detect
    /// (takes hours)
    Mutants {
        /// First install cargo-mutants and cargo-nextest under target/
        #[arg(long)]
        install: bool,
        /// Arguments for cargo-mutants
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Compare the speed of this engine and of others on the shipped model
    ///
    /// This command installs the other engines into target/peers, from PyPI and crates.io. It needs
    /// an idle machine, Python 3.11 with venv, and taskset.
    Peers(peers::Options),
    /// Count the instructions of this engine and of others on emulated Arm processors, and estimate their
    /// cycles (docs/arm.md); nothing is timed
    ///
    /// This command installs the other engines, an arm64 Python and LLVM's tools under target/, from
    /// PyPI and Debian. It takes about ten minutes.
    ArmTable(arm_table::Options),
    /// Validate TensorRT's plans on this machine's GPU, measure them, and print the results for
    /// docs/performance.md; without a GPU it prints what is missing and fails
    GpuTest(gpu::Options),
    /// Compile the shim for every TensorRT version whose headers are found
    Shims {
        /// A folder with NvInfer.h and NvOnnxParser.h (may be given again)
        /// [default: TENSORRT_INCLUDE, or where JetPack and Debian put them]
        #[arg(long, value_name = "FOLDER")]
        include: Vec<std::path::PathBuf>,
        /// Output folder [default: target/shims]
        #[arg(long, value_name = "FOLDER")]
        out: Option<std::path::PathBuf>,
    },
    /// Run the tests of the GPU path with stand-ins for TensorRT 8.2 to 11.1, whose headers the tests
    /// cannot install, and print the results for docs/tensorrt.md
    StandIns(stand_ins::Options),
    /// Make the .deb for a Jetson under target/package, and check what its programs need
    Package {
        /// Target architecture
        #[arg(long, value_enum, default_value_t = package::Architecture::Arm64)]
        architecture: package::Architecture,
        /// First install what making the package needs
        #[arg(long)]
        install: bool,
    },
    /// Inject random faults, and print how soon the car stopped
    ///
    /// 10,000 faults take an hour or two; `cargo xtask test` injects 200.
    Faults {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// Keep the machine busy meanwhile: six spinning threads and one that writes to the disk
        #[arg(long)]
        load: bool,
        /// Watch each drive meanwhile: its page is open in Chromium, a log is kept, and an observer hangs
        #[arg(long)]
        observed: bool,
    },
    /// Send random messages to a running guard, and check that only its pilot moves the car
    ///
    /// `cargo xtask test` sends 50,000.
    Wire {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        /// Random seed
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seed: u64,
    },
    /// Boot an emulated arm64 computer, install the package, and inject faults
    ///
    /// `cargo xtask test` runs the most important scenarios.
    VirtualCar(virtual_car::Options),
    /// Build the firmware of a bridge for its microcontroller (docs/bridge.md)
    Firmware,
    /// Drive at 60 frames a second for a long time, and print how late commands are at most
    ///
    /// 100,000 frames take 28 minutes; `cargo xtask test` drives 3,000.
    Soak {
        /// How many
        #[arg(long, default_value_t = 100_000)]
        frames: u64,
        /// Keep the second core busy meanwhile
        #[arg(long)]
        busy: bool,
        /// Watch the drive meanwhile: its page is open in Chromium, all of it is logged, and an observer
        /// hangs
        #[arg(long)]
        observed: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Checkout::find().and_then(|checkout| match arguments.task {
        Task::Test {
            install,
            skip,
            only,
        } => test::run(&checkout, install, &skip, &only),
        Task::Fuzz { minutes, targets } => fuzz::run(&checkout, minutes, &targets),
        Task::Evaluate { random, out } => evaluate::run(&checkout, random, out.as_deref()),
        Task::Tables(options) => tables::run(&checkout, &options),
        Task::Mutants { install, arguments } => mutants::run(&checkout, install, &arguments),
        Task::Firmware => firmware::run(&checkout),
        Task::Package {
            architecture,
            install,
        } => package::run(&checkout, architecture, install),
        Task::Faults {
            count,
            load,
            observed,
        } => endurance::faults(&checkout, count, load, observed),
        Task::Wire { messages, seed } => endurance::wire(&checkout, messages, seed),
        Task::Soak {
            frames,
            busy,
            observed,
        } => endurance::soak(&checkout, frames, busy, observed),
        Task::GpuTest(options) => gpu::run(&checkout, &options),
        Task::VirtualCar(options) => virtual_car::run(&checkout, &options),
        Task::Peers(options) => peers::run(&checkout, &options),
        Task::ArmTable(options) => arm_table::run(&checkout, &options),
        Task::StandIns(options) => stand_ins::run(&checkout, &options),
        Task::Shims { include, out } => shims::run(&checkout, &include, out.as_deref()),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
