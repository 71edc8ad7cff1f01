//! The data of tensors in files beside the model, ONNX's external data
//! (<https://onnx.ai/onnx/repo-docs/ExternalData.html>). PyTorch's exporter writes weights this way.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::GraphError;
use crate::data_file_error::DataFileError;
use crate::onnx::{StringStringEntryProto, TensorProto};

/// TensorProto.DataLocation.EXTERNAL
const EXTERNAL: i32 = 1;

/// The files of one folder that may hold the data of a model's tensors. Nothing outside of the
/// folder is read, and nothing but regular files. Each file is read once, as a whole, when the
/// first tensor needs it.
///
/// [`Graph::read_with_data`](crate::Graph::read_with_data) takes them;
/// [`Graph::read`](crate::Graph::read) reads no file.
#[derive(Debug, Clone)]
pub struct DataFiles {
    folder: PathBuf,
    max_bytes: u64,
    files: BTreeMap<String, Vec<u8>>,
}

impl DataFiles {
    /// The files of `folder`, usually the folder of the model; an empty path is the current
    /// folder. At most `max_bytes` are read of all files together.
    pub fn new(folder: &Path, max_bytes: usize) -> Self {
        let here = folder.as_os_str().is_empty();
        Self {
            folder: if here { Path::new(".") } else { folder }.to_owned(),
            max_bytes: max_bytes as u64,
            files: BTreeMap::new(),
        }
    }

    /// The files that were read, by their paths in the model: path and content.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.files.iter();
        files.map(|(location, content)| (location.as_str(), content.as_slice()))
    }

    /// The bytes of a tensor of `expected` bytes, from the file that `entries` name.
    fn take(
        &mut self,
        entries: &[StringStringEntryProto],
        expected: usize,
    ) -> Result<Vec<u8>, DataFileError> {
        let place = Place::of(entries)?;
        if let Some(found) = place.length.filter(|&length| length != expected as u64) {
            return Err(DataFileError::Length { expected, found });
        }
        let content = self.content(place.location)?;
        let start = usize::try_from(place.offset).ok();
        let data = start.and_then(|start| content.get(start..start.checked_add(expected)?));
        data.map(<[u8]>::to_vec)
            .ok_or_else(|| DataFileError::Short {
                location: place.location.to_owned(),
                offset: place.offset,
                found: content.len(),
            })
    }

    fn content(&mut self, location: &str) -> Result<&[u8], DataFileError> {
        if !self.files.contains_key(location) {
            let used: usize = self.files.values().map(Vec::len).sum();
            let left = self.max_bytes.saturating_sub(used as u64);
            let content = read(&self.folder, location, left).map_err(|error| match error {
                // The limit of all files together.
                DataFileError::TooLarge { location, .. } => DataFileError::TooLarge {
                    location,
                    limit: self.max_bytes,
                },
                other => other,
            })?;
            self.files.insert(location.to_owned(), content);
        }
        Ok(self.files.get(location).map_or(&[], Vec::as_slice))
    }
}

/// Where a tensor's data is.
struct Place<'a> {
    location: &'a str,
    offset: u64,
    /// Without it, the data is as long as the tensor's shape needs.
    length: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(entries: &'a [StringStringEntryProto]) -> Result<Self, DataFileError> {
        let find = |key: &str| {
            let entry = entries.iter().find(|entry| entry.key == key);
            entry.map(|entry| entry.value.as_str())
        };
        let number = |key: &'static str| {
            let parse = |text: &str| {
                text.trim().parse().map_err(|_| DataFileError::NotANumber {
                    key,
                    value: text.to_owned(),
                })
            };
            find(key).map(parse).transpose()
        };
        Ok(Self {
            location: find("location").ok_or(DataFileError::NoLocation)?,
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        })
    }
}

/// Whether the tensor's data is in another file.
pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == EXTERNAL || !tensor.external_data.is_empty()
}

/// The path that the tensor's data is at, if it is in another file.
pub(crate) fn location(tensor: &TensorProto) -> Option<&str> {
    let place = is_external(tensor).then(|| Place::of(&tensor.external_data));
    Some(place?.ok()?.location)
}

/// Moves the data of a tensor of `expected` bytes from its file into the message.
pub(crate) fn load(
    name: &str,
    tensor: &mut TensorProto,
    expected: usize,
    files: &mut DataFiles,
) -> Result<(), GraphError> {
    let entries = std::mem::take(&mut tensor.external_data);
    let data = files.take(&entries, expected);
    tensor.raw_data = Some(data.map_err(|reason| GraphError::DataFile {
        name: name.to_owned(),
        reason,
    })?);
    tensor.data_location = 0;
    Ok(())
}

/// The content of `folder`/`location`, at most `limit` bytes.
fn read(folder: &Path, location: &str, limit: u64) -> Result<Vec<u8>, DataFileError> {
    let too_large = || DataFileError::TooLarge {
        location: location.to_owned(),
        limit,
    };
    let unreadable = |error: io::Error| DataFileError::Unreadable {
        location: location.to_owned(),
        reason: error.to_string(),
    };
    let file = open(folder, location)?;
    if file.metadata().map_err(unreadable)?.len() > limit {
        return Err(too_large());
    }
    let mut content = Vec::new();
    // The file may grow.
    let mut part = file.take(limit.saturating_add(1));
    part.read_to_end(&mut content).map_err(unreadable)?;
    match content.len() as u64 > limit {
        true => Err(too_large()),
        false => Ok(content),
    }
}

/// Opens `folder`/`location`, which must be a regular file that lies in the folder even after all
/// links are followed. The call never waits, neither for the writer of a FIFO nor for a device.
fn open(folder: &Path, location: &str) -> Result<File, DataFileError> {
    let owned = || location.to_owned();
    let unreadable = |error: io::Error| DataFileError::Unreadable {
        location: owned(),
        reason: error.to_string(),
    };
    let regular = |kind: FileType| match other_kind(kind) {
        None => Ok(()),
        Some(kind) => Err(DataFileError::NotRegular {
            location: owned(),
            kind,
        }),
    };
    let relative = Path::new(location);
    let mut parts = relative.components();
    let within = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !parts.all(within) {
        return Err(DataFileError::Path { location: owned() });
    }
    let path = folder.join(relative);
    // A device is not even opened: opening some of them has effects.
    regular(fs::metadata(&path).map_err(unreadable)?.file_type())?;
    let real = path.canonicalize().map_err(unreadable)?;
    if !real.starts_with(folder.canonicalize().map_err(unreadable)?) {
        return Err(DataFileError::Outside { location: owned() });
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(real).map_err(unreadable)?;
    // The file may have been replaced since.
    regular(file.metadata().map_err(unreadable)?.file_type())?;
    Ok(file)
}

/// What a file is, if it is not a regular one.
fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_fifo() => Some("a FIFO"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}
