//! Tasks of the project: `cargo xtask test`, `fuzz`, `mutants`, `evaluate`, `burn`,
//! `shims`, `peers`, `faults`, `soak`, `wire`, `gpu-test`, `package`, `virtual-car`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers, which drives nothing"
)]

mod arm;
mod arm_root;
mod burn;
mod checkout;
mod endurance;
mod evaluate;
mod fuzz;
mod gpu;
mod invocation;
mod mutants;
mod package;
mod peers;
mod requirements;
mod runtime;
mod shims;
mod tally;
mod test;
mod virtual_car;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::checkout::Checkout;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Pilotage project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every check and test; without --install it changes nothing outside the checkout
    Test {
        /// Install what the tests need first: Debian packages, rustup components, and under
        /// target/ the test runner and a Python environment
        #[arg(long)]
        install: bool,
        /// Leave a step out; it is counted as skipped
        #[arg(long, value_enum)]
        skip: Vec<test::Step>,
        /// Run just this step (may be given again)
        #[arg(long, value_enum, conflicts_with = "skip")]
        only: Vec<test::Step>,
    },
    /// Fuzzes what reads untrusted files, on two processes
    Fuzz {
        /// CPU minutes, shared out among the targets
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// The fuzz targets to run [default: all of them]
        targets: Vec<String>,
    },
    /// Drives every shipped circuit and many random ones, and writes docs/results.md
    Evaluate {
        /// Random circuits under each condition
        #[arg(long, default_value_t = 100)]
        random: u64,
        /// Where to write instead
        #[arg(long)]
        out: Option<std::path::PathBuf>,
    },
    /// Plants faults in the guard and reports those its tests do not notice (takes hours)
    Mutants {
        /// Install cargo-mutants and cargo-nextest under target/ first
        #[arg(long)]
        install: bool,
        /// Arguments passed on to cargo-mutants
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Builds burn, checks it against the trainer's own arithmetic, and measures both
    Burn,
    /// Measures this engine and others in turn on the shipped model, and prints how they compare
    ///
    /// Running it is the request to install: the others go into target/peers, from PyPI and
    /// crates.io. Wants a quiet machine, Python 3.11 with venv, and taskset.
    Peers(peers::Options),
    /// Proves TensorRT's plans on this machine's GPU, times them, and prints what to put into
    /// docs/performance.md; without a GPU it says what is missing and fails
    GpuTest(gpu::Options),
    /// Compiles the shim for every TensorRT whose headers are here
    Shims {
        /// A folder with NvInfer.h and NvOnnxParser.h (may be given again)
        /// [default: TENSORRT_INCLUDE, or where JetPack and Debian put them]
        #[arg(long, value_name = "FOLDER")]
        include: Vec<std::path::PathBuf>,
        /// Where they go [default: target/shims]
        #[arg(long, value_name = "FOLDER")]
        out: Option<std::path::PathBuf>,
    },
    /// Makes the .deb for a Jetson under target/package, and checks what its programs need
    Package {
        /// For which machines
        #[arg(long, value_enum, default_value_t = package::Architecture::Arm64)]
        architecture: package::Architecture,
        /// Install what making it needs first
        #[arg(long)]
        install: bool,
    },
    /// Strikes the car with random faults, and says how soon it stood
    ///
    /// Ten thousand take an hour or two; `cargo xtask test` does 300.
    Faults {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// Keep the machine busy meanwhile: six spinning threads and one that writes to the disk
        #[arg(long)]
        load: bool,
    },
    /// Sends a live guard random messages, and watches that only its pilot moves the car
    ///
    /// `cargo xtask test` sends 50,000.
    Wire {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seed: u64,
    },
    /// Boots an arm64 computer in an emulator, installs the package, and breaks things
    ///
    /// `cargo xtask test` goes through the scenarios that matter most.
    VirtualCar(virtual_car::Options),
    /// Drives at 60 frames a second for long, and says how late commands are at their worst
    ///
    /// A hundred thousand frames take 28 minutes; `cargo xtask test` does 3,000.
    Soak {
        /// How many
        #[arg(long, default_value_t = 100_000)]
        frames: u64,
        /// Keep the second core busy meanwhile
        #[arg(long)]
        busy: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Checkout::find().and_then(|checkout| match arguments.task {
        Task::Test {
            install,
            skip,
            only,
        } => test::run(&checkout, install, &skip, &only),
        Task::Fuzz { minutes, targets } => fuzz::run(&checkout, minutes, &targets),
        Task::Evaluate { random, out } => evaluate::run(&checkout, random, out.as_deref()),
        Task::Mutants { install, arguments } => mutants::run(&checkout, install, &arguments),
        Task::Burn => burn::run(&checkout),
        Task::Package {
            architecture,
            install,
        } => package::run(&checkout, architecture, install),
        Task::Faults { count, load } => endurance::faults(&checkout, count, load),
        Task::Wire { messages, seed } => endurance::wire(&checkout, messages, seed),
        Task::Soak { frames, busy } => endurance::soak(&checkout, frames, busy),
        Task::GpuTest(options) => gpu::run(&checkout, &options),
        Task::VirtualCar(options) => virtual_car::run(&checkout, &options),
        Task::Peers(options) => peers::run(&checkout, &options),
        Task::Shims { include, out } => shims::run(&checkout, &include, out.as_deref()),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
