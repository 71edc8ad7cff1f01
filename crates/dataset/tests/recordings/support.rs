//! Folders of frames, as programs and accidents leave them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, Rgb, RgbImage};
use pilotage_dataset::{Recording, decode};
use tempfile::TempDir;

/// Frames of a folder.
pub const FRAMES: usize = 60;

/// A folder that is being filled.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// `count` frames `000000.jpg`, ...
    pub fn frames(&self, count: usize) -> &Self {
        for index in 0..count {
            self.write(&name(index), jpeg(index));
        }
        self
    }

    pub fn list(&self, text: impl AsRef<[u8]>) -> &Self {
        self.write("data.csv", text)
    }

    pub fn open(&self) -> Recording {
        Recording::open(self.path()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error's message, with the folder's path as FOLDER.
    pub fn error(&self) -> String {
        let error = Recording::open(self.path()).unwrap_err();
        self.shorten(&error.to_string())
    }

    pub fn shorten(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "FOLDER")
    }

    pub fn notes(&self, recording: &Recording) -> Vec<String> {
        let notes = recording.notes().iter();
        notes.map(|note| self.shorten(&note.to_string())).collect()
    }

    /// Decodes all pictures: how many are used, or the error's message.
    pub fn decode(&self) -> Result<(usize, Vec<String>), String> {
        let recording = self.open();
        let all: Vec<usize> = (0..recording.records().len()).collect();
        let decoded = recording.for_each_picture(
            &all,
            |_, picture| Ok::<_, pilotage_dataset::DatasetError>(picture.rgb.len()),
            |_, length| assert!(length > 0),
        );
        let decoded = decoded.map_err(|error| self.shorten(&error.to_string()))?;
        let used = decoded.used;
        let notes = decoded.notes(&recording);
        let notes = notes.iter().map(|note| self.shorten(&note.to_string()));
        Ok((used, notes.collect()))
    }
}

pub fn name(index: usize) -> String {
    format!("{index:06}.jpg")
}

pub fn picture(index: usize, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let index = index as u32;
        Rgb([
            (x * 5 + 3 * index) as u8,
            (y * 7) as u8,
            (x + y + 9 * index) as u8,
        ])
    })
}

pub fn jpeg(index: usize) -> Vec<u8> {
    encode_jpeg(&picture(index, 40, 30))
}

pub fn encode_jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    picture.write_with_encoder(encoder).unwrap();
    bytes
}

pub fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// `bytes`, a JPEG, with an EXIF block that holds this orientation.
pub fn with_orientation(bytes: &[u8], orientation: u8) -> Vec<u8> {
    // TIFF, big endian: one directory with one entry, tag 0x112, a SHORT.
    let tiff = [
        &b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..],
        &[orientation],
        &[0; 6],
    ]
    .concat();
    let length = (2 + 6 + tiff.len()) as u16;
    let exif = [&[0xFF, 0xE1][..], &length.to_be_bytes(), b"Exif\0\0", &tiff].concat();
    [&bytes[..2], &exif, &bytes[2..]].concat()
}

/// Speed, yaw rate and time of a frame, each with three decimals.
pub fn labels(index: usize) -> [f64; 3] {
    let exact = [
        1.0 + index as f64 / 60.0,
        (index as f64 / 9.0).sin(),
        index as f64 / 20.0,
    ];
    exact.map(|value| (value * 1e3).round() / 1e3)
}

/// data.csv with `count` rows; `field` writes the name of a picture.
pub fn rows(count: usize, separator: &str, end: &str, field: impl Fn(String) -> String) -> String {
    let mut text = ["image_name", "v", "w", "timestamp"].join(separator) + end;
    for index in 0..count {
        let [v, w, time] = labels(index);
        let numbers = [v, w, time].map(|value| format!("{value:.3}"));
        text += &(field(name(index)) + separator + &numbers.join(separator) + end);
    }
    text
}

pub fn plain_rows(count: usize) -> String {
    rows(count, ",", "\n", |name| name)
}

/// Checks a recording of [`rows`].
pub fn check(recording: &Recording, count: usize) {
    assert_eq!(recording.records().len(), count);
    for (index, record) in recording.records().iter().enumerate() {
        assert_eq!(record.picture, PathBuf::from(name(index)));
        let found = [record.speed, record.yaw_rate, record.time];
        assert_eq!(found, labels(index).map(Some), "{record:?}");
        assert_eq!((record.steering, record.throttle), (None, None));
    }
    let picture = recording.decode(&recording.records()[count - 1]).unwrap();
    assert_eq!(picture, decode(&jpeg(count - 1)).unwrap());
}
