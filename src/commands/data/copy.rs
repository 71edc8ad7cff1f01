//! Copies records to a new recording: a data.csv folder, a Donkeycar tub or an MCAP file.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pilotage_dataset::{
    DatasetError, FolderWriter, McapWriter, Picture, PictureFile, PictureProblem, Record,
    Recording, TubWriter, WriteError,
};
use pilotage_vehicle::Domain;

use super::warn;

/// The JPEG quality of pictures that have to be encoded again.
const QUALITY: u8 = 95;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Form {
    /// A data.csv folder.
    Folder,
    /// A Donkeycar tub.
    Tub,
    /// An MCAP file.
    Mcap,
}

impl Form {
    /// The form of a recording called `to`, which is a tub if it `is_tub`.
    pub fn of(to: &Path, is_tub: bool) -> anyhow::Result<Self> {
        let is_mcap = to.extension().is_some_and(|it| it == "mcap");
        ensure!(
            !(is_mcap && is_tub),
            "{}: a tub is a folder; leave --tub or .mcap out",
            to.display()
        );
        Ok(match (is_mcap, is_tub) {
            (true, _) => Self::Mcap,
            (false, true) => Self::Tub,
            (false, false) => Self::Folder,
        })
    }

    /// Its name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "data.csv",
            Self::Tub => "Donkeycar tub",
            Self::Mcap => "MCAP",
        }
    }
}

/// A new recording. Its folder or file gets its name when the recording is complete; until then, and after
/// an error, it does not exist.
pub(in crate::commands) struct Copy {
    to: PathBuf,
    part: PathBuf,
    writer: Option<Writer>,
}

/// One of the writers.
enum Writer {
    Folder(FolderWriter),
    Tub(TubWriter),
    Mcap(Box<McapWriter>),
}

impl Copy {
    /// Creates a hidden folder or file beside `to`, which must be new or an empty folder.
    pub fn create(
        to: &Path,
        recording: &Recording,
        form: Form,
        domain: Option<Domain>,
    ) -> anyhow::Result<Self> {
        if form == Form::Mcap && to.symlink_metadata().is_ok() {
            bail!("{}: exists; name a new file", to.display());
        }
        if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{}: is not empty; name a new folder", to.display());
        }
        let extra = recording.records().iter().flat_map(|record| &record.extra);
        let extra: BTreeSet<String> = extra.map(|(name, _)| name.to_string()).collect();
        // Donkeycar's tubs have no such numbers.
        let columns = recording.records().iter().filter(|_| form == Form::Folder);
        let columns = columns.flat_map(Record::columns);
        let columns: BTreeSet<&str> = columns.collect();
        let columns = columns.into_iter().map(str::to_owned);
        let extra: Vec<String> = columns.chain(extra).collect();
        let has_scans = recording.records().iter().any(|it| it.scan.is_some());
        if has_scans && form == Form::Tub {
            pilotage_console::say(format_args!(
                "warning: a {} has no place for a lidar's scans: they are left out; a data.csv folder or an MCAP file keeps them",
                form.name()
            ));
        }
        let mut copy = Self {
            to: to.to_owned(),
            part: part(to, form)?,
            writer: None,
        };
        copy.writer = Some(Writer::create(&copy.part, &extra, form, domain)?);
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
        let _ = match self.part.is_dir() {
            true => fs::remove_dir_all(&self.part),
            false => fs::remove_file(&self.part),
        };
    }
}

/// The path without links, as far as it exists.
pub(super) fn real(folder: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(folder).with_context(|| folder.display().to_string())?;
    for known in absolute.ancestors() {
        match known.canonicalize() {
            Ok(real) => {
                let rest = absolute.strip_prefix(known).unwrap_or(Path::new(""));
                return Ok(real.join(rest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        }
    }
    Ok(absolute)
}

/// Refuses a new recording `to` within the recording `from`, which is not changed.
pub(super) fn check_outside(to: &Path, from: &Path) -> anyhow::Result<()> {
    ensure!(
        !real(to)?.starts_with(real(from)?),
        "{}: lies in {}, which is not changed; name a folder elsewhere",
        to.display(),
        from.display()
    );
    Ok(())
}

/// Copies the records to the `copies`, each record to the one that `place` names by its index.
/// Pictures are copied as they are, unless they need their orientation applied or a tub needs a PNG
/// as JPEG.
///
/// # Errors
/// When too many pictures are bad, or a file cannot be written.
pub(in crate::commands) fn copy(
    recording: &Recording,
    copies: &mut [Copy],
    place: impl Fn(usize) -> usize,
    form: Form,
) -> anyhow::Result<()> {
    let is_tub = form == Form::Tub;
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
    fn create(
        path: &Path,
        extra: &[String],
        form: Form,
        domain: Option<Domain>,
    ) -> Result<Self, WriteError> {
        match form {
            Form::Folder => {
                let writer = FolderWriter::create(path, extra, domain)?;
                return Ok(Self::Folder(writer));
            }
            Form::Mcap => return Ok(Self::Mcap(Box::new(McapWriter::create(path, domain)?))),
            Form::Tub => {}
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let session = format!("{}_0", date(now.as_secs() / 86_400));
        let writer = TubWriter::create(path, extra, now.as_secs_f64(), &session, domain)?;
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
            Self::Mcap(writer) => writer.write(record, file),
        }
    }

    fn finish(self) -> Result<u64, WriteError> {
        match self {
            Self::Folder(writer) => writer.finish(),
            Self::Tub(writer) => writer.finish(),
            Self::Mcap(writer) => writer.finish(),
        }
    }
}

/// A folder beside `to`, new and empty, or the name of a new file.
fn part(to: &Path, form: Form) -> anyhow::Result<PathBuf> {
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
    let made = match form {
        // The writer creates it.
        Form::Mcap => File::create_new(&part).and_then(|_| fs::remove_file(&part)),
        Form::Folder | Form::Tub => fs::create_dir(&part),
    };
    match made {
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
