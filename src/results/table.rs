//! Tables as Markdown and as CSV.

/// A table of results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// As a table of GitHub's Markdown. Cells are one line; `|` is escaped.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|it| in_markdown(it)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&self.columns);
        text.push_str(&format!("|{}\n", "---|".repeat(self.columns.len())));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }

    /// As CSV after RFC 4180, with line feeds.
    pub fn csv(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|it| in_csv(it)).collect();
            cells.join(",") + "\n"
        };
        let rows = self.rows.iter().map(|row| line(row));
        [line(&self.columns)].into_iter().chain(rows).collect()
    }
}

fn in_markdown(cell: &str) -> String {
    let cell = cell.replace('|', "\\|");
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    match cell.is_empty() {
        true => "-".to_owned(),
        false => cell.chars().map(printable).collect(),
    }
}

fn in_csv(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// A number with this many digits after the point; empty if there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    let finite = value.filter(|it| it.is_finite());
    finite.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

/// The shortest text that is read back as the same number; empty if there is none. For CSV.
pub(crate) fn value(value: Option<f64>) -> String {
    let finite = value.filter(|it| it.is_finite());
    finite.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_within_their_columns() {
        let mut table = Table::new(["name", "it, all"]);
        table
            .rows
            .push(vec!["a|b\n\u{1b}[31mc".to_owned(), String::new()]);
        table
            .rows
            .push(vec!["say \"x\"".to_owned(), "1,5".to_owned()]);
        assert_eq!(
            table.markdown(),
            "| name | it, all |\n|---|---|\n| a\\|b  [31mc | - |\n| say \"x\" | 1,5 |\n"
        );
        assert_eq!(
            table.csv(),
            "name,\"it, all\"\n\"a|b\n\u{1b}[31mc\",\n\"say \"\"x\"\"\",\"1,5\"\n"
        );
    }
}
