//! The files that say what a machine is.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::cameras;
use crate::camera::v4l::KernelDevice;

/// The system below a folder: `/`, or a picture of it in a test.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This machine's.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// The one in `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a small file says, without the ends of lines and other marks of control at
    /// either end. None where it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let end = |c: char| c.is_control() || c.is_whitespace();
        Some(text.trim_matches(end).to_owned())
    }

    /// A number that is all a file says.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a folder that begin with `start`, those with a number in its order.
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

    /// The name of what a path leads to, whatever links there are on the way.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = fs::canonicalize(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Opens a device for reading, and closes it again.
    pub(super) fn try_read(&self, path: &str) -> io::Result<()> {
        fs::File::open(self.path(path)).map(drop)
    }

    /// What a camera can be asked for; none where there is none, or it does not say.
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
