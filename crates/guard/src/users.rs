//! Users by name.

use std::fs;
use std::path::Path;

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
#[error("there is no user `{0}` in /etc/passwd; name one that is, or give its number")]
pub struct NoSuchUser(String);

/// The number of the user called `name`, or `name` itself where it is a number. Only
/// /etc/passwd is asked: services' users are there.
///
/// # Errors
/// When there is none.
pub fn user_id(name: &str) -> Result<u32, NoSuchUser> {
    in_file(Path::new("/etc/passwd"), name)
}

fn in_file(file: &Path, name: &str) -> Result<u32, NoSuchUser> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    // passwd(5): name:password:number:...
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        fields.nth(1).filter(|_| found)?.parse().ok()
    });
    number.ok_or_else(|| NoSuchUser(name.to_owned()))
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
        assert_eq!(in_file(&file, "pilotage").unwrap(), 997);
        assert_eq!(in_file(&file, "root").unwrap(), 0);
        assert_eq!(in_file(&file, "1000").unwrap(), 1000);
        let error = in_file(&file, "broken").unwrap_err().to_string();
        assert!(error.contains("`broken`"), "{error}");
        assert!(in_file(&folder.path().join("none"), "root").is_err());
    }
}
