//! Reads a log, whole or cut off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotage_mcap::{LaserScan, McapError, Record, Stream};
use serde::Deserialize;

use crate::entry::{End, Entry, Frame, Level, LidarScan, Message, Pause, Picture, Start};
use crate::write::topics;

/// Most channels.
const MOST_CHANNELS: usize = 1024;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The path is a folder, a device or a pipe.
    #[error("{}: is not a file; name a log (`pilotage log list`)", .0.display())]
    NotFile(PathBuf),
    /// The file does not begin as an MCAP file.
    #[error("{}: is not an MCAP file; name a log (`pilotage log list`)", .0.display())]
    NotMcap(PathBuf),
    /// The file has no start of a drive in its first chunk.
    #[error(
        "{}: is not a log of Pilotage, or its first chunk is damaged: it has no topic /start",
        .0.display()
    )]
    NoStart(PathBuf),
    /// The chunks are compressed in an unknown way, or the file changed.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: McapError,
    },
}

impl ReadError {
    fn of(error: McapError, path: &Path) -> Self {
        let path = path.to_owned();
        match error {
            McapError::Io(reason) => Self::File { path, reason },
            McapError::NotFile => Self::NotFile(path),
            McapError::NotMcap => Self::NotMcap(path),
            problem => Self::Format { path, problem },
        }
    }
}

/// Reads the entries of a log in their order, as a stream. When the file ends early or is damaged,
/// the entries of all chunks before that are read, and [`damaged`](Self::damaged) is true.
#[derive(Debug)]
pub struct Reader<R> {
    path: PathBuf,
    stream: Stream<R>,
    start: Start,
    channels: HashMap<u16, Topic>,
}

#[derive(Debug, Clone, Copy)]
enum Topic {
    Start,
    Frame,
    Camera,
    Log,
    Pause,
    Scan,
    End,
}

impl Topic {
    fn named(topic: &str) -> Option<Self> {
        Some(match topic {
            topics::START => Self::Start,
            topics::FRAME => Self::Frame,
            topics::CAMERA => Self::Camera,
            topics::LOG => Self::Log,
            topics::PAUSE => Self::Pause,
            topics::SCAN => Self::Scan,
            topics::END => Self::End,
            _ => return None,
        })
    }
}

impl Reader<BufReader<File>> {
    /// Opens the log `path`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not a log.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = pilotage_mcap::open(path).map_err(|error| ReadError::of(error, path))?;
        Self::new(BufReader::new(file), path)
    }
}

impl<R: Read> Reader<R> {
    /// Reads a log from `source`; `path` is its name in errors.
    ///
    /// # Errors
    /// Fails if the source cannot be read, or is not a log.
    pub fn new(source: R, path: &Path) -> Result<Self, ReadError> {
        let mut reader = Self {
            path: path.to_owned(),
            stream: Stream::new(source).map_err(|error| ReadError::of(error, path))?,
            start: Start::unknown(),
            channels: HashMap::new(),
        };
        match reader.next_entry()? {
            Some(Entry::Start(start)) => reader.start = *start,
            _ => return Err(ReadError::NoStart(path.to_owned())),
        }
        Ok(reader)
    }

    /// What is known of the drive from its start.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Whether the file ended early or was damaged, so that its last entries are missing. Known
    /// after the last entry.
    pub fn damaged(&self) -> bool {
        self.stream.is_damaged()
    }

    /// The next entry; `None` at the end, or where the file is cut off or damaged. Messages of other
    /// topics, and what cannot be parsed, are passed over.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is compressed in a way that is not read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let record = self.stream.next_record();
            let record = record.map_err(|error| ReadError::of(error, &self.path))?;
            let found = match record {
                None => return Ok(None),
                Some(Record::Channel(channel)) => {
                    if let Some(topic) = Topic::named(channel.topic)
                        && channel.encoding == "json"
                        && self.channels.len() < MOST_CHANNELS
                    {
                        self.channels.insert(channel.id, topic);
                    }
                    None
                }
                Some(Record::Message(message)) => {
                    let topic = self.channels.get(&message.channel);
                    topic.and_then(|topic| parse(*topic, message.data))
                }
                Some(_) => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

#[derive(Deserialize)]
struct Image {
    data: String,
    format: String,
    sequence: u64,
    captured_ms: f64,
}

#[derive(Deserialize)]
struct LogMessage {
    level: u8,
    message: String,
    time_ms: f64,
}

fn parse(topic: Topic, text: &[u8]) -> Option<Entry> {
    Some(match topic {
        Topic::Start => Entry::Start(Box::new(serde_json::from_slice::<Start>(text).ok()?)),
        Topic::Frame => Entry::Frame(Box::new(serde_json::from_slice::<Frame>(text).ok()?)),
        Topic::Camera => {
            let image: Image = serde_json::from_slice(text).ok()?;
            if image.format != "jpeg" {
                return None;
            }
            Entry::Picture(Picture {
                sequence: image.sequence,
                captured_ms: image.captured_ms,
                jpeg: STANDARD.decode(image.data).ok()?,
            })
        }
        Topic::Log => {
            let message: LogMessage = serde_json::from_slice(text).ok()?;
            Entry::Message(Message {
                time_ms: message.time_ms,
                level: Level::of_number(message.level),
                text: message.message,
            })
        }
        Topic::Pause => Entry::Pause(serde_json::from_slice::<Pause>(text).ok()?),
        Topic::Scan => {
            let message = serde_json::from_slice::<LaserScan>(text).ok()?;
            Entry::Scan(LidarScan {
                number: message.number,
                taken_ms: message.taken_ms,
                scan: message.scan()?,
            })
        }
        Topic::End => Entry::End(serde_json::from_slice::<End>(text).ok()?),
    })
}
