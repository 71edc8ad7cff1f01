//! `pilotage data`: shows, imports, splits, cleans and marks recordings.

mod clean;
pub(super) mod copy;
mod import;
mod mark;
mod sheet;
mod show;
mod signs;
mod split;
mod survey;

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_dataset::{LogOptions, Note};

use crate::car::Car;

/// Options of `pilotage data`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what a recording contains, and what is wrong with it
    Show(show::Options),
    /// Copy a recording of any format to a data.csv folder, a Donkeycar tub or an MCAP file
    Import(import::Options),
    /// Copy a recording to two: one to train on, one held back, by drives or blocks of time
    Split(split::Options),
    /// Mark bad, black and repeated pictures, so that they are left out; nothing is deleted
    Clean(clean::Options),
    /// Mark a range of records, so that they are left out, or remove their marks; nothing is deleted
    Mark(mark::Options),
}

/// Runs the subcommand.
///
/// # Errors
/// Fails if the recording cannot be read; the message names file, line and column.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Command::Show(options) => show::run(options),
        Command::Import(options) => import::run(options),
        Command::Split(options) => split::run(options),
        Command::Clean(options) => clean::run(options),
        Command::Mark(options) => mark::run(options),
    }
}

/// How an MCAP file of ROS 2 is read.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "MCAP files of ROS 2")]
struct LogArguments {
    /// The topic of the pictures (sensor_msgs/CompressedImage), if there are several
    #[arg(long, value_name = "TOPIC")]
    image_topic: Option<String>,
    /// The topic of the commands; AckermannDriveStamped before AckermannDrive before Joy if not given
    #[arg(long, value_name = "TOPIC")]
    command_topic: Option<String>,
    /// How much older than a picture its command may be, in seconds; 0.1 if not given
    #[arg(long, value_name = "S", value_parser = tolerance)]
    tolerance: Option<f64>,
    /// The axis of a Joy that steers, from 0; 0 if not given
    #[arg(long, value_name = "N")]
    steering_axis: Option<usize>,
    /// The axis of a Joy that is the throttle; 1 if not given
    #[arg(long, value_name = "N")]
    throttle_axis: Option<usize>,
    /// The car that was recorded: its [mixer] converts an Ackermann message's angle and speed
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match seconds {
        0.0..=10.0 => Ok(seconds),
        _ => Err("must be 0 to 10 s".to_owned()),
    }
}

impl LogArguments {
    fn options(&self) -> anyhow::Result<LogOptions> {
        let default = LogOptions::default();
        let mixer = match &self.car {
            Some(file) => Some(Car::load(file)?.mixer),
            None => None,
        };
        Ok(LogOptions {
            image_topic: self.image_topic.clone(),
            command_topic: self.command_topic.clone(),
            tolerance: self.tolerance.unwrap_or(default.tolerance),
            steering_axis: self.steering_axis.unwrap_or(default.steering_axis),
            throttle_axis: self.throttle_axis.unwrap_or(default.throttle_axis),
            mixer,
            ..default
        })
    }
}

pub(super) fn warn<'a>(notes: impl IntoIterator<Item = &'a Note>) {
    for note in notes {
        pilotage_console::say(format_args!("warning: {note}"));
    }
}
