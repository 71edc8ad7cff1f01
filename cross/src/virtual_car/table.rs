//! The scenarios' results as a table, for the terminal and for docs/safety.md.

use std::fmt;
use std::time::Duration;

/// One scenario's result.
#[derive(Debug, Clone)]
pub struct Row {
    pub scenario: String,
    /// From the fault to pulses that stop the car, on the guest's clock.
    pub stood: Option<Duration>,
    pub limit: Option<Duration>,
    pub passed: bool,
    /// Other observations.
    pub note: String,
}

impl Row {
    /// The row of a scenario that could not be completed.
    pub fn failed(scenario: &str, error: &anyhow::Error) -> Self {
        Self {
            scenario: scenario.to_owned(),
            stood: None,
            limit: None,
            passed: false,
            note: format!("{error:#}"),
        }
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{:.2}", time.as_secs_f64()),
    )
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let (stood, limit) = (seconds(self.stood), seconds(self.limit));
        write!(
            out,
            "{verdict}: stopped after {stood} s of {limit} s; {}",
            self.note
        )
    }
}

/// All rows as a Markdown table.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what happens | stopped after, s | limit, s | |\n| --- | --- | --- | --- |\n",
    );
    for row in rows {
        let first = row.note.lines().next().unwrap_or("");
        let verdict = if row.passed { "" } else { "FAILED: " };
        text.push_str(&format!(
            "| {} | {} | {} | {verdict}{first} |\n",
            row.scenario,
            seconds(row.stood),
            seconds(row.limit)
        ));
    }
    let passed = rows.iter().filter(|row| row.passed).count();
    text.push_str(&format!("\n{passed} of {} passed", rows.len()));
    text
}
