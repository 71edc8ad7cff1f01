//! Paths of pictures as a list has them.

use std::path::{Path, PathBuf};

/// Why a path of a list is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// There is no path.
    #[error("there is no image name")]
    Empty,
    /// The path has a `..`.
    #[error("`{0}` leaves the recording's folder")]
    Leaves(String),
    /// The path begins at the root of a file system.
    #[error("`{0}` is an absolute path, but pictures must lie in the recording's folder")]
    Absolute(String),
    /// The path has a NUL or is longer than a path may be.
    #[error("`{0}` is not a file name")]
    Malformed(String),
}

/// The longest path, bytes: Linux's PATH_MAX.
const LONGEST: usize = 4096;

/// A path of a list, split at `/` and `\`, without drive and root.
#[derive(Debug)]
pub(crate) struct ListedPath<'a> {
    parts: Vec<&'a str>,
    is_absolute: bool,
    text: &'a str,
}

impl<'a> ListedPath<'a> {
    /// Splits a path; `..` is refused wherever it is.
    pub fn new(text: &'a str) -> Result<Self, PathProblem> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > LONGEST || text.contains('\0') {
            return Err(PathProblem::Malformed(shown()));
        }
        let bytes = text.as_bytes();
        let has_drive = bytes.len() >= 2 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic();
        let is_absolute = has_drive || text.starts_with(['/', '\\']);
        let below = if has_drive { &text[2..] } else { text };
        let parts = below.split(['/', '\\']);
        let parts: Vec<_> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(PathProblem::Leaves(shown()));
        }
        if parts.is_empty() {
            return Err(PathProblem::Empty);
        }
        Ok(Self {
            parts,
            is_absolute,
            text,
        })
    }

    /// Refuses an absolute path.
    pub fn relative(self) -> Result<Self, PathProblem> {
        match self.is_absolute {
            false => Ok(self),
            true => Err(PathProblem::Absolute(self.text.chars().take(80).collect())),
        }
    }

    fn last(&self, count: usize) -> PathBuf {
        self.parts[self.parts.len().saturating_sub(count)..]
            .iter()
            .collect()
    }
}

/// Finds pictures under a folder by the last parts of their paths: a list may come from another
/// machine or another folder.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    /// How many parts led to the picture before.
    parts: Option<usize>,
    /// Pictures that lie elsewhere than the list names them.
    pub elsewhere: usize,
}

impl Finder {
    /// The picture's path relative to `folder`. Where no file is found, the whole relative path,
    /// or the last two parts of an absolute one: decoding reports the missing picture.
    pub fn find(&mut self, folder: &Path, path: &ListedPath<'_>) -> PathBuf {
        let all = path.parts.len();
        let is_there = |parts: &usize| folder.join(path.last(*parts)).symlink_metadata().is_ok();
        // Most pictures lie as deep as the one before, but the whole path of a list goes first.
        let whole = (!path.is_absolute).then_some(all);
        let before = self.parts.map(|parts| parts.min(all));
        let first = whole.into_iter().chain(before);
        let found = first.chain((1..=all).rev()).find(is_there);
        self.parts = found.or(self.parts);
        let named = if path.is_absolute { all.min(2) } else { all };
        if found.is_some_and(|found| found != named) && !path.is_absolute {
            self.elsewhere += 1;
        }
        path.last(found.unwrap_or(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_other_systems_are_split_and_never_leave() {
        let parts = |text| ListedPath::new(text).map(|path| path.parts.join("|"));
        assert_eq!(
            parts(r"C:\Users\me\IMG\a.jpg").unwrap(),
            "Users|me|IMG|a.jpg"
        );
        assert_eq!(parts("./images//a.jpg").unwrap(), "images|a.jpg");
        for text in ["..", "a/../b.jpg", r"..\b.jpg", r"C:\..\b.jpg", "/../b.jpg"] {
            assert!(matches!(parts(text), Err(PathProblem::Leaves(_))), "{text}");
        }
        assert_eq!(parts("/"), Err(PathProblem::Empty));
        assert!(matches!(parts("a\0b"), Err(PathProblem::Malformed(_))));
        let absolute = ListedPath::new("/etc/passwd").unwrap().relative();
        assert!(matches!(absolute, Err(PathProblem::Absolute(_))));
    }
}
