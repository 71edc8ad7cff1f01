//! Tables in Markdown.

/// A line of a table. An empty cell is a dash.
pub fn line(cells: &[String]) -> String {
    let shown = |cell: &String| match cell.is_empty() {
        true => "-".to_owned(),
        false => cell.replace('|', "\\|"),
    };
    let cells: Vec<String> = cells.iter().map(shown).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The first two lines of a table.
pub fn table_head(columns: &[&str]) -> String {
    let titles: Vec<String> = columns.iter().map(|&it| it.to_owned()).collect();
    format!("{}|{}\n", line(&titles), "---|".repeat(columns.len()))
}

/// A number with this many digits after the point; empty if there is none.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

/// A number with four significant digits; empty if there is none.
pub fn significant(value: Option<f64>) -> String {
    let Some(value) = value else {
        return String::new();
    };
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    match value.abs().log10().floor() {
        magnitude @ -5.0..=6.0 => format!("{value:.*}", (3.0 - magnitude).max(0.0) as usize),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        for (value, shown) in [
            (0.04108056542969754, "0.04108"),
            (28157.721509850544, "28158"),
            (64.9173469543457, "64.92"),
            (0.0, "0"),
            (1.5e-9, "1.500e-9"),
        ] {
            assert_eq!(significant(Some(value)), shown);
        }
        assert_eq!(significant(None), "");
        assert_eq!(line(&["a|b".to_owned(), String::new()]), "| a\\|b | - |\n");
    }
}
