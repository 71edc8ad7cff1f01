//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pilotage::commands::{
    bench, check, command, compile, data, doctor, drive, evaluate, film, gamepad, gpu_engine,
    gpu_plan, guard, inspect, log, operator, race, record, replay, shell, trim, why,
};

/// Drives a car with a driving policy in ONNX.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive the car that --car describes; without --car, the simulated car
    #[command(allow_negative_numbers = true, after_long_help = drive::TERMS)]
    Drive(Box<drive::Options>),
    /// Drive a car with a gamepad, and record its frames and commands in a folder; `drive --record`
    /// records an engine's drive
    #[command(allow_negative_numbers = true)]
    Record(Box<record::Options>),
    /// Arm a car, so that its pilot may drive it
    Arm(operator::ArmOptions),
    /// Disarm a car
    Disarm(operator::Options),
    /// Stop a car; kill its guard if the guard does not respond
    Stop(operator::Options),
    /// Tell the network that drives what is wanted of it, such as to turn left at the next junction; it
    /// moves nothing by itself
    #[command(name = "command")]
    HighLevel(command::Options),
    /// Show the state of a car's guard
    Status(operator::StatusOptions),
    /// Show why the car stopped, and what to do
    Why(why::Options),
    /// List, show and export drive logs
    Log(log::Options),
    /// Make a short film of a drive log or a recording: pictures, steering and throttle, the guard's
    /// state
    Film(film::Options),
    /// Find a car's centre, ends and neutral with the wheels off the ground, and write them to its
    /// car.toml
    Trim(trim::Options),
    /// Show a gamepad's axes and buttons, or learn their mapping
    Gamepad(gamepad::Options),
    /// Check a car.toml and change nothing
    Check(check::Options),
    /// Compile a recipe or an ONNX model to an engine
    Compile(Box<compile::Options>),
    /// Show, import, split and clean recordings
    Data(data::Options),
    /// Compare an engine's answers to the pictures of a recording with what the driver did
    Replay(replay::Options),
    /// Compare engines on a recording: error, size, memory, time and energy, as a table and pictures
    Evaluate(evaluate::Options),
    /// Drive engines over circuits in the simulator, and compare their driving as a table and pictures
    #[command(allow_negative_numbers = true)]
    Race(Box<race::Options>),
    /// Show an engine's limits, layers, sections and signature
    Inspect(inspect::Options),
    /// Run as the guard of a simulated or dry-run car; `drive` starts this command
    #[command(hide = true)]
    Guard(guard::Options),
    /// Run as the process of a GPU's engine; `drive` starts this command
    #[command(hide = true)]
    GpuEngine(gpu_engine::Options),
    /// Run as the process that builds a GPU's plan; `compile` starts this command
    #[command(hide = true)]
    GpuPlan(gpu_plan::Options),
    /// Measure how fast an engine is on this machine, layer by layer
    Bench(bench::Options),
    /// Show what this machine has and lacks for driving, and how to fix each problem
    Doctor(doctor::Options),
    /// Print the completions of this command line for a shell
    Completions(shell::CompletionsOptions),
    /// Write this program's manual pages to a folder
    Man(shell::ManOptions),
}

fn main() -> ExitCode {
    // Before anything else: an operator's stop must not wait for busy programs.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "stop")
    {
        pilotage_guard::raise_priority();
    }
    pilotage_console::run(run)
}

fn run() -> ExitCode {
    let command = Cli::parse()
        .command
        .unwrap_or_else(|| Command::Drive(Box::default()));
    let result = match command {
        Command::Drive(options) => drive::run(&options),
        Command::Record(options) => record::run(&options),
        Command::Arm(options) => operator::arm(&options),
        Command::Disarm(options) => operator::disarm(&options),
        Command::Stop(options) => operator::stop(&options),
        Command::HighLevel(options) => command::run(&options),
        Command::Status(options) => operator::status(&options),
        Command::Why(options) => why::run(&options),
        Command::Log(options) => log::run(&options),
        Command::Film(options) => film::run(&options),
        Command::Trim(options) => trim::run(&options),
        Command::Gamepad(options) => gamepad::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Compile(options) => compile::run(&options),
        Command::Data(options) => data::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Evaluate(options) => evaluate::run(&options),
        Command::Race(options) => race::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Guard(options) => guard::run(&options),
        Command::GpuEngine(options) => gpu_engine::run(&options),
        Command::GpuPlan(options) => gpu_plan::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Completions(options) => Ok(shell::completions(&options, Cli::command())),
        Command::Man(options) => shell::man(&options, Cli::command()),
    };
    result.unwrap_or_else(|error| {
        pilotage_console::say_always(format_args!("error: {error:#}"));
        ExitCode::from(2)
    })
}
