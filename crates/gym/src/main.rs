//! `pilotage-gym`: the simulated car for the clients of Donkeycar's simulator, and the car of that
//! simulator for Pilotage.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pilotage_gym::relay::{self, Wanted};
use pilotage_gym::{Options, Pace, Server};
use pilotage_simulator::{Preset, TyreCar, random_friction};

/// The protocol of Donkeycar's simulator (docs/simulator.md)
#[derive(Parser)]
#[command(name = "pilotage-gym", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serve the simulated car to the clients of Donkeycar's simulator
    Serve(Serve),
    /// Connect a car of Donkeycar's simulator with Pilotage
    Relay(Relay),
    /// Copy a relay's pictures to standard output: a command for `[camera]` with kind "pipe"
    Frames {
        /// The relay's folder
        folder: PathBuf,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// The address to listen at; anybody who reaches it can drive the simulated car
    #[arg(long, default_value = "127.0.0.1:9091", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// When the car moves on
    #[arg(long, value_enum, default_value_t)]
    pace: Pace,
    /// The car: donkeycar, f1tenth or kart
    #[arg(long, default_value = "donkeycar", value_parser = preset)]
    preset: Preset,
    /// The coefficient of friction between tyres and ground; otherwise the preset's
    #[arg(long, conflicts_with = "friction_seed", value_parser = friction)]
    friction: Option<f64>,
    /// Draw the coefficient of friction from 0.7 to 1.2
    #[arg(long, value_name = "SEED")]
    friction_seed: Option<u64>,
    /// Pictures per second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The seed of the circuit `generated_road`, of the looks and of the sensors' noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(clap::Args)]
struct Relay {
    /// The folder for the camera's socket, `frames`, and the motors' port, `motors`
    folder: PathBuf,
    /// The simulator's address
    #[arg(long, default_value = "127.0.0.1:9091", value_name = "HOST:PORT")]
    simulator: String,
    /// The scene
    #[arg(long, default_value = "generated_track")]
    scene: String,
    /// Width of the pictures, pixels
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(16..=1920))]
    width: u32,
    /// Height of the pictures, pixels
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u32).range(16..=1920))]
    height: u32,
}

fn preset(name: &str) -> Result<Preset, String> {
    let found = Preset::ALL.into_iter().find(|(known, _)| *known == name);
    let known = Preset::ALL.map(|(known, _)| known).join(", ");
    found
        .map(|(_, preset)| preset)
        .ok_or(format!("one of: {known}"))
}

fn friction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(friction) if (0.05..=3.0).contains(&friction) => Ok(friction),
        _ => Err("a number from 0.05 to 3".to_owned()),
    }
}

fn serve(arguments: &Serve) -> Result<(), String> {
    let usual = TyreCar::new(arguments.preset);
    let drawn = arguments.friction_seed.map(random_friction);
    let friction = arguments.friction.or(drawn).unwrap_or(usual.friction);
    let options = Options {
        car: TyreCar { friction, ..usual },
        rate: arguments.rate,
        seed: arguments.seed,
    };
    let served = Server::new(arguments.listen, options, arguments.pace).and_then(|server| {
        pilotage_console::say_always(format_args!(
            "a simulated {} for gym-donkeycar at {}; Ctrl-C ends",
            arguments.preset.name(),
            server.address()?
        ));
        server.run()
    });
    let address = arguments.listen;
    served.map_err(|error| format!("{address}: {error}; --listen names another address"))
}

fn relay(arguments: &Relay) -> Result<(), String> {
    let wanted = Wanted {
        scene: arguments.scene.clone(),
        width: arguments.width,
        height: arguments.height,
    };
    let folder = &arguments.folder;
    let ready = || {
        pilotage_console::say_always(format_args!(
            "{}: camera at {}, motors at {}; Ctrl-C ends",
            arguments.scene,
            folder.join(relay::FRAMES).display(),
            folder.join(relay::MOTORS).display()
        ));
    };
    let ended = relay::relay(&arguments.simulator, wanted, folder, ready);
    ended.map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    pilotage_console::run(|| {
        let done = match Arguments::parse().command {
            Task::Serve(arguments) => serve(&arguments),
            Task::Relay(arguments) => relay(&arguments),
            Task::Frames { folder } => {
                let path = folder.join(relay::FRAMES);
                let copied = relay::copy(&path, &mut io::stdout().lock());
                copied
                    .map_err(|error| format!("{}: {error}; start the relay first", path.display()))
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                pilotage_console::say_always(format_args!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    })
}
