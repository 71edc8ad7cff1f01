//! The files that describe a machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::cameras;
use pilotage_camera::v4l::KernelDevice;

/// The system below a folder: `/`, or a copy in a test.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This machine's system.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// The system in `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a small file, trimmed of line ends and other control characters. `None` if it
    /// cannot be read.
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

    /// The names in a folder that begin with `start`; names with a number are in numerical order.
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

    /// The name of the file that a path resolves to, through all links.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = fs::canonicalize(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Opens a device for reading, and closes it again.
    pub(super) fn try_read(&self, path: &str) -> io::Result<()> {
        fs::File::open(self.path(path)).map(drop)
    }

    /// The modes that a camera offers; `None` if there is no camera, or if it does not list them.
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
