//! Writes a recording as an MCAP file that Foxglove opens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcap::records::{MessageHeader, Metadata};
use mcap::{McapError, WriteOptions, Writer};
use pilotage_mcap::LaserScan;
use pilotage_vehicle::{Domain, Measurement, Scan};
use serde_json::{Value, json};

use super::{PictureFile, WriteError, file_error};
use crate::mcap::{DOMAIN_KEY, METADATA};
use crate::record::{COMMAND, Record, SCAN};

/// The time between two pictures of a recording without times, nanoseconds.
const PERIOD: u64 = 50_000_000;
/// A chunk that is larger is ended, bytes.
const CHUNK: u64 = 1 << 20;
const TOPICS: [(&str, &str, &str); 3] = [
    (
        "/camera",
        "foxglove.CompressedImage",
        include_str!("../../schemas/compressed_image.json"),
    ),
    (
        "/record",
        "pilotage.Record",
        include_str!("../../schemas/record.json"),
    ),
    ("/scan", LaserScan::SCHEMA_NAME, LaserScan::SCHEMA),
];

/// Writes an MCAP file with the topics `/camera` (`foxglove.CompressedImage`), `/record`
/// (`pilotage.Record`: steering, throttle, v, w, what was measured and commanded, the number of the scan, and
/// the time of the picture with the same `sequence`) and `/scan` (`foxglove.LaserScan`), in JSON. Further numbers are not written. A message needs a time: pictures without one get one every
/// 0.05 s, and the time of their record is null.
pub struct McapWriter {
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
    channels: [u16; TOPICS.len()],
    next: u64,
    /// The time of the last picture, nanoseconds.
    time: u64,
    /// The latest scan, which several pictures may have, and how many there were.
    scan: Option<Arc<Scan>>,
    scans: u64,
}

impl std::fmt::Debug for McapWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("McapWriter");
        debug.field("path", &self.path).finish_non_exhaustive()
    }
}

impl McapWriter {
    /// Creates the file, which must be new.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, recorded: Option<Domain>) -> Result<Self, WriteError> {
        let file = File::create_new(path).map_err(file_error(path))?;
        let begin = || {
            let options = WriteOptions::new()
                .compression(None)
                .library(concat!("pilotage ", env!("CARGO_PKG_VERSION")))
                .chunk_size(Some(CHUNK));
            let mut writer = options.create(BufWriter::new(file))?;
            let mut channels = [0; TOPICS.len()];
            for (channel, (topic, schema, text)) in channels.iter_mut().zip(TOPICS) {
                let schema = writer.add_schema(schema, "jsonschema", text.as_bytes())?;
                *channel = writer.add_channel(schema, topic, "json", &BTreeMap::new())?;
            }
            if let Some(recorded) = recorded {
                let value = recorded.name().to_owned();
                writer.write_metadata(&Metadata {
                    name: METADATA.to_owned(),
                    metadata: BTreeMap::from([(DOMAIN_KEY.to_owned(), value)]),
                })?;
            }
            Ok((writer, channels))
        };
        let (writer, channels) = begin().map_err(of_mcap(path))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            channels,
            next: 0,
            time: 0,
            scan: None,
            scans: 0,
        })
    }

    /// Adds a record with its picture; the record's own path is not used.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, record: &Record, picture: PictureFile<'_>) -> Result<(), WriteError> {
        let time = match record.time {
            // A cast saturates.
            Some(time) => (time * 1e9).round() as u64,
            None if self.next == 0 => 0,
            None => self.time.saturating_add(PERIOD),
        };
        self.time = time;
        let image = json!({
            "timestamp": {"sec": time / 1_000_000_000, "nsec": time % 1_000_000_000},
            "frame_id": "camera",
            "data": STANDARD.encode(picture.bytes),
            "format": if picture.is_jpeg() { "jpeg" } else { "png" },
            "sequence": self.next,
        });
        let mut values = json!({
            "sequence": self.next,
            "steering": record.steering,
            "throttle": record.throttle,
            "v": record.speed,
            "w": record.yaw_rate,
            "time": record.time,
        });
        for measurement in Measurement::ALL {
            if let Some(number) = record.measured.get(measurement) {
                values[measurement.column()] = json!(number);
            }
        }
        if let Some(command) = &record.command {
            values[COMMAND] = json!(**command);
        }
        let [camera, records, scans] = self.channels;
        if let Some(scan) = &record.scan {
            if self.scan.as_ref() != Some(scan) {
                self.scan = Some(Arc::clone(scan));
                self.scans += 1;
                let message = LaserScan::of(scan, self.scans, (time as f64 * 1e-6, time));
                self.message(scans, &json!(message))?;
            }
            values[SCAN] = json!(self.scans);
        }
        self.message(camera, &image)?;
        self.message(records, &values)?;
        self.next += 1;
        Ok(())
    }

    fn message(&mut self, channel_id: u16, message: &Value) -> Result<(), WriteError> {
        let header = MessageHeader {
            channel_id,
            sequence: self.next as u32,
            log_time: self.time,
            publish_time: self.time,
        };
        let text = message.to_string();
        let written = self.writer.write_to_known_channel(&header, text.as_bytes());
        written.map_err(of_mcap(&self.path))
    }

    /// Ends the file with its index, and waits until it is on the disk. Returns the number of
    /// records.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<u64, WriteError> {
        self.writer.finish().map_err(of_mcap(&self.path))?;
        let file = self.writer.into_inner().into_inner();
        let file = file.map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all())
            .map_err(file_error(&self.path))?;
        Ok(self.next)
    }
}

fn of_mcap(path: &Path) -> impl FnOnce(McapError) -> WriteError + '_ {
    move |error| WriteError::File {
        path: path.to_owned(),
        reason: match error {
            McapError::Io(error) => error,
            other => std::io::Error::other(other),
        },
    }
}
