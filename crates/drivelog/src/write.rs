//! Writes entries as MCAP.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcap::records::MessageHeader;
use mcap::write::NoSeek;
use mcap::{McapError, WriteOptions, Writer};
use pilotage_mcap::LaserScan;
use serde_json::{Value, json};

use crate::entry::{Entry, Start};

/// The topics of a log.
pub mod topics {
    /// The start of the drive, `pilotage.Start`.
    pub const START: &str = "/start";
    /// Iterations of the loop, `pilotage.Frame`.
    pub const FRAME: &str = "/frame";
    /// Pictures, `foxglove.CompressedImage`.
    pub const CAMERA: &str = "/camera";
    /// Messages, `foxglove.Log`.
    pub const LOG: &str = "/log";
    /// Scans of the lidar, `foxglove.LaserScan`.
    pub const SCAN: &str = "/scan";
    /// Pauses of the pilot, `pilotage.Pause`.
    pub const PAUSE: &str = "/pause";
    /// The end of the drive, `pilotage.End`.
    pub const END: &str = "/end";
}

/// Each topic with its schema's name and the schema. The channel's number is the place.
const CHANNELS: [(&str, &str, &str); 7] = [
    (
        topics::START,
        "pilotage.Start",
        include_str!("../schemas/start.json"),
    ),
    (
        topics::FRAME,
        "pilotage.Frame",
        include_str!("../schemas/frame.json"),
    ),
    (
        topics::CAMERA,
        "foxglove.CompressedImage",
        include_str!("../schemas/compressed_image.json"),
    ),
    (
        topics::LOG,
        "foxglove.Log",
        include_str!("../schemas/log.json"),
    ),
    (
        topics::PAUSE,
        "pilotage.Pause",
        include_str!("../schemas/pause.json"),
    ),
    (
        topics::END,
        "pilotage.End",
        include_str!("../schemas/end.json"),
    ),
    (topics::SCAN, LaserScan::SCHEMA_NAME, LaserScan::SCHEMA),
];

/// A chunk that is larger is ended, bytes. A power cut costs the chunk that is being filled.
const CHUNK: u64 = 1 << 20;
/// The name of the process in messages.
const NAME: &str = "pilotage";

/// Writes a log. A chunk is written as a whole, so that a file that ends early has only whole
/// chunks before its last one.
pub struct LogWriter<W: Write> {
    writer: Writer<NoSeek<W>>,
    channels: [u16; CHANNELS.len()],
    epoch_ns: u64,
    sequence: u32,
}

impl<W: Write> LogWriter<W> {
    /// Starts a log of the drive that `start` describes.
    ///
    /// # Errors
    /// Fails if writing fails.
    pub fn new(inner: W, start: &Start) -> io::Result<Self> {
        let options = WriteOptions::new()
            .compression(None)
            .library(concat!("pilotage ", env!("CARGO_PKG_VERSION")))
            .chunk_size(Some(CHUNK))
            .disable_seeking(true);
        let mut writer = options.create(NoSeek::new(inner)).map_err(io_error)?;
        let mut channels = [0; CHANNELS.len()];
        for (channel, (topic, schema, text)) in channels.iter_mut().zip(CHANNELS) {
            let schema = writer.add_schema(schema, "jsonschema", text.as_bytes());
            let schema = schema.map_err(io_error)?;
            let added = writer.add_channel(schema, topic, "json", &BTreeMap::new());
            *channel = added.map_err(io_error)?;
        }
        let mut log = Self {
            writer,
            channels,
            epoch_ns: start.epoch_ns,
            sequence: 0,
        };
        log.write(&Entry::Start(Box::new(start.clone())))?;
        Ok(log)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Fails if writing fails; nothing more can be written then.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let time = entry.time_ms().unwrap_or(0.0);
        let log_time = self.epoch_ns.saturating_add((time * 1e6) as u64);
        let (channel, text) = json_of(entry, log_time)?;
        let header = MessageHeader {
            channel_id: self.channels.get(channel).copied().unwrap_or_default(),
            sequence: self.sequence,
            log_time,
            publish_time: log_time,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let written = self.writer.write_to_known_channel(&header, &text);
        written.map_err(io_error)
    }

    /// Ends the current chunk, so that everything so far can be read.
    ///
    /// # Errors
    /// Fails if writing fails; nothing more can be written then.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(io_error)
    }

    /// Ends the log with its index, and returns what it was written to.
    ///
    /// # Errors
    /// Fails if writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.finish().map_err(io_error)?;
        Ok(self.writer.into_inner().into_inner())
    }
}

fn io_error(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// The place of an entry's channel, and its message.
fn json_of(entry: &Entry, log_time: u64) -> io::Result<(usize, Vec<u8>)> {
    let timestamp = json!({
        "sec": log_time / 1_000_000_000,
        "nsec": log_time % 1_000_000_000,
    });
    let text = |value: &Value| serde_json::to_vec(value);
    let (channel, text) = match entry {
        Entry::Start(start) => (0, serde_json::to_vec(start)),
        Entry::Frame(frame) => (1, serde_json::to_vec(frame)),
        Entry::Picture(picture) => (
            2,
            text(&json!({
                "timestamp": timestamp,
                "frame_id": "camera",
                "data": STANDARD.encode(&picture.jpeg),
                "format": "jpeg",
                "sequence": picture.sequence,
                "captured_ms": picture.captured_ms,
            })),
        ),
        Entry::Message(message) => (
            3,
            text(&json!({
                "timestamp": timestamp,
                "level": message.level as u8,
                "message": message.text,
                "name": NAME,
                "file": "",
                "line": 0,
                "time_ms": message.time_ms,
            })),
        ),
        Entry::Pause(pause) => (4, serde_json::to_vec(pause)),
        Entry::End(end) => (5, serde_json::to_vec(end)),
        Entry::Scan(scan) => {
            let times = (scan.taken_ms, log_time);
            let message = LaserScan::of(&scan.scan, scan.number, times);
            (6, serde_json::to_vec(&message))
        }
    };
    Ok((channel, text?))
}
