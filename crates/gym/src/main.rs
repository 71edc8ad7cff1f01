//! `pilotage-gym`: the simulated car for the clients of Donkeycar's simulator.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use pilotage_gym::{Options, Pace, Server};
use pilotage_simulator::{Preset, TyreCar, random_friction};

/// Serve the simulated car by the protocol of Donkeycar's simulator
#[derive(Parser)]
#[command(name = "pilotage-gym", version)]
struct Arguments {
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

fn main() -> ExitCode {
    pilotage_console::run(|| {
        let arguments = Arguments::parse();
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
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let address = arguments.listen;
                pilotage_console::say_always(format_args!(
                    "error: {address}: {error}; --listen names another address"
                ));
                ExitCode::FAILURE
            }
        }
    })
}
