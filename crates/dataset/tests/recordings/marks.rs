//! Ranges of records that an operator marks.

use std::fs;

use pilotage_dataset::{Marks, Recording, marks_file};

use crate::support::*;

fn marked(folder: &Folder) -> Recording {
    Recording::open_marked(folder.path()).unwrap()
}

#[test]
fn a_range_is_left_out_and_used_again_and_nothing_is_deleted() {
    let folder = Folder::new();
    folder.frames(10);
    assert_eq!(marked(&folder).mark((2, 4), false).unwrap(), 3);
    assert_eq!(folder.open().records().len(), 7);
    // The numbers do not depend on marks, and a second mark changes nothing.
    assert_eq!(marked(&folder).records().len(), 10);
    assert_eq!(marked(&folder).mark((4, 5), false).unwrap(), 1);
    let marks = Marks::open(folder.path()).unwrap();
    let is_marked = |index: usize| marks.is_marked(name(index).as_ref());
    assert!(is_marked(2) && is_marked(5) && !is_marked(6));
    assert_eq!(marked(&folder).mark((0, 3), true).unwrap(), 2);
    let left = fs::read_to_string(marks_file(folder.path())).unwrap();
    let rows = [4, 5].map(|index| format!("{},marked by hand\n", name(index)));
    assert_eq!(left, format!("image_name,reason\n{}", rows.concat()));
    assert_eq!(marked(&folder).mark((0, 9), true).unwrap(), 2);
    assert_eq!(folder.open().records().len(), 10);
}

#[test]
fn records_that_do_not_exist_are_refused() {
    let folder = Folder::new();
    folder.frames(10);
    for range in [(2, 10), (10, 10), (4, 3), (0, usize::MAX)] {
        let error = marked(&folder).mark(range, false).unwrap_err();
        let (from, to) = range;
        assert_eq!(
            folder.shorten(&error.to_string()),
            format!("FOLDER: has the records 0 to 9, and not {from} to {to}")
        );
    }
    assert!(!marks_file(folder.path()).exists());
}

#[test]
fn a_file_that_was_edited_by_hand_keeps_its_rows() {
    let folder = Folder::new();
    let edited = format!("reason,image_name\nblurred,{}\n", name(3));
    folder.frames(10).write("left_out.csv", &edited);
    let error = marked(&folder).mark((3, 3), true).unwrap_err();
    assert!(
        error.to_string().contains("delete the rows there"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(marks_file(folder.path())).unwrap(),
        edited
    );
}
