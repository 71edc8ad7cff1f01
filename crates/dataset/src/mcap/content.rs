//! What a log has: topics, pictures and commands.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use pilotage_mcap::{McapError, Record as McapRecord, Stream};
use pilotage_vehicle::Domain;

use super::message::{Command, Kind, Refused, Shot, Start};
use super::scans::Scans;
use super::{DOMAIN_KEY, LogOptions, METADATA};
use crate::error::LogProblem;
use crate::limits::{MOST_RECORDS, tolerable};
use crate::notes::Note;

/// Most channels of a log.
const MOST_CHANNELS: usize = 1024;
/// The longest name of a schema, a topic or an encoding, bytes. Those with a longer one are passed
/// over, so that a small compressed file does not take gigabytes of memory.
const LONGEST_NAME: usize = 1024;

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
pub(super) struct Content {
    topics: BTreeMap<u16, Topic>,
    /// The pictures, by channel.
    pub shots: BTreeMap<u16, Vec<Shot>>,
    /// The commands, by channel.
    pub commands: BTreeMap<u16, Vec<Command>>,
    /// Messages that cannot be parsed, by channel.
    malformed: BTreeMap<u16, usize>,
    /// The axis that the first such message of a joystick lacks, and the axes that it has, by
    /// channel.
    axes: BTreeMap<u16, (usize, usize)>,
    pub scans: Scans,
    start: Option<Start>,
    pub domain: Option<Domain>,
    is_damaged: bool,
}

impl Content {
    pub fn read(path: &Path, options: &LogOptions) -> Result<Self, McapError> {
        let file = pilotage_mcap::open(path)?;
        let mut stream = Stream::new(BufReader::with_capacity(1 << 16, file))?;
        let mut content = Self::default();
        let mut schemas = BTreeMap::new();
        let mut messages = 0_usize;
        while let Some(record) = stream.next_record()? {
            match record {
                McapRecord::Schema(schema)
                    if schemas.len() < MOST_CHANNELS && schema.name.len() <= LONGEST_NAME =>
                {
                    schemas.insert(schema.id, schema.name.to_owned());
                }
                McapRecord::Channel(channel) => {
                    let names = [channel.topic, channel.encoding];
                    if content.topics.len() < MOST_CHANNELS
                        && names.iter().all(|name| name.len() <= LONGEST_NAME)
                    {
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
                    let name = metadata.get(DOMAIN_KEY);
                    let domain: Option<Domain> = name.and_then(|name| name.parse().ok());
                    content.domain = domain.or(content.domain);
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
                    self.domain = Some(start.domain);
                }
                self.start = start.or(self.start.take());
                return 0;
            }
            // A scan of another program has no number, and is passed over.
            Kind::Scan => {
                self.scans.add(message.data);
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
                    self.axes.entry(id).or_insert((wanted, axes));
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

    /// The channel of the pictures.
    pub fn picture_topic(&self, options: &LogOptions) -> Result<u16, LogProblem> {
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

    /// The channel of the commands, if there are any.
    pub fn command_topic(&self, options: &LogOptions) -> Result<Option<u16>, LogProblem> {
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
        if tolerable(bad, of) {
            return Ok(());
        }
        // Only a joystick's channel has such a problem.
        Err(match self.axes.get(&id) {
            Some(&(wanted, axes)) => LogProblem::Axis { wanted, axes },
            None => LogProblem::Malformed { what, bad, of },
        })
    }

    /// The kind of the messages of a channel.
    pub fn kind(&self, id: u16) -> Option<Kind> {
        self.topics.get(&id).and_then(|topic| topic.kind)
    }

    /// Notes what was passed over in the file and in the channels that are used.
    pub fn note(&self, path: &Path, pictures: u16, commands: Option<u16>, notes: &mut Vec<Note>) {
        if self.is_damaged {
            notes.push(Note::LogEnd {
                path: path.to_owned(),
            });
        }
        let used = [Some(pictures), commands].into_iter().flatten();
        let count: usize = used.filter_map(|id| self.malformed.get(&id)).sum();
        if count > 0 {
            notes.push(Note::Malformed {
                path: path.to_owned(),
                count,
            });
        }
    }
}
