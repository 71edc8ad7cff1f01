use std::fs;

use tempfile::TempDir;

use super::*;

#[test]
fn no_more_than_the_limit_is_read() {
    let folder = TempDir::new().unwrap();
    let small = folder.path().join("small");
    fs::write(&small, [7; 10]).unwrap();
    assert_eq!(read_at_most(&small, 10).unwrap(), [7; 10]);
    assert!(read_at_most(&small, 9).is_err());
    assert!(read_at_most(Path::new("/dev/zero"), 1000).is_err());
}
