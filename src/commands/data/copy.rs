//! Copies records to a new recording, as a data.csv folder or a Donkeycar tub.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pilotage_dataset::{
    DatasetError, FolderWriter, Picture, PictureFile, PictureProblem, Record, Recording, TubWriter,
    WriteError,
};

use super::warn;

/// The JPEG quality of pictures that have to be encoded again.
const QUALITY: u8 = 95;

/// A new recording. Its folder gets its name when the recording is complete; until then, and after
/// an error, it does not exist.
pub(super) struct Copy {
    to: PathBuf,
    part: PathBuf,
    writer: Option<Writer>,
}

/// Either writer.
enum Writer {
    Folder(FolderWriter),
    Tub(TubWriter),
}

impl Copy {
    /// Creates a hidden folder beside `to`, which must be new or empty.
    pub fn create(to: &Path, recording: &Recording, is_tub: bool) -> anyhow::Result<Self> {
        if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{}: is not empty; name a new folder", to.display());
        }
        let extra = recording.records().iter().flat_map(|record| &record.extra);
        let extra: BTreeSet<String> = extra.map(|(name, _)| name.to_string()).collect();
        let extra: Vec<String> = extra.into_iter().collect();
        let mut copy = Self {
            to: to.to_owned(),
            part: part(to)?,
            writer: None,
        };
        copy.writer = Some(Writer::create(&copy.part, &extra, is_tub)?);
        Ok(copy)
    }

    fn write(&mut self, record: &Record, bytes: &[u8]) -> Result<(), WriteError> {
        match &mut self.writer {
            Some(writer) => writer.write(record, bytes),
            None => Ok(()),
        }
    }

    /// Waits until all is on the disk, and gives the folder its name. Returns the number of records.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        let count = match self.writer.take() {
            Some(writer) => writer.finish()?,
            None => 0,
        };
        // Replaces an empty folder, too.
        fs::rename(&self.part, &self.to)
            .with_context(|| format!("cannot create {}", self.to.display()))?;
        Ok(count)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // After `finish` there is no such folder.
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Copies the records to the `copies`, each record to the one that `place` names by its index.
/// Pictures are copied as they are, unless they need their orientation applied or a tub needs a PNG
/// as JPEG.
///
/// # Errors
/// When too many pictures are bad, or a file cannot be written.
pub(super) fn copy(
    recording: &Recording,
    copies: &mut [Copy],
    place: impl Fn(usize) -> usize,
    is_tub: bool,
) -> anyhow::Result<()> {
    let records = recording.records();
    let all: Vec<usize> = (0..records.len()).collect();
    let file = |record: &Record, picture: Picture| file(recording, record, &picture, is_tub);
    let mut written = Ok(());
    let decoded = recording.for_each_picture(&all, file, |index, bytes: Vec<u8>| {
        if written.is_ok()
            && let Some(copy) = copies.get_mut(place(index))
        {
            written = copy.write(&records[index], &bytes);
        }
    })?;
    written?;
    warn(&decoded.notes(recording));
    Ok(())
}

fn file(
    recording: &Recording,
    record: &Record,
    picture: &Picture,
    is_tub: bool,
) -> Result<Vec<u8>, DatasetError> {
    // It was decoded, but it may be gone or another one by now.
    let changed = |problem: PictureProblem| DatasetError::File {
        path: recording.folder().join(&record.picture),
        reason: io::Error::other(problem),
    };
    let bytes = recording.picture_file(record).map_err(changed)?;
    let is_jpeg = match PictureFile::new(&bytes) {
        Some(file) => file.is_jpeg(),
        None => return Err(changed(PictureProblem::Format)),
    };
    Ok(match (is_jpeg || !is_tub) && !picture.turned {
        true => bytes,
        false => encode(picture, is_jpeg || is_tub),
    })
}

impl Writer {
    fn create(folder: &Path, extra: &[String], is_tub: bool) -> Result<Self, WriteError> {
        if !is_tub {
            return Ok(Self::Folder(FolderWriter::create(folder, extra)?));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let session = format!("{}_0", date(now.as_secs() / 86_400));
        let writer = TubWriter::create(folder, extra, now.as_secs_f64(), &session)?;
        Ok(Self::Tub(writer))
    }

    fn write(&mut self, record: &Record, bytes: &[u8]) -> Result<(), WriteError> {
        // The picture was decoded, so it is PNG or JPEG.
        let Some(file) = PictureFile::new(bytes) else {
            return Ok(());
        };
        match self {
            Self::Folder(writer) => writer.write(record, file),
            Self::Tub(writer) => writer.write(record, file),
        }
    }

    fn finish(self) -> Result<u64, WriteError> {
        match self {
            Self::Folder(writer) => writer.finish(),
            Self::Tub(writer) => writer.finish(),
        }
    }
}

/// A folder beside `to`, new and empty.
fn part(to: &Path) -> anyhow::Result<PathBuf> {
    let Some(name) = to.file_name() else {
        bail!("{}: has no name; name a new folder", to.display());
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".part");
    let part = to.with_file_name(hidden);
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    match fs::create_dir(&part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{}: is left by a command that was ended, or another one writes to it; remove it",
            part.display()
        ),
        made => made.with_context(|| format!("cannot create {}", part.display()))?,
    }
    Ok(part)
}

fn encode(picture: &Picture, as_jpeg: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height, colour) = (picture.width, picture.height, ExtendedColorType::Rgb8);
    // Writing to memory does not fail, and every size of a decoded picture fits a JPEG.
    let _ = match as_jpeg {
        true => JpegEncoder::new_with_quality(&mut bytes, QUALITY).write_image(
            &picture.rgb,
            width,
            height,
            colour,
        ),
        false => PngEncoder::new(&mut bytes).write_image(&picture.rgb, width, height, colour),
    };
    bytes
}

/// The date as `26-01-31`, days after 1970-01-01.
fn date(days: u64) -> String {
    let [year, month, day] = pilotage_vehicle::date(days);
    format!("{:02}-{month:02}-{day:02}", year % 100)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @$((DAYS * 86400)) +%y-%m-%d`
        for (days, expected) in [(0, "70-01-01"), (20_454, "26-01-01"), (19_782, "24-02-29")] {
            assert_eq!(super::date(days), expected);
        }
    }
}
