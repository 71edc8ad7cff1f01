use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let rows = [["a", "1"], ["bcd", "234"]].map(|row| row.map(str::to_owned));
    assert_eq!(
        columns(["name", "n>"], rows),
        "name    n\na       1\nbcd   234"
    );
}

#[test]
fn what_a_file_says_neither_steers_the_terminal_nor_floods_it() {
    let rows = [
        ["\u{1b}[2Jgone\nfor good".to_owned()],
        ["x".repeat(1 << 20)],
    ];
    let table = columns(["layer"], rows);
    assert!(!table.contains('\u{1b}'));
    assert_eq!(table.lines().count(), 3, "a row is a line");
    assert!(
        table
            .lines()
            .all(|line| line.chars().count() <= LONGEST_CELL)
    );
}

#[test]
fn nothing_is_shown_of_nothing() {
    assert_eq!(columns(["gate", "limit>"], []), "");
}
