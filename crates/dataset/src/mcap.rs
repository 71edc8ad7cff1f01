//! Logs of messages: MCAP files (<https://mcap.dev>) of ROS 2, of this project's drives
//! (docs/drive-log.md), and of `McapWriter`.
//!
//! A picture of ROS gets the newest command that is not younger than it, if that is at most
//! [`LogOptions::tolerance`] older. In this project's logs, pictures and commands have the same
//! numbers.

mod cdr;
mod content;
mod matching;
mod message;
mod scans;

use std::path::Path;

use pilotage_mcap::{McapError, Messages};
use pilotage_vehicle::Mixer;

use crate::error::{DatasetError, LogProblem, PictureProblem};
use crate::record::{Found, Record};
use content::Content;
use matching::Matching;
use message::Shot;

/// The metadata that [`McapWriter`](crate::McapWriter) writes, and its key of the domain.
pub(crate) const METADATA: &str = "pilotage";
pub(crate) const DOMAIN_KEY: &str = "domain";

/// How a log of messages is read. No other format needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// The topic of the pictures; needed if there are several.
    pub image_topic: Option<String>,
    /// The topic of the commands; needed if there are several of the likeliest kind:
    /// AckermannDriveStamped before AckermannDrive before Joy.
    pub command_topic: Option<String>,
    /// How much older than a picture its command may be, seconds.
    pub tolerance: f64,
    /// The axis of a Joy message that steers, positive to the left.
    pub steering_axis: usize,
    /// The axis of a Joy message that is the throttle, positive ahead.
    pub throttle_axis: usize,
    /// The car's geometry and speeds: converts the angle and speed of an Ackermann message to
    /// steering, throttle and yaw rate.
    pub mixer: Option<Mixer>,
    /// Whether pictures of this project's drives are read that nothing drove by.
    pub idle: bool,
}

impl Default for LogOptions {
    /// Axes 0 and 1, the left stick by ROS's drivers, and 0.1 s: two messages of a joystick at the
    /// 20 Hz that ROS repeats them at.
    fn default() -> Self {
        Self {
            image_topic: None,
            command_topic: None,
            tolerance: 0.1,
            steering_axis: 0,
            throttle_axis: 1,
            mixer: None,
            idle: false,
        }
    }
}

/// The pictures of a log.
#[derive(Debug)]
pub(crate) struct Log {
    messages: Messages,
    /// In the order of their numbers in this project's logs, which may contain several drives, and of
    /// time in others. A record's line is the place here, counted from 1.
    shots: Vec<Shot>,
}

impl Log {
    /// The bytes of a record's picture.
    pub fn picture(&self, record: &Record) -> Result<Vec<u8>, PictureProblem> {
        let place = usize::try_from(record.line).unwrap_or(0).checked_sub(1);
        let shot = place.and_then(|place| self.shots.get(place));
        let shot = shot.ok_or(PictureProblem::Missing)?;
        let message = self.messages.read(shot.place);
        let message = message.map_err(|error| match error {
            McapError::Io(error) => PictureProblem::Unreadable(error),
            other => PictureProblem::Damaged(other.to_string()),
        })?;
        message::picture(shot.kind, &message)
    }
}

/// Reads a log.
pub(crate) fn read(path: &Path, options: &LogOptions) -> Result<(Found, Log), DatasetError> {
    let wrong = |problem| DatasetError::Log {
        path: path.to_owned(),
        problem,
    };
    let of_file = |error: McapError| match error {
        McapError::Io(reason) => DatasetError::File {
            path: path.to_owned(),
            reason,
        },
        McapError::NotMcap => wrong(LogProblem::NotMcap),
        other => wrong(other.into()),
    };
    let mut found = Found::default();
    let mut content = Content::read(path, options).map_err(of_file)?;
    let pictures = content.picture_topic(options).map_err(wrong)?;
    let commands = content.command_topic(options).map_err(wrong)?;
    content.note(path, pictures, commands, &mut found.notes);
    let mut shots = content.shots.remove(&pictures).unwrap_or_default();
    let kind = commands.and_then(|id| content.kind(id));
    let commands = commands.and_then(|id| content.commands.remove(&id));
    let mut commands = commands.unwrap_or_default();
    let matching = Matching::sort(&mut shots, &mut commands, kind);
    let content_of = (&commands[..], &content.scans);
    matching.label(&mut found, path, &shots, content_of, options)?;
    let messages = Messages::open(path).map_err(of_file)?;
    found.domain = content.domain;
    Ok((found, Log { messages, shots }))
}
