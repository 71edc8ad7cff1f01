//! Reads a log, whole or cut off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcap::records::op;
use serde::Deserialize;

use crate::entry::{End, Entry, Frame, Level, Message, Pause, Picture, Start};
use crate::write::topics;

/// The longest record, bytes. A chunk of [`LogWriter`](crate::LogWriter) has about 1 MB.
const LONGEST_RECORD: u64 = 64 << 20;
/// Most channels.
const MOST_CHANNELS: usize = 1024;
/// Opcode and length before each record.
const HEAD: usize = 9;

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
    /// The chunks are compressed.
    #[error(
        "{}: is compressed with {compression}, which a log of Pilotage is not: rewrite it with \
         `mcap compress --compression none`", path.display()
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The compression's name.
        compression: String,
    },
}

/// Reads the entries of a log in their order, as a stream. When the file ends early or is damaged,
/// the entries of all chunks before that are read, and [`damaged`](Self::damaged) is true.
#[derive(Debug)]
pub struct Reader<R> {
    path: PathBuf,
    source: R,
    start: Start,
    channels: HashMap<u16, Topic>,
    record: Vec<u8>,
    /// The chunk that is being read, and the next record in it.
    chunk: Vec<u8>,
    next: usize,
    ended: bool,
    damaged: bool,
}

#[derive(Debug, Clone, Copy)]
enum Topic {
    Start,
    Frame,
    Camera,
    Log,
    Pause,
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
        let failed = |reason| ReadError::File {
            path: path.to_owned(),
            reason,
        };
        // A pipe without a writer is opened without waiting.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut options = File::options();
        let file = options.read(true).custom_flags(nonblock).open(path);
        let file = file.map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(ReadError::NotFile(path.to_owned()));
        }
        Self::new(BufReader::new(file), path)
    }
}

impl<R: Read> Reader<R> {
    /// Reads a log from `source`; `path` is its name in errors.
    ///
    /// # Errors
    /// Fails if the source cannot be read, or is not a log.
    pub fn new(mut source: R, path: &Path) -> Result<Self, ReadError> {
        let mut magic = [0; 8];
        match source.read_exact(&mut magic) {
            Ok(()) if magic == *mcap::MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(ReadError::File {
                    path: path.to_owned(),
                    reason: error,
                });
            }
            _ => return Err(ReadError::NotMcap(path.to_owned())),
        }
        let mut reader = Self {
            path: path.to_owned(),
            source,
            start: Start::unknown(),
            channels: HashMap::new(),
            record: Vec::new(),
            chunk: Vec::new(),
            next: 0,
            ended: false,
            damaged: false,
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
        self.damaged
    }

    /// The next entry; `None` at the end, or where the file is cut off or damaged.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is compressed.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            if let Some((opcode, from, to)) = self.in_chunk() {
                let body = self.chunk.get(from..to).unwrap_or_default();
                if let Some(entry) = entry(opcode, body, &mut self.channels) {
                    return Ok(Some(entry));
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            self.next_record()?;
        }
    }

    /// The next record in the chunk: its opcode, and where its body is.
    fn in_chunk(&mut self) -> Option<(u8, usize, usize)> {
        let head = self.chunk.get(self.next..self.next.checked_add(HEAD)?)?;
        let (opcode, length) = head_of(head)?;
        let from = self.next + HEAD;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        if to > self.chunk.len() {
            // Its checksum was right: another program wrote it so.
            (self.damaged, self.next) = (true, self.chunk.len());
            return None;
        }
        self.next = to;
        Some((opcode, from, to))
    }

    /// Reads a record of the file; a chunk becomes the present one.
    fn next_record(&mut self) -> Result<(), ReadError> {
        let mut head = [0; HEAD];
        let Some((opcode, length)) = self.fill(&mut head)?.then(|| head_of(&head)).flatten() else {
            self.stop(true);
            return Ok(());
        };
        if opcode == 0 || length > LONGEST_RECORD {
            // A power cut may leave zeros.
            self.stop(true);
            return Ok(());
        }
        self.record.clear();
        let mut body = (&mut self.source).take(length);
        let read = body.read_to_end(&mut self.record);
        let read = read.map_err(|reason| ReadError::File {
            path: self.path.clone(),
            reason,
        })?;
        if read as u64 != length {
            self.stop(true);
            return Ok(());
        }
        match opcode {
            op::CHUNK => self.open_chunk(),
            // The rest is an index.
            op::DATA_END | op::FOOTER => {
                self.stop(false);
                Ok(())
            }
            // In a file without chunks.
            _ => {
                self.chunk.clear();
                self.chunk.extend_from_slice(&head);
                self.chunk.append(&mut self.record);
                self.next = 0;
                Ok(())
            }
        }
    }

    fn open_chunk(&mut self) -> Result<(), ReadError> {
        let Some(chunk) = Chunk::parse(&self.record) else {
            self.stop(true);
            return Ok(());
        };
        if !chunk.compression.is_empty() {
            let name = String::from_utf8_lossy(chunk.compression);
            return Err(ReadError::Compressed {
                path: self.path.clone(),
                compression: name.chars().take(32).collect(),
            });
        }
        if chunk.sum != 0 && crc32fast::hash(chunk.records) != chunk.sum {
            self.stop(true);
            return Ok(());
        }
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk.records);
        self.next = 0;
        Ok(())
    }

    fn stop(&mut self, damaged: bool) {
        (self.ended, self.damaged) = (true, self.damaged || damaged);
        self.chunk.clear();
    }

    /// Fills `bytes`. Returns whether the file had as many.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, ReadError> {
        match self.source.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(reason) => Err(ReadError::File {
                path: self.path.clone(),
                reason,
            }),
        }
    }
}

fn head_of(head: &[u8]) -> Option<(u8, u64)> {
    let (&opcode, length) = head.split_first()?;
    Some((opcode, u64::from_le_bytes(length.try_into().ok()?)))
}

/// The fields of a record, from its start. They are parsed here and not by the library, which
/// reserves memory for a text before it knows that the record is as long.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.take(LENGTH)?.try_into().ok()
    }

    /// A text with its length before it.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }
}

/// A chunk: <https://mcap.dev/spec#chunk-op0x06>.
struct Chunk<'a> {
    /// CRC-32 of the records; 0 for none.
    sum: u32,
    compression: &'a [u8],
    records: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn parse(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(record);
        // Times of the first and last message, and the size without compression.
        fields.take(3 * 8)?;
        let sum = u32::from_le_bytes(fields.array()?);
        let compression = fields.text()?;
        let length = u64::from_le_bytes(fields.array()?);
        Some(Self {
            sum,
            compression,
            records: fields.take(usize::try_from(length).ok()?)?,
        })
    }
}

/// The entry of a record, if it is a message of a known topic that can be parsed. Only channels
/// and messages are parsed: <https://mcap.dev/spec#records>.
fn entry(opcode: u8, body: &[u8], channels: &mut HashMap<u16, Topic>) -> Option<Entry> {
    let mut fields = Fields(body);
    let channel = u16::from_le_bytes(fields.array()?);
    match opcode {
        op::CHANNEL => {
            let _schema: [u8; 2] = fields.array()?;
            let topic = Topic::named(str::from_utf8(fields.text()?).ok()?)?;
            if fields.text()? == b"json" && channels.len() < MOST_CHANNELS {
                channels.insert(channel, topic);
            }
            None
        }
        op::MESSAGE => {
            // A number, and the times of logging and publishing.
            fields.take(4 + 2 * 8)?;
            parse(*channels.get(&channel)?, fields.0)
        }
        _ => None,
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
        Topic::End => Entry::End(serde_json::from_slice::<End>(text).ok()?),
    })
}
