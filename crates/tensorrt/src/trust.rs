//! Whose files may be used with the pilot's rights.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where `path` really is, if only root could have put it there: the file, its folder and all
/// folders above, and the folders of the name too, which may be links. That real path is what
/// to use: a link could be set to another file after it was looked at.
pub(crate) fn trusted(path: &Path) -> Result<PathBuf, String> {
    trusted_by(path, 0)
}

/// The same with another's number in root's place, for folders that a test can make.
fn trusted_by(path: &Path, owner: u32) -> Result<PathBuf, String> {
    let at = |place: &Path, error: std::io::Error| format!("{}: {error}", place.display());
    let real = fs::canonicalize(path).map_err(|error| at(path, error))?;
    let named = std::path::absolute(path).map_err(|error| at(path, error))?;
    for place in real.ancestors().chain(named.ancestors().skip(1)) {
        let about = fs::metadata(place).map_err(|error| at(place, error))?;
        // What is above a test's own folder is root's.
        if about.uid() != 0 && about.uid() != owner {
            return Err(format!("{} does not belong to root", place.display()));
        }
        if about.mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others", place.display()));
        }
    }
    Ok(real)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure is a panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder below which everything is trusted: the checkout's, not /tmp's.
    fn folder() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        trusted_by(folder.path(), owner).is_ok().then_some(folder)
    }

    #[test]
    fn only_what_root_alone_could_have_put_there_is_trusted() {
        assert!(trusted(Path::new("/bin/sh")).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("shim.so");
        fs::write(&shim, "").unwrap();
        // /tmp is everybody's.
        let reason = trusted(&shim).unwrap_err();
        assert!(reason.contains("can be written by others"), "{reason}");
        let missing = trusted(&folder.path().join("gone.so")).unwrap_err();
        assert!(missing.contains("gone.so"), "{missing}");
    }

    #[test]
    fn a_link_in_a_bad_place_is_as_bad_as_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("shim.so");
        symlink("/bin/sh", &link).unwrap();
        let reason = trusted(&link).unwrap_err();
        assert!(reason.contains("can be written by others"), "{reason}");
    }

    #[test]
    fn a_link_is_followed_once_and_its_end_is_what_is_used() {
        // Where the checkout itself lies in a folder that others can write, nothing here holds.
        let Some(folder) = folder() else {
            eprintln!("the checkout is in a folder that others can write: not looked at");
            return;
        };
        let owner = fs::metadata(folder.path()).unwrap().uid();
        let (good, link) = (folder.path().join("good.so"), folder.path().join("link.so"));
        fs::write(&good, "good").unwrap();
        symlink(&good, &link).unwrap();
        let real = trusted_by(&link, owner).unwrap();
        assert_eq!(real, fs::canonicalize(&good).unwrap());
        // The link is set to another file after it was looked at: what was found stays.
        let bad = folder.path().join("bad.so");
        fs::write(&bad, "bad").unwrap();
        fs::remove_file(&link).unwrap();
        symlink(&bad, &link).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "good");
        // A file that its group can write is anybody's.
        fs::set_permissions(&good, fs::Permissions::from_mode(0o664)).unwrap();
        let reason = trusted_by(&good, owner).unwrap_err();
        assert!(
            reason.contains("good.so can be written by others"),
            "{reason}"
        );
    }
}
