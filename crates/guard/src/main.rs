//! `pilotage-guard`: the only program that writes to a car's motors. It knows of no engine
//! and no camera; what it drives by, a pilot tells it over a socket.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::prelude::*;
use pilotage_guard::{Allowed, GuardedCar, group_id, user_id};

const HELP: &str = "\
Guards a car: writes to its motors, and stops it when anything is late, odd or silent.

Usage: pilotage-guard [--car FILE] [--allow USER]... [--allow-group GROUP]...
                      [--pilot-on-stdin]
       pilotage-guard --failsafe [--car FILE]

  --car FILE           the car [default: /etc/pilotage/car.toml]
  --allow USER         who may speak to it, besides root and its own user
  --allow-group GROUP  so may who is in it
  --pilot-on-stdin     standard input is the line to the pilot that started it; it ends with that
  --failsafe           write the failsafe values once, for a guard that is dead, and end
  --help, --version

It starts disarmed: `pilotage arm` arms the car, `pilotage stop` stops it.
";

struct Options {
    car: PathBuf,
    users: Vec<u32>,
    groups: Vec<u32>,
    pilot: bool,
    failsafe: bool,
}

/// What the command line says; none where it only asked.
fn options() -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        car: "/etc/pilotage/car.toml".into(),
        users: Vec::new(),
        groups: Vec::new(),
        pilot: false,
        failsafe: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("car") => options.car = arguments.value()?.into(),
            Long("allow") => options.users.push(user_id(&arguments.value()?.string()?)?),
            Long("allow-group") => {
                let group = group_id(&arguments.value()?.string()?)?;
                options.groups.push(group);
            }
            Long("pilot-on-stdin") => options.pilot = true,
            Long("failsafe") => options.failsafe = true,
            Short('h') | Long("help") => {
                pilotage_console::out(HELP);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                pilotage_console::print(concat!("pilotage-guard ", env!("CARGO_PKG_VERSION")));
                return Ok(None);
            }
            other => bail!(
                "{}; `pilotage-guard --help` says what there is",
                other.unexpected()
            ),
        }
    }
    Ok(Some(options))
}

fn run() -> anyhow::Result<()> {
    let Some(options) = options()? else {
        return Ok(());
    };
    let car = GuardedCar::load(&options.car)?;
    if options.failsafe {
        return Ok(pilotage_guard::failsafe(&car)?);
    }
    let mut allowed = Allowed::own();
    allowed.users.extend(options.users);
    allowed.groups.extend(options.groups);
    let pilot = options
        .pilot
        .then(|| std::io::stdin().as_fd().try_clone_to_owned())
        .transpose()
        .context("standard input is no line to a pilot")?;
    Ok(pilotage_guard::guard(&car, pilot, allowed)?)
}

fn main() -> ExitCode {
    // Its writer starts here, before the guard asks for real-time priority, which a thread
    // inherits.
    pilotage_console::run(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pilotage_console::say_always(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    })
}
