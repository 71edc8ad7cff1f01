//! Reads the files and devices that describe a machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use pilotage_camera::v4l::KernelDevice;

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

    fn path(&self, path: &str) -> PathBuf {
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
