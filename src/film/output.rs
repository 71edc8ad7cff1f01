//! Where a film goes: a GIF, or a new folder of numbered PNG files. It gets its name when it is
//! complete; until then, and after an error or a signal, there is nothing of that name.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use image::{ImageError, ImageFormat, RgbImage};

use super::FilmError;
use super::gif::GifWriter;
use super::palette::Palette;

/// Names of videos, which get an error that says how to make one.
const VIDEOS: [&str; 7] = ["mp4", "m4v", "mkv", "webm", "mov", "avi", "ogv"];
/// Most folders of interrupted films that are passed over.
const MOST_PARTS: u32 = 1000;

/// A film's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gif,
    Folder,
}

impl Target {
    /// The form that the name says. A file that exists is replaced with `force`, a folder never.
    ///
    /// # Errors
    /// When the name says neither form, or exists.
    pub fn new(path: &Path, force: bool) -> Result<Self, FilmError> {
        let owned = || path.to_owned();
        let ending = path.extension().map(|it| it.to_ascii_lowercase());
        let form = match ending.as_ref().map(|it| it.to_string_lossy()) {
            None => Form::Folder,
            Some(ending) if ending == "gif" => Form::Gif,
            Some(ending) if VIDEOS.contains(&&*ending) => return Err(FilmError::Video(owned())),
            Some(_) => return Err(FilmError::Ending(owned())),
        };
        match (form, path.symlink_metadata()) {
            (_, Err(_)) => {}
            (Form::Gif, Ok(_)) if !force => return Err(FilmError::Exists(owned())),
            (Form::Gif, Ok(found)) if !found.is_file() => return Err(FilmError::NotFile(owned())),
            (Form::Gif, Ok(_)) => {}
            (Form::Folder, Ok(_)) => {
                if !fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
                    return Err(FilmError::NotEmpty(owned()));
                }
            }
        }
        Ok(Self {
            path: owned(),
            form,
        })
    }

    pub fn is_gif(&self) -> bool {
        self.form == Form::Gif
    }

    fn failed(&self, reason: io::Error) -> FilmError {
        FilmError::Write {
            path: self.path.clone(),
            reason,
        }
    }
}

/// A film that is complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finished {
    pub path: PathBuf,
    /// It is a folder of pictures.
    pub is_folder: bool,
    pub frames: u32,
    pub bytes: u64,
    pub size: (u32, u32),
}

/// A film that is being written. Dropped before its end, it is removed.
pub(crate) struct Output {
    target: Target,
    part: Part,
    /// The file of a GIF, until its frames begin.
    file: Option<File>,
    gif: Option<GifWriter<BufWriter<File>>>,
    frames: u32,
    bytes: u64,
    size: (u32, u32),
}

/// A file or folder that is removed when it is dropped.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After the end there is nothing of this name.
        let _ = match self.0.is_dir() {
            true => fs::remove_dir_all(&self.0),
            false => fs::remove_file(&self.0),
        };
    }
}

impl Output {
    /// Creates a file or folder beside the target.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(target: &Target) -> Result<Self, FilmError> {
        let failed = |reason| target.failed(reason);
        let (file, part) = match target.form {
            Form::Gif => {
                let (file, part) = pilotage_config::create_part(&target.path).map_err(failed)?;
                (Some(file), part)
            }
            Form::Folder => (None, part_folder(&target.path).map_err(failed)?),
        };
        Ok(Self {
            target: target.clone(),
            part: Part(part),
            file,
            gif: None,
            frames: 0,
            bytes: 0,
            size: (0, 0),
        })
    }

    /// Begins the frames, of `size` pixels; a GIF has a palette.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(
        &mut self,
        size: (u32, u32),
        palette: Option<Palette>,
        rate: f64,
    ) -> Result<(), FilmError> {
        self.size = size;
        let Some((file, palette)) = self.file.take().zip(palette) else {
            return Ok(());
        };
        let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        let size = (side(size.0), side(size.1));
        let begun = GifWriter::new(BufWriter::new(file), size, palette, rate);
        self.gif = Some(begun.map_err(|reason| self.target.failed(reason))?);
        Ok(())
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, frame: &RgbImage) -> Result<(), FilmError> {
        self.frames += 1;
        let written = match &mut self.gif {
            Some(gif) => gif.write(frame),
            None => self.write_picture(frame),
        };
        written.map_err(|reason| self.target.failed(reason))
    }

    fn write_picture(&mut self, frame: &RgbImage) -> io::Result<()> {
        let file = self.part.0.join(format!("{:05}.png", self.frames));
        let written = frame.save_with_format(&file, ImageFormat::Png);
        written.map_err(|error| match error {
            ImageError::IoError(error) => error,
            other => io::Error::other(other),
        })?;
        self.bytes += fs::metadata(&file)?.len();
        Ok(())
    }

    /// Gives the film its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<Finished, FilmError> {
        let gif = self.gif.take();
        let close = |gif: GifWriter<BufWriter<File>>| -> io::Result<u64> {
            let file = gif
                .finish()?
                .into_inner()
                .map_err(|error| error.into_error())?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        let named = match gif.map(close).transpose() {
            Ok(bytes) => {
                self.bytes = bytes.unwrap_or(self.bytes);
                // Replaces an empty folder, too.
                fs::rename(&self.part.0, &self.target.path)
            }
            Err(reason) => Err(reason),
        };
        named.map_err(|reason| self.target.failed(reason))?;
        Ok(Finished {
            path: self.target.path.clone(),
            is_folder: !self.target.is_gif(),
            frames: self.frames,
            bytes: self.bytes,
            size: self.size,
        })
    }
}

/// Creates a new folder beside `path`, as [`pilotage_config::create_part`] a file.
fn part_folder(path: &Path) -> io::Result<PathBuf> {
    // `film/` and `film` are the same folder.
    let path: PathBuf = path.components().collect();
    let mut attempt = 0;
    loop {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.{attempt}.part", std::process::id()));
        match fs::create_dir(&part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MOST_PARTS => {
                attempt += 1;
            }
            created => return created.map(|()| part.into()),
        }
    }
}
