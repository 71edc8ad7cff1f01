//! Reads the files and devices that describe a machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pilotage_camera::v4l::KernelDevice;
use pilotage_linux::i2c;

use super::cameras;

/// The file system below a root folder: `/`, or the folder of a test.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This machine's file system.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// The file system below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The place of `path` on this file system.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a small file, without whitespace and control characters at both ends. `None` if
    /// the file cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let end = |c: char| c.is_control() || c.is_whitespace();
        Some(text.trim_matches(end).to_owned())
    }

    /// The number in a file.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a folder that begin with `start`. Names that continue with a number come last,
    /// in numerical order.
    pub(super) fn names(&self, folder: &str, start: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(start))
            .collect();
        names.sort_by_key(|name| {
            (
                name.trim_start_matches(start).parse::<u32>().ok(),
                name.clone(),
            )
        });
        names
    }

    /// The name of the file that `path` refers to after all links are resolved.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = fs::canonicalize(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Whether a file or folder is there.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// What a program prints; `None` if it is not installed or fails, and in tests, where the
    /// program would describe another file system.
    pub(super) fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        if self.root != Path::new("/") {
            return None;
        }
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = output.status.success().then_some(output.stdout)?;
        String::from_utf8(text).ok()
    }

    /// Reads a register of a chip on an I2C bus some times; returns the longest time of a read.
    pub(super) fn time_reads(&self, bus: &Path, address: u8, register: u8) -> io::Result<Duration> {
        const READS: u32 = 5;
        let bus = self.path(&bus.display().to_string());
        let device = OpenOptions::new().read(true).write(true).open(bus)?;
        let mut longest = Duration::ZERO;
        for _ in 0..READS {
            let began = Instant::now();
            i2c::smbus_read(device.as_fd(), address, register)?;
            longest = longest.max(began.elapsed());
        }
        Ok(longest)
    }

    /// The major number of a character device.
    pub(super) fn major(&self, path: &str) -> Option<u32> {
        let metadata = fs::metadata(self.path(path)).ok()?;
        let is_device = metadata.file_type().is_char_device();
        is_device.then(|| rustix::fs::major(metadata.rdev()))
    }

    /// The paths of the files in `folder` and in its folders.
    pub(super) fn below_folder(&self, folder: &str) -> Vec<String> {
        let mut files = Vec::new();
        for name in self.names(folder, "") {
            let path = format!("{folder}/{name}");
            match self.path(&path).is_dir() {
                true => {
                    let below = self.names(&path, "").into_iter();
                    files.extend(below.map(|name| format!("{path}/{name}")));
                }
                false => files.push(path),
            }
        }
        files
    }

    /// Opens a device for reading, and closes it again.
    pub(super) fn try_read(&self, path: &str) -> io::Result<()> {
        fs::File::open(self.path(path)).map(drop)
    }

    /// The modes that a camera offers; `None` if the camera cannot be opened or lists no modes.
    pub(super) fn camera_modes(&self, path: &str) -> Option<String> {
        let device = KernelDevice::open(&self.path(path)).ok()?;
        cameras::modes(&device)
    }

    /// Opens a device for reading and writing, and closes it again.
    pub(super) fn try_open(&self, path: &str) -> io::Result<()> {
        let path: &Path = &self.path(path);
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(drop)
    }
}
