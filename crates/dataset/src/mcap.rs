//! Logs of messages: MCAP files (<https://mcap.dev>) of ROS 2, of this project's drives
//! (docs/drive-log.md), and of `McapWriter`.
//!
//! A picture of ROS gets the newest command that is not younger than it, if that is at most
//! [`LogOptions::tolerance`] older. In this project's logs, pictures and commands have the same
//! numbers.

mod cdr;
mod message;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use pilotage_mcap::{McapError, Messages, Record as McapRecord, Stream};
use pilotage_vehicle::{Domain, Mixer};

use crate::error::{DatasetError, PictureProblem};
use crate::limits::{BAD_SHARE_PERCENT, MOST_RECORDS};
use crate::notes::Note;
use crate::record::{Found, Record};
use message::{Command, Kind, Refused, Shot, Start};

/// The metadata that [`McapWriter`](crate::McapWriter) writes, and its key of the domain.
pub(crate) const METADATA: &str = "pilotage";
pub(crate) const DOMAIN_KEY: &str = "domain";
/// Most channels of a log.
const MOST_CHANNELS: usize = 1024;

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

/// Why a log is no recording. A message continues the file's name.
#[derive(Debug, thiserror::Error)]
pub enum LogProblem {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] McapError),
    /// The file is no log.
    #[error("is not an MCAP file; name an MCAP file, or the folder of a recording")]
    NotMcap,
    /// No topic has pictures.
    #[error(
        "has no topic of sensor_msgs/msg/CompressedImage or foxglove.CompressedImage (JSON); {0}"
    )]
    NoPictures(String),
    /// Several topics could be meant.
    #[error("has several topics of {what}: {topics}; choose one: `pilotage data import` {option}")]
    Several {
        /// What the topics have.
        what: &'static str,
        /// Their names.
        topics: String,
        /// The option that chooses.
        option: &'static str,
    },
    /// A topic that was named does not exist, or is of another kind.
    #[error("has no topic `{name}` of {what}; it has {topics}")]
    NoTopic {
        /// The named topic.
        name: String,
        /// What it should have.
        what: &'static str,
        /// The topics with their types.
        topics: String,
    },
    /// Too many messages cannot be parsed.
    #[error("{bad} of {of} messages of {what} cannot be parsed, more than {BAD_SHARE_PERCENT} %")]
    Malformed {
        /// What the messages should have.
        what: &'static str,
        /// Messages that cannot be parsed.
        bad: usize,
        /// Messages in all.
        of: usize,
    },
    /// A joystick has fewer axes.
    #[error(
        "its Joy messages have {axes} axes, so there is no axis {wanted}; they count from 0: \
         `pilotage data import` --steering-axis and --throttle-axis"
    )]
    Axis {
        /// The axis that was named.
        wanted: usize,
        /// The axes of a message.
        axes: usize,
    },
}

/// The pictures of a log.
#[derive(Debug)]
pub(crate) struct Log {
    messages: Messages,
    /// In the order of time; a record's line is the place here, counted from 1.
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

/// A topic of a log.
#[derive(Debug)]
struct Topic {
    name: String,
    schema: String,
    encoding: String,
    kind: Option<Kind>,
}

/// What a log has, before it is known which topics are used.
#[derive(Debug, Default)]
struct Content {
    topics: BTreeMap<u16, Topic>,
    shots: BTreeMap<u16, Vec<Shot>>,
    commands: BTreeMap<u16, Vec<Command>>,
    /// Messages that cannot be parsed, by channel.
    malformed: BTreeMap<u16, usize>,
    axis: Option<(usize, usize)>,
    start: Option<Start>,
    domain: Option<Domain>,
    is_damaged: bool,
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
    let mut content = Content::read(path, options).map_err(of_file)?;
    let pictures = content.picture_topic(options).map_err(wrong)?;
    let commands = content.command_topic(options).map_err(wrong)?;
    let mut found = Found::default();
    let mut shots = content.shots.remove(&pictures).unwrap_or_default();
    let mut labels = commands.and_then(|id| content.commands.remove(&id));
    let labels = labels.get_or_insert_default();
    let is_ours = commands.is_some_and(|id| {
        let kind = content.topics.get(&id).and_then(|topic| topic.kind);
        matches!(kind, Some(Kind::Frame | Kind::Values))
    });
    let clock = clock(&shots, labels, is_ours);
    shots.sort_by_key(|shot| shot.times[clock]);
    labels.sort_by_key(|command| command.times[clock]);
    let counts = label(&mut found, path, &shots, labels, (clock, is_ours), options)?;
    content.note(path, counts, &mut found.notes, options);
    let messages = Messages::open(path).map_err(of_file)?;
    found.domain = content.domain;
    Ok((found, Log { messages, shots }))
}

/// The index of the times that are used: the stamps of the senders if all messages have one, else
/// when the messages were recorded.
fn clock(shots: &[Shot], commands: &[Command], is_ours: bool) -> usize {
    let has_stamp = |times: [u64; 2]| times[0] > 0;
    let are_stamped = shots.iter().all(|shot| has_stamp(shot.times))
        && (is_ours || commands.iter().all(|command| has_stamp(command.times)));
    usize::from(!are_stamped)
}

/// Pictures without a command, of a car that was not driven, and with an angle only.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    without: usize,
    idle: usize,
    angles: usize,
}

fn label(
    found: &mut Found,
    path: &Path,
    shots: &[Shot],
    commands: &[Command],
    (clock, is_ours): (usize, bool),
    options: &LogOptions,
) -> Result<Counts, DatasetError> {
    let mut by_number = BTreeMap::new();
    if is_ours {
        for command in commands {
            if let Some(sequence) = command.sequence {
                // The first iteration with a picture is that of its command.
                by_number.entry(sequence).or_insert(command);
            }
        }
    }
    let by_time = |time: u64| {
        let after = commands.partition_point(|command| command.times[clock] <= time);
        let command = commands.get(after.checked_sub(1)?)?;
        let age = (time - command.times[clock]) as f64 * 1e-9;
        (age <= options.tolerance).then_some(command)
    };
    let mut counts = Counts::default();
    for (index, shot) in shots.iter().enumerate() {
        let command = match (is_ours, shot.sequence) {
            (true, Some(sequence)) => by_number.get(&sequence).copied(),
            (true, None) => None,
            (false, _) => by_time(shot.times[clock]),
        };
        if command.is_some_and(|command| command.is_idle) && !options.idle {
            counts.idle += 1;
            continue;
        }
        let mut record = Record {
            picture: PathBuf::from(format!("{index:06}")),
            time: Some(shot.times[clock] as f64 * 1e-9),
            line: index as u64 + 1,
            ..Record::default()
        };
        match command {
            Some(command) => {
                command.label(&mut record);
                counts.angles += usize::from(command.angle.is_some());
            }
            None => counts.without += 1,
        }
        found.push(path, record)?;
    }
    Ok(counts)
}

impl Content {
    fn read(path: &Path, options: &LogOptions) -> Result<Self, McapError> {
        let file = pilotage_mcap::open(path)?;
        let mut stream = Stream::new(BufReader::with_capacity(1 << 16, file))?;
        let mut content = Self::default();
        let mut schemas = BTreeMap::new();
        let mut messages = 0_usize;
        while let Some(record) = stream.next_record()? {
            match record {
                McapRecord::Schema(schema) => {
                    if schemas.len() < MOST_CHANNELS {
                        schemas.insert(schema.id, schema.name.to_owned());
                    }
                }
                McapRecord::Channel(channel) => {
                    if content.topics.len() < MOST_CHANNELS {
                        let schema = schemas.get(&channel.schema).cloned().unwrap_or_default();
                        let topic = Topic {
                            kind: Kind::of(&schema, channel.encoding),
                            name: channel.topic.to_owned(),
                            encoding: channel.encoding.to_owned(),
                            schema,
                        };
                        content.topics.insert(channel.id, topic);
                    }
                }
                McapRecord::Metadata(metadata) if metadata.name == METADATA => {
                    content.domain = match metadata.get(DOMAIN_KEY) {
                        Some("simulated") => Some(Domain::Simulated),
                        Some("physical") => Some(Domain::Physical),
                        _ => content.domain,
                    };
                }
                McapRecord::Message(message) if messages < 2 * MOST_RECORDS => {
                    messages += content.message(&message, options);
                }
                _ => {}
            }
        }
        content.is_damaged = stream.is_damaged();
        Ok(content)
    }

    /// Adds a message. Returns the number of messages that are kept of it.
    fn message(&mut self, message: &pilotage_mcap::Message<'_>, options: &LogOptions) -> usize {
        let id = message.channel;
        let Some(kind) = self.topics.get(&id).and_then(|topic| topic.kind) else {
            return 0;
        };
        let is_parsed = match kind {
            Kind::Start => {
                let start = Start::of(message.data);
                if let Some(start) = &start {
                    self.domain = Some(match start.simulated {
                        true => Domain::Simulated,
                        false => Domain::Physical,
                    });
                }
                self.start = start.or(self.start.take());
                return 0;
            }
            Kind::RosPicture | Kind::FoxglovePicture => match Shot::of(kind, message) {
                Some(shot) => {
                    self.shots.entry(id).or_default().push(shot);
                    true
                }
                None => false,
            },
            _ => match Command::of(kind, message, options, self.start.as_ref()) {
                Ok(Some(command)) => {
                    self.commands.entry(id).or_default().push(command);
                    true
                }
                Ok(None) => return 0,
                Err(Refused::Malformed) => false,
                Err(Refused::Axis { wanted, axes }) => {
                    self.axis.get_or_insert((wanted, axes));
                    false
                }
            },
        };
        if !is_parsed {
            *self.malformed.entry(id).or_default() += 1;
        }
        usize::from(is_parsed)
    }

    /// The topics with their types, for a message.
    fn listed(&self, is_listed: impl Fn(&Topic) -> bool) -> String {
        const MOST: usize = 8;
        let topics = self.topics.values().filter(|topic| is_listed(topic));
        let mut names: Vec<String> = topics
            .map(|topic| {
                let Topic {
                    name,
                    schema,
                    encoding,
                    ..
                } = topic;
                let shown = format!("{name} ({schema}, {encoding})");
                shown
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(160)
                    .collect()
            })
            .collect();
        names.sort();
        let count = names.len();
        names.truncate(MOST);
        if count > MOST {
            names.push(format!("{} more", count - MOST));
        }
        match count {
            0 => "no topics".to_owned(),
            _ => names.join(", "),
        }
    }

    /// The channel of the topic `name`, if one is named, among those that `is_meant`.
    fn named(
        &self,
        name: &str,
        what: &'static str,
        is_meant: fn(Kind) -> bool,
    ) -> Result<u16, LogProblem> {
        let mut topics = self.topics.iter();
        let found =
            topics.find(|(_, topic)| topic.name == name && topic.kind.is_some_and(is_meant));
        found.map(|(id, _)| *id).ok_or_else(|| LogProblem::NoTopic {
            name: name.to_owned(),
            what,
            topics: self.listed(|_| true),
        })
    }

    /// The channels with messages of a kind, or with such that cannot be parsed.
    fn used(&self, is_meant: impl Fn(Kind) -> bool) -> Vec<u16> {
        let has_messages = |id: &u16| {
            self.shots.contains_key(id)
                || self.commands.contains_key(id)
                || self.malformed.contains_key(id)
        };
        let topics = self.topics.iter();
        let meant =
            topics.filter(|(id, topic)| topic.kind.is_some_and(&is_meant) && has_messages(id));
        meant.map(|(id, _)| *id).collect()
    }

    fn picture_topic(&self, options: &LogOptions) -> Result<u16, LogProblem> {
        const WHAT: &str = "pictures";
        let id = match &options.image_topic {
            Some(name) => self.named(name, WHAT, Kind::is_picture)?,
            None => match self.used(Kind::is_picture)[..] {
                [id] => id,
                [] => return Err(LogProblem::NoPictures(self.without_pictures())),
                _ => {
                    return Err(LogProblem::Several {
                        what: WHAT,
                        topics: self.listed(|topic| topic.kind.is_some_and(Kind::is_picture)),
                        option: "--image-topic",
                    });
                }
            },
        };
        self.check(id, WHAT, self.shots.get(&id).map_or(0, Vec::len))?;
        Ok(id)
    }

    /// What to do about a log without pictures that are read.
    fn without_pictures(&self) -> String {
        let is_raw = |topic: &Topic| topic.schema == "sensor_msgs/msg/Image";
        let is_encoded = |topic: &Topic| topic.schema.ends_with("CompressedImage");
        let topics = self.listed(|_| true);
        if self.topics.values().any(is_encoded) {
            return format!("pictures in another encoding are not read: it has {topics}");
        }
        match self.topics.values().any(is_raw) {
            true => format!(
                "pictures without compression are not read: record the topic of \
                 compressed_image_transport; it has {topics}"
            ),
            false => format!("it has {topics}"),
        }
    }

    fn command_topic(&self, options: &LogOptions) -> Result<Option<u16>, LogProblem> {
        const WHAT: &str = "commands";
        let id = match &options.command_topic {
            Some(name) => self.named(name, "commands (AckermannDrive, Joy)", Kind::is_command)?,
            None => {
                let kinds = [
                    Kind::Values,
                    Kind::Frame,
                    Kind::AckermannStamped,
                    Kind::Ackermann,
                    Kind::Joy,
                ];
                let first = kinds
                    .iter()
                    .find(|kind| !self.used(|it| it == **kind).is_empty());
                let Some(&kind) = first else {
                    return Ok(None);
                };
                match self.used(|it| it == kind)[..] {
                    [id] => id,
                    _ => {
                        return Err(LogProblem::Several {
                            what: WHAT,
                            topics: self.listed(|topic| topic.kind == Some(kind)),
                            option: "--command-topic",
                        });
                    }
                }
            }
        };
        self.check(id, WHAT, self.commands.get(&id).map_or(0, Vec::len))?;
        Ok(Some(id))
    }

    /// Refuses a topic with many messages that cannot be parsed.
    fn check(&self, id: u16, what: &'static str, parsed: usize) -> Result<(), LogProblem> {
        let bad = self.malformed.get(&id).copied().unwrap_or(0);
        let of = parsed + bad;
        if bad * 100 <= of * BAD_SHARE_PERCENT {
            return Ok(());
        }
        Err(match self.axis {
            Some((wanted, axes)) if what == "commands" => LogProblem::Axis { wanted, axes },
            _ => LogProblem::Malformed { what, bad, of },
        })
    }

    fn note(&self, path: &Path, counts: Counts, notes: &mut Vec<Note>, options: &LogOptions) {
        let path = path.to_owned();
        let malformed: usize = self.malformed.values().sum();
        if self.is_damaged {
            notes.push(Note::LogEnd { path: path.clone() });
        }
        if malformed > 0 {
            notes.push(Note::Malformed {
                path: path.clone(),
                count: malformed,
            });
        }
        if counts.without > 0 {
            notes.push(Note::NoCommand {
                path: path.clone(),
                count: counts.without,
                tolerance: options.tolerance,
            });
        }
        if counts.idle > 0 {
            notes.push(Note::Idle {
                path: path.clone(),
                count: counts.idle,
            });
        }
        if counts.angles > 0 {
            notes.push(Note::Angles { path });
        }
    }
}
