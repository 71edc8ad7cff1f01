//! `pilotage data import`: copies a recording to another format.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use pilotage_dataset::Recording;
use pilotage_vehicle::Domain;

use super::copy::{Copy, Form, check_outside, copy};
use super::{LogArguments, warn};

/// Options of `pilotage data import`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file
    from: PathBuf,
    /// The new folder; a name that ends in .mcap is an MCAP file, which Foxglove opens
    to: PathBuf,
    /// Write a Donkeycar tub (version 2) instead of a data.csv folder
    #[arg(long)]
    tub: bool,
    /// Add the pictures of the cameras at the sides, with steering that is this much further to the
    /// middle, such as 0.2: the left one's further to the right
    #[arg(long, value_name = "STEERING", value_parser = correction)]
    side_cameras: Option<f64>,
    /// Negate the steering and the yaw rate, if `data show` finds them reversed
    #[arg(long)]
    reverse_steering: bool,
    /// What was recorded, if the recording does not say so
    #[arg(long, value_name = "simulated|physical")]
    domain: Option<Domain>,
    #[command(flatten)]
    log: LogArguments,
}

fn correction(text: &str) -> Result<f64, String> {
    let correction: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match correction > 0.0 && correction <= 1.0 {
        true => Ok(correction),
        false => Err("must be above 0 and at most 1".to_owned()),
    }
}

/// Copies the recording. What is new gets its name when it is complete.
///
/// # Errors
/// Fails if the recording cannot be read, too many of its pictures are bad, the new folder is not
/// empty or lies in the recording, or a file cannot be written. The new folder does not exist then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let form = Form::of(&options.to, options.tub)?;
    check_outside(&options.to, &options.from)?;
    let mut recording = Recording::open_with(&options.from, &options.log.options()?)?;
    warn(recording.notes());
    options.change(&mut recording)?;
    let domain = options.domain.or(recording.domain());
    let mut copies = [Copy::create(&options.to, &recording, form, domain)?];
    copy(&recording, &mut copies, |_| 0, form)?;
    let [to] = copies;
    let count = to.finish()?;
    pilotage_console::print(format_args!(
        "{}: {count} records, {}",
        options.to.display(),
        form.name()
    ));
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn change(&self, recording: &mut Recording) -> anyhow::Result<()> {
        let from = self.from.display();
        if let (Some(recorded), Some(named)) = (recording.domain(), self.domain) {
            ensure!(
                recorded == named,
                "{from}: is of a {} car, not of a {} one; leave --domain out",
                recorded.name(),
                named.name()
            );
        }
        let mut records = recording.records().iter();
        let has_angles = records.all(|it| it.steering.is_none() && it.yaw_rate.is_none())
            && (recording.records().iter())
                .any(|it| it.extra.iter().any(|(name, _)| **name == *"steering_angle"));
        if has_angles {
            bail!(
                "{from}: has the wheels' angle in radians, and not the steering of -1 to 1; name the \
                 car whose [mixer] converts it: --car car.toml"
            );
        }
        if self.reverse_steering {
            recording.reverse_steering();
        }
        if let Some(correction) = self.side_cameras {
            ensure!(
                recording.with_sides(correction) > 0,
                "{from}: has no pictures of cameras at the sides; leave --side-cameras out"
            );
        }
        Ok(())
    }
}
