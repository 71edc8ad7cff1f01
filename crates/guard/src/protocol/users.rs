//! Looks up users and groups by name.

use std::fs;
use std::path::Path;

/// The group does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no group `{0}` in /etc/group; name an existing one, or give a number")]
pub struct NoSuchGroup(String);

/// The number of the group `name`, or `name` itself if it is a number. Only /etc/group is read: it
/// contains the groups of services.
///
/// # Errors
/// When /etc/group has no such group, or cannot be read.
pub fn group_id(name: &str) -> Result<u32, NoSuchGroup> {
    in_file(Path::new("/etc/group"), name).ok_or_else(|| NoSuchGroup(name.to_owned()))
}

/// The user does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no user `{0}` in /etc/passwd; name an existing one, or give a number")]
pub struct NoSuchUser(String);

/// The number of the user `name`, or `name` itself if it is a number. Only /etc/passwd is read: it
/// contains the users of services.
///
/// # Errors
/// When /etc/passwd has no such user, or cannot be read.
pub fn user_id(name: &str) -> Result<u32, NoSuchUser> {
    in_file(Path::new("/etc/passwd"), name).ok_or_else(|| NoSuchUser(name.to_owned()))
}

fn in_file(file: &Path, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    // passwd(5) and group(5): name:password:number:...
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        fields.nth(1).filter(|_| found)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_neither() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        fs::write(
            &file,
            "root:x:0:0::/root:/bin/sh\nbroken\npilotage:x:997:996::/:\n",
        )
        .unwrap();
        assert_eq!(in_file(&file, "pilotage"), Some(997));
        assert_eq!(in_file(&file, "root"), Some(0));
        assert_eq!(in_file(&file, "1000"), Some(1000));
        assert_eq!(in_file(&file, "broken"), None);
        assert_eq!(in_file(&folder.path().join("none"), "root"), None);
        let error = user_id("no such user").unwrap_err().to_string();
        assert!(error.contains("`no such user`"), "{error}");
        assert_eq!(group_id("root").unwrap(), 0);
        let error = group_id("no such group").unwrap_err().to_string();
        assert!(error.contains("`no such group`"), "{error}");
    }
}
