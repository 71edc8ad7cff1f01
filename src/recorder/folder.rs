//! The folder of a recording: pictures, and data.csv with a row for each.

mod continued;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use pilotage_dataset::{DatasetError, RECORDING, SCANS, ScanWriter, read_domain, write_domain};
use pilotage_vehicle::{Domain, Measurement, Mixer, Scan, monotonic};
use pilotage_vision::{FrameView, Layout, PixelFormat, Preprocess, Vision, VisionError};
use rustix::fs::{FlockOperation, flock};

use super::Numbers;
use crate::high_level::Commands;
use continued::continued;

/// The first line of data.csv: the columns of crates/training's recordings, the car's own values, what
/// its sensors measured, the high-level command, and the place of the lidar's scan.
const HEADER: &str = "image_name,v,w,timestamp,steering,throttle,measured_speed,measured_yaw_rate,\
                      measured_acceleration,measured_lateral_acceleration,command,scan";
/// The first lines that versions before wrote. Such a recording is continued as it is.
const NUMBERS_HEADER: &str = "image_name,v,w,timestamp,steering,throttle,measured_speed,measured_yaw_rate,\
                              measured_acceleration,measured_lateral_acceleration,command";
const SHORT_HEADER: &str = "image_name,v,w,timestamp,steering,throttle";

/// The file format of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JPEG of this quality, 1 to 100.
    Jpeg(u8),
    /// PNG: lossless, three times as large and slow.
    Png,
}

impl Encoding {
    const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg(_) => "jpg",
            Self::Png => "png",
        }
    }
}

/// Why a folder cannot be recorded to, or a frame cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused it.
    #[error("{path}: {reason}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The folder contains other files.
    #[error("{0} is neither empty nor a recording of `pilotage record`: name another folder")]
    Foreign(PathBuf),
    /// Another program wrote the data.csv.
    #[error(
        "{path}: its first line is not `{HEADER}`, so it is no recording of `pilotage record`; \
         name another folder"
    )]
    Header {
        /// The file.
        path: PathBuf,
    },
    /// The recording in the folder is of another kind of car.
    #[error(
        "{path}: is a recording of a {} car, and this car is {}; name another folder",
        recorded.name(), now.name()
    )]
    Domain {
        /// The folder.
        path: PathBuf,
        /// What was recorded.
        recorded: Domain,
        /// What is to be recorded.
        now: Domain,
    },
    /// The recording in the folder has pictures of another size.
    #[error(
        "{path}: is a recording of {}x{} pixels, and this camera's frames have {}x{}; name another \
         folder, or set the camera to the recording's size",
        recorded.0, recorded.1, now.0, now.1
    )]
    Size {
        /// The folder.
        path: PathBuf,
        /// Width and height of the last recorded picture.
        recorded: (u32, u32),
        /// Width and height of the frames that are to be recorded.
        now: (u32, u32),
    },
    /// The file with the domain cannot be read or written.
    #[error(transparent)]
    DomainFile(#[from] DatasetError),
    /// Another recorder uses the folder.
    #[error("{0}: another `pilotage record` writes to this folder")]
    Taken(PathBuf),
    /// A frame cannot be encoded.
    #[error("{path}: {reason}")]
    Image {
        /// The picture.
        path: PathBuf,
        /// The encoder's error.
        reason: ImageError,
    },
    /// A frame does not have the camera's format.
    #[error(transparent)]
    Frame(#[from] VisionError),
}

/// A folder that is locked for this recorder. If no frame has been recorded when it is dropped, what
/// was created is removed again.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether the folder did not exist.
    created: bool,
    list: File,
    /// The length of the complete rows, bytes.
    length: u64,
    /// The first line.
    header: &'static str,
    next: u64,
    encoding: Encoding,
    /// Width and height of the last recorded picture, pixels.
    size: Option<(u32, u32)>,
}

impl Folder {
    /// Creates the folder, or continues the recording in it: an incomplete row is removed, and so
    /// are last rows whose pictures did not survive a power cut. Numbers continue after the
    /// largest.
    ///
    /// # Errors
    /// Fails if the folder contains other files, or cannot be written.
    pub fn open(path: &Path, encoding: Encoding) -> Result<Self, FolderError> {
        let list_path = path.join("data.csv");
        let failed = |reason| file(path, reason);
        let created = !path.exists();
        fs::create_dir_all(path).map_err(failed)?;
        // Checked before the list is created, which would stay in a folder that is refused.
        if !list_path.exists() {
            for entry in fs::read_dir(path).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                let name = name.to_string_lossy();
                // Another recorder may create the list at the same time.
                if name != "data.csv" && !is_part(&name) {
                    return Err(FolderError::Foreign(path.to_owned()));
                }
            }
        }
        let of_list = |reason| file(&list_path, reason);
        let mut list = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&list_path)
            .map_err(of_list)?;
        flock(&list, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| FolderError::Taken(path.to_owned()))?;
        let (header, (length, size)) = continued(path, &mut list, &list_path)?;
        // The folder is locked: no other recorder adds pictures to those that are counted here.
        let mut next = 0;
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(number) = number(&name) {
                next = next.max(number.saturating_add(1));
            } else if is_part(&name) {
                // Left by a recorder that was killed.
                let _ = fs::remove_file(entry.path());
            }
        }
        // No recorder gets so far, and the numbers must not run out: a picture would be replaced.
        if next > u64::MAX / 2 {
            return Err(FolderError::Foreign(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            created,
            list,
            length,
            header,
            next,
            encoding,
            size,
        })
    }

    /// Records beside the list whether a simulated or a physical car is recorded, if it is known. A
    /// recording that is continued keeps what it says.
    ///
    /// # Errors
    /// Fails if the folder has a recording of the other kind, or cannot be written.
    pub fn of_domain(self, now: Option<Domain>) -> Result<Self, FolderError> {
        let Some(now) = now else {
            return Ok(self);
        };
        if self.has_no_rows() {
            write_domain(&self.path, now)?;
            return Ok(self);
        }
        match read_domain(&self.path)? {
            Some(recorded) if recorded != now => Err(FolderError::Domain {
                path: self.path.clone(),
                recorded,
                now,
            }),
            // Of older rows nothing may be known.
            _ => Ok(self),
        }
    }

    /// Whether the list has its header only.
    const fn has_no_rows(&self) -> bool {
        self.length == self.header.len() as u64 + 1
    }

    /// How many pictures the recording has that is continued; `None` for a new one.
    pub const fn continued(&self) -> Option<u64> {
        match self.next {
            0 => None,
            pictures => Some(pictures),
        }
    }

    /// Whether the rows have what sensors measured, and the high-level command: of a recording that an
    /// older version began they do not.
    pub fn has_numbers(&self) -> bool {
        self.header != SHORT_HEADER
    }

    /// Whether the rows have the place of a scan: of a recording that an older version began they do not.
    pub fn has_scans(&self) -> bool {
        self.header == HEADER
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's file system, to wait until all that was written is on the disk.
    ///
    /// # Errors
    /// Fails if the folder cannot be opened.
    pub(super) fn file_system(&self) -> Result<File, FolderError> {
        File::open(&self.path).map_err(|reason| file(&self.path, reason))
    }

    /// A writer for frames of this format. They must have the size of the pictures that the folder
    /// has: networks are trained on pictures of one size.
    pub(super) fn of(
        self,
        (format, width, height): (PixelFormat, u32, u32),
        mixer: Mixer,
        commands: Option<Arc<Commands>>,
    ) -> Result<Writer, FolderError> {
        let now = (width, height);
        if let Some(recorded) = self.size.filter(|&recorded| recorded != now) {
            return Err(FolderError::Size {
                path: self.path.clone(),
                recorded,
                now,
            });
        }
        let mut preprocess = Preprocess::new(width, height);
        preprocess.layout = Layout::Nhwc;
        let vision = Vision::new(&preprocess, width, height, format)?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        // The wall clock is read once: setting it during a recording must not make the times jump.
        let epoch = wall.unwrap_or_default().as_secs_f64() - monotonic().as_secs_f64();
        Ok(Writer {
            folder: self,
            pixels: vec![0; vision.output_len()],
            vision,
            encoded: Vec::with_capacity(PixelFormat::Rgb8.frame_len(width, height)?),
            mixer,
            commands,
            epoch,
            scans: None,
        })
    }
}

impl Drop for Folder {
    /// An empty recording is removed: it would be in the way of the next one.
    fn drop(&mut self) {
        if self.next > 0 || !self.has_no_rows() {
            return;
        }
        let _ = fs::remove_file(self.path.join(RECORDING));
        let _ = fs::remove_file(self.path.join("data.csv"));
        let _ = fs::remove_file(self.path.join(SCANS));
        if self.created {
            // Only if nothing else is in it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Writes frames to a folder.
pub(super) struct Writer {
    folder: Folder,
    vision: Vision,
    pixels: Vec<u8>,
    encoded: Vec<u8>,
    mixer: Mixer,
    /// The names of high-level commands.
    commands: Option<Arc<Commands>>,
    /// The wall clock's time at zero of the monotonic clock, seconds.
    epoch: f64,
    /// Opened for the first scan.
    scans: Option<ScanWriter>,
}

impl Writer {
    /// Adds a frame and its row. After an error the folder is as it was before.
    pub(super) fn write(
        &mut self,
        frame: FrameView<'_>,
        (steering, throttle): (f32, f32),
        numbers: Numbers<'_>,
    ) -> Result<(), FolderError> {
        self.vision.resize_to_u8(frame, &mut self.pixels)?;
        let folder = &mut self.folder;
        let name = format!("{:06}.{}", folder.next, folder.encoding.extension());
        let path = folder.path.join(&name);
        self.encoded.clear();
        let colour = ExtendedColorType::Rgb8;
        let (width, height) = (frame.width, frame.height);
        match folder.encoding {
            Encoding::Jpeg(quality) => JpegEncoder::new_with_quality(&mut self.encoded, quality)
                .write_image(&self.pixels, width, height, colour),
            Encoding::Png => {
                PngEncoder::new(&mut self.encoded).write_image(&self.pixels, width, height, colour)
            }
        }
        .map_err(|reason| FolderError::Image {
            path: path.clone(),
            reason,
        })?;
        // A picture gets its name only when it is complete.
        let part = folder.path.join(format!(".{name}.part"));
        let kept = fs::write(&part, &self.encoded).and_then(|()| fs::rename(&part, &path));
        if let Err(reason) = kept {
            let _ = fs::remove_file(&part);
            return Err(file(&path, reason));
        }
        let scan = match scan(folder, &mut self.scans, numbers.scan) {
            Ok(scan) => scan,
            Err(reason) => {
                let _ = fs::remove_file(&path);
                return Err(file(&folder.path.join(SCANS), reason));
            }
        };
        let (v, w) = self.mixer.twist(steering, throttle);
        let time = self.epoch + frame.captured.as_secs_f64();
        let mut row = format!("{name},{v:.6},{w:.6},{time:.6},{steering:.6},{throttle:.6}");
        if folder.has_numbers() {
            for measurement in Measurement::ALL {
                row.push(',');
                if let Some(number) = numbers.measured.get(measurement) {
                    // Writing to a String does not fail.
                    let _ = write!(row, "{number:.6}");
                }
            }
            let names = self.commands.as_deref().zip(numbers.command);
            let name = names.and_then(|(names, place)| names.name(place));
            row.push(',');
            row.push_str(name.unwrap_or_default());
        }
        if folder.has_scans() {
            row.push(',');
            if let Some(place) = scan {
                let _ = write!(row, "{place}");
            }
        }
        row.push('\n');
        if let Err(reason) = folder.list.write_all(row.as_bytes()) {
            let _ = folder.list.set_len(folder.length);
            let _ = fs::remove_file(&path);
            return Err(file(&folder.path.join("data.csv"), reason));
        }
        folder.length += row.len() as u64;
        folder.next = folder.next.saturating_add(1);
        Ok(())
    }
}

/// Writes a frame's scan, and returns its place.
fn scan(
    folder: &Folder,
    scans: &mut Option<ScanWriter>,
    scan: Option<&Scan>,
) -> io::Result<Option<u64>> {
    let Some(scan) = scan.filter(|_| folder.has_scans()) else {
        return Ok(None);
    };
    let writer = match scans {
        Some(writer) => writer,
        none => none.insert(ScanWriter::open(&folder.path, scan.rays)?),
    };
    writer.write(scan)
}

/// The number in the name of a recorded picture.
fn number(name: &str) -> Option<u64> {
    let (number, extension) = name.split_once('.')?;
    let ours = ["jpg", "png"].contains(&extension) && number.len() >= 6;
    ours.then(|| number.parse().ok())?
}

/// Whether this is an incomplete recorded picture.
fn is_part(name: &str) -> bool {
    let name = name.strip_prefix('.');
    name.and_then(|name| name.strip_suffix(".part"))
        .is_some_and(|name| number(name).is_some())
}

fn file(path: &Path, reason: io::Error) -> FolderError {
    FolderError::File {
        path: path.to_owned(),
        reason,
    }
}
