//! Reads frames for calibration and validation from a folder of image files.
//!
//! If the folder has a `data.csv` (`image_name,v,w,timestamp`, as in recordings), its rows give
//! the images and their order. Otherwise all PNG and JPEG files are read, sorted by name.

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use image::{ImageError, ImageReader, Limits};
use pilotage_vehicle::Time;
use pilotage_vision::{FrameView, PixelFormat, Preprocess, Vision, VisionError};

/// With fewer frames than this, compilation gives a warning.
pub const FEW: usize = 100;
/// One of every `HELD_BACK` frames is held back from calibration.
const HELD_BACK: usize = 9;
/// The largest number of validation frames in an engine file.
pub const MOST_TRAVELLING: usize = 64;
/// The largest number of frames that are read.
const MOST_FRAMES: usize = 100_000;
/// The largest size of `data.csv` in bytes.
const LONGEST_LIST: u64 = 1 << 26;
/// The largest width and height of an image in pixels.
const LONGEST_SIDE: u32 = 8192;

/// Images in the size and colour order of the network's input, before normalization.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// Each frame as rows of interleaved channels in the recipe's colour order, values from 0 to
    /// 255.
    pub pixels: Vec<Vec<u8>>,
}

/// Why frames cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder has no images.
    #[error(
        "{}: no pictures (.png, .jpg, .jpeg) there; record some hundred frames of driving, as the \
         car sees them", path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has only one image.
    #[error(
        "{}: {found} picture(s) are too few: some are for calibration, others for validation; \
         record some hundred", path.display()
    )]
    TooFew {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// The folder has more images than can be read.
    #[error("{}: more than {MOST_FRAMES} pictures; some hundred are enough", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// All frames are identical.
    #[error(
        "{}: all {found} pictures are the same; ranges chosen from them would be wrong on the \
         road: record frames of driving", path.display()
    )]
    Constant {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// `data.csv` does not parse.
    #[error("{}, line {line}: {problem}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// An image cannot be decoded.
    #[error("{}: {source}; remove it, or its row in data.csv", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// The decoder's error.
        source: ImageError,
    },
    /// An image has neither a camera frame's size nor the input's size.
    #[error(
        "{}: {width} x {height} pixels: neither a camera frame that the recipe's crop lies within \
         nor {} x {}, the input's own size; frames have to be as the car's camera gives them",
        path.display(), expected.0, expected.1
    )]
    Size {
        /// The image.
        path: PathBuf,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Width and height of the network's input.
        expected: (u32, u32),
    },
    /// An image cannot be converted to an input.
    #[error("{}: {source}", path.display())]
    Vision {
        /// The image.
        path: PathBuf,
        /// The conversion's error.
        source: VisionError,
    },
}

impl Frames {
    /// Reads a folder and crops and resizes each image as `preprocess` specifies. An image that
    /// the crop does not fit is used unchanged if it has the input's size.
    ///
    /// # Errors
    /// The error names the file.
    pub fn read(folder: &Path, preprocess: &Preprocess) -> Result<Self, FramesError> {
        let files = list(folder)?;
        let found = files.len();
        let pixels = decode(&files, preprocess)?;
        if pixels.windows(2).all(|pair| pair[0] == pair[1]) {
            let path = folder.to_owned();
            return Err(FramesError::Constant { path, found });
        }
        Ok(Self { pixels })
    }

    /// The frames for calibration, and the frames for validation: the last of every nine frames.
    pub fn split(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        let each = HELD_BACK.min(self.pixels.len());
        let mut calibration = Vec::new();
        let mut held_back = Vec::new();
        for (index, frame) in self.pixels.iter().enumerate() {
            match (index + 1) % each {
                0 => held_back.push(&frame[..]),
                _ => calibration.push(&frame[..]),
            }
        }
        (calibration, held_back)
    }
}

/// The image files of a folder, in order.
fn list(folder: &Path) -> Result<Vec<PathBuf>, FramesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FramesError::File { path, source }
    };
    let listed = folder.join("data.csv");
    let files = if listed.is_file() {
        let length = fs::metadata(&listed).map_err(failed(&listed))?.len();
        if length > LONGEST_LIST {
            let path = folder.to_owned();
            return Err(FramesError::TooMany { path });
        }
        let text = fs::read_to_string(&listed).map_err(failed(&listed))?;
        rows(&listed, &text, folder)?
    } else {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if ["png", "jpg", "jpeg"].contains(&extension.to_ascii_lowercase().as_str()) {
                files.push(path);
            }
        }
        files.sort();
        files
    };
    let path = folder.to_owned();
    match files.len() {
        0 => Err(FramesError::Empty { path }),
        found @ 1 => Err(FramesError::TooFew { path, found }),
        found if found > MOST_FRAMES => Err(FramesError::TooMany { path }),
        _ => Ok(files),
    }
}

/// The file names in the first column of `data.csv`, without the header.
fn rows(list: &Path, text: &str, folder: &Path) -> Result<Vec<PathBuf>, FramesError> {
    let wrong = |line, problem| FramesError::List {
        path: list.to_owned(),
        line,
        problem,
    };
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line);
    if header.split(',').next().map(str::trim) != Some("image_name") {
        return Err(wrong(1, "the first column must be image_name"));
    }
    let mut files = Vec::new();
    for (index, line) in lines {
        let name = line.split(',').next().unwrap_or("").trim();
        if line.trim().is_empty() {
            continue;
        }
        if name.is_empty() {
            return Err(wrong(index + 1, "there is no image name"));
        }
        files.push(folder.join(name));
    }
    Ok(files)
}

/// Decodes all images on all cores, in the order of `files`.
fn decode(files: &[PathBuf], preprocess: &Preprocess) -> Result<Vec<Vec<u8>>, FramesError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else {
                return Ok(done);
            };
            done.push((index, read(file, preprocess)?));
        }
    };
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(files.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers
            .into_iter()
            .map(join)
            .collect::<Result<Vec<_>, FramesError>>()
    })?;
    let mut frames: Vec<_> = parts.into_iter().flatten().collect();
    frames.sort_by_key(|(index, _)| *index);
    Ok(frames.into_iter().map(|(_, frame)| frame).collect())
}

fn read(path: &Path, preprocess: &Preprocess) -> Result<Vec<u8>, FramesError> {
    let owned = || path.to_owned();
    let failed = |source| FramesError::Image {
        path: owned(),
        source,
    };
    let io_failed = |source| FramesError::File {
        path: owned(),
        source,
    };
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(io_failed)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    reader.limits(limits);
    let picture = reader.decode().map_err(failed)?.into_rgb8();
    let (width, height) = picture.dimensions();

    let vision = Vision::new(preprocess, width, height, PixelFormat::Rgb8);
    let expected = (preprocess.width, preprocess.height);
    let mut vision = match vision {
        Err(VisionError::CropOutside { .. }) if (width, height) == expected => {
            let whole = Preprocess {
                crop: None,
                ..preprocess.clone()
            };
            Vision::new(&whole, width, height, PixelFormat::Rgb8)
        }
        Err(VisionError::CropOutside { .. }) => {
            return Err(FramesError::Size {
                path: owned(),
                width,
                height,
                expected,
            });
        }
        vision => vision,
    }
    .map_err(|source| FramesError::Vision {
        path: owned(),
        source,
    })?;
    let mut pixels = vec![0; vision.output_len()];
    let view = FrameView {
        format: PixelFormat::Rgb8,
        width,
        height,
        data: picture.as_raw(),
        captured: Time::ZERO,
        sequence: 0,
    };
    vision
        .resize_to_u8(view, &mut pixels)
        .map_err(|source| FramesError::Vision {
            path: owned(),
            source,
        })?;
    Ok(pixels)
}

#[cfg(test)]
mod tests;
