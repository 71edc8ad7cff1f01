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
fn text_from_a_file_cannot_control_or_flood_the_terminal() {
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
fn no_rows_give_an_empty_table() {
    assert_eq!(columns(["gate", "limit>"], []), "");
}
