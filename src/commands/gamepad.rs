//! `pilotage gamepad`: shows a gamepad's reports, or learns the mapping of its axes and buttons.
//! Nothing is armed and nothing moves.

mod edit;
mod learn;
mod show;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

use crate::car::Car;
use pilotage_gamepad::{GamepadConfig, RawPad};

/// Options of `pilotage gamepad`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car whose [gamepad] has the mapping, or is to get it
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// The event device; if not given, the car's, or the first that looks like a gamepad
    #[arg(long, value_name = "NODE")]
    device: Option<PathBuf>,
    /// Ask for each control, and write [gamepad] into the car's file
    #[arg(long, requires = "car")]
    learn: bool,
}

/// How often the loop checks whether it must end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Why the command ends without an error of the gamepad.
enum End {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// The command is complete.
    Done,
}

/// Shows or learns, until a signal ends it or the gamepad is gone.
///
/// # Errors
/// Fails if there is no gamepad, if it is gone, or if the file cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let car = options.car.as_deref().map(Car::load).transpose()?;
    let config = car.and_then(|car| car.gamepad).unwrap_or_default();
    let ended = catch_signals()?;
    let device = options.device.as_ref().or(config.device.as_ref());
    let mut session = Session {
        pad: RawPad::open(device.map(PathBuf::as_path), config.name.as_deref())?,
        config,
        ended,
    };
    let end = match (&options.car, options.learn) {
        (Some(file), true) => learn::run(&mut session, file),
        _ => show::run(&mut session),
    };
    match end {
        Ok(End::Done) => Ok(ExitCode::SUCCESS),
        // Only a signal ends showing.
        Ok(End::Signal) if !options.learn => Ok(ExitCode::SUCCESS),
        Ok(End::Signal) => Ok(ExitCode::FAILURE),
        // The output was closed.
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

/// An open gamepad.
struct Session {
    pad: RawPad,
    config: GamepadConfig,
    ended: Arc<AtomicBool>,
}

impl Session {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("Ctrl-C and SIGTERM cannot be caught")?;
    Ok(ended)
}

/// All output goes through this function.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

fn is_closed(error: &anyhow::Error) -> bool {
    let reason = error.downcast_ref::<io::Error>();
    reason.is_some_and(|reason| reason.kind() == ErrorKind::BrokenPipe)
}
