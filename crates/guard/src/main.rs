//! `pilotage-guard`: the only program that writes to a car's motors. It does not depend on an
//! engine or a camera; a pilot sends it commands over a socket.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::prelude::*;
use pilotage_guard::{Allowed, DaemonError, INSTALLED, ProcessError, Running, group_id, user_id};

const HELP: &str = "\
Guards a car: writes to its motors, and stops it when commands are late, implausible or missing.

Usage: pilotage-guard [--car FILE] [--allow USER]... [--allow-group GROUP]...
                      [--pilot-on-stdin]
       pilotage-guard --failsafe [--if-dead] [--car FILE]

  --car FILE           the car [default: /etc/pilotage/car.toml]
  --allow USER         may connect, in addition to root and the guard's own user
  --allow-group GROUP  members may connect
  --pilot-on-stdin     standard input is the connection to the pilot that started this guard;
                       the guard ends when the pilot disconnects, and a watcher is started
  --failsafe           kill the car's guard if it runs, write the failsafe values, and exit
  --if-dead            with --failsafe: do nothing if a guard of these motors runs
  --help, --version

It starts disarmed: `pilotage arm` arms the car, `pilotage stop` stops it.
";

struct Options {
    car: PathBuf,
    users: Vec<u32>,
    groups: Vec<u32>,
    pilot: bool,
    /// The process number of the watcher, another process of this program.
    watcher: Option<u32>,
    failsafe: bool,
    if_dead: bool,
}

/// Parses the command line. Returns `None` after `--help` and `--version`.
fn options() -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        car: INSTALLED.into(),
        users: Vec::new(),
        groups: Vec::new(),
        pilot: false,
        watcher: None,
        failsafe: false,
        if_dead: false,
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
            Long("watched-by") => options.watcher = Some(arguments.value()?.parse()?),
            Long("failsafe") => options.failsafe = true,
            Long("if-dead") => options.if_dead = true,
            Short('h') | Long("help") => {
                pilotage_console::out(HELP);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                pilotage_console::print(format_args!(
                    "pilotage-guard {}",
                    env!("CARGO_PKG_VERSION")
                ));
                return Ok(None);
            }
            other => bail!(
                "{}; `pilotage-guard --help` lists the options",
                other.unexpected()
            ),
        }
    }
    Ok(Some(options))
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(options) = options()? else {
        return Ok(ExitCode::SUCCESS);
    };
    if options.failsafe {
        let running = match options.if_dead {
            true => Running::Leave,
            false => Running::Kill,
        };
        pilotage_guard::failsafe(&options.car, running)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.pilot {
        // Detach from the pilot's terminal: its keys, its hangup and signals to the pilot's process
        // group do not reach the guard.
        pilotage_guard::leave_session();
        let Some(watcher) = options.watcher else {
            let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
            arguments.push(format!("--watched-by={}", std::process::id()).into());
            return Ok(pilotage_guard::watch(&arguments, &options.car)?);
        };
        anyhow::ensure!(
            pilotage_guard::end_with_parent(watcher),
            "the guard's watcher has died"
        );
    }
    let mut allowed = Allowed::own();
    allowed.users.extend(options.users);
    allowed.groups.extend(options.groups);
    let pilot = options
        .pilot
        .then(|| std::io::stdin().as_fd().try_clone_to_owned())
        .transpose()
        .context("standard input is not a connection to a pilot")?;
    pilotage_guard::guard(&options.car, pilot, allowed)?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    pilotage_linux::limit_to_one_heap();
    // The console's writer thread starts here, before the guard requests real-time priority, which
    // a thread inherits.
    pilotage_console::run(|| match run() {
        Ok(status) => status,
        Err(error) => {
            pilotage_console::say_always(format_args!("error: {error:#}"));
            match error.downcast_ref::<DaemonError>() {
                // Its watcher, or its service, then writes failsafe.
                Some(DaemonError::Process(ProcessError::Last(_))) => ExitCode::FAILURE,
                _ => ExitCode::from(pilotage_guard::NOT_STARTED),
            }
        }
    })
}
