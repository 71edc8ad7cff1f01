//! Measured figures carry the day of their measurement.

use std::fs;

use crate::root;

/// Every section of docs/performance.md, and docs/results.md at its top.
#[test]
fn measured_figures_have_a_date() {
    let page = fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    assert!(sections.len() > 3, "docs/performance.md has no sections");
    for section in sections {
        let title = section.lines().next().unwrap_or_default();
        assert!(
            section.split_whitespace().any(has_date),
            "docs/performance.md, `{title}`: no date such as 2026-11-27"
        );
    }
    let results = fs::read_to_string(root().join("docs/results.md")).unwrap();
    let (head, _) = results.split_once("\n## ").unwrap();
    assert!(head.split_whitespace().any(has_date), "docs/results.md");
}

/// Whether a word has a date as ISO 8601 writes it.
fn has_date(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_digit());
    let parts: Vec<&str> = word.split('-').collect();
    parts.iter().map(|part| part.len()).eq([4, 2, 2])
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}
