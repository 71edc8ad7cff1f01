//! `pilotage gamepad`: shows what a gamepad reports, or learns what its axes and buttons are
//! for. Nothing is armed and nothing moves.

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
use crate::gamepad::{GamepadConfig, RawPad};

/// Which gamepad, and what with it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car whose [gamepad] says what axes and buttons are for, or is to say so
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// Its event device; the car's, or the first that looks like a gamepad, unless given
    #[arg(long, value_name = "NODE")]
    device: Option<PathBuf>,
    /// Ask for each control, and write [gamepad] into the car's file
    #[arg(long, requires = "car")]
    learn: bool,
}

/// How often it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Why it stops without an error of the gamepad's.
enum End {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// All that was to be done is done.
    Done,
}

/// Shows or learns, until a signal ends it or the gamepad is gone.
///
/// # Errors
/// When there is no gamepad, it is gone, or the file cannot be written.
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
        // Showing has no other end.
        Ok(End::Signal) if !options.learn => Ok(ExitCode::SUCCESS),
        Ok(End::Signal) => Ok(ExitCode::FAILURE),
        // The output was closed.
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

/// A gamepad that is open.
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

/// Everything that is printed goes through here.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

fn is_closed(error: &anyhow::Error) -> bool {
    let reason = error.downcast_ref::<io::Error>();
    reason.is_some_and(|reason| reason.kind() == ErrorKind::BrokenPipe)
}
