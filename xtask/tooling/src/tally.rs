//! Counts tests from the output of the test runners.

use std::fmt;
use std::ops::AddAssign;

/// The numbers of tests that passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
}

impl Tally {
    /// One test that passed.
    pub const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One test that failed.
    pub const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// One test that was skipped.
    pub const SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// The tally of a step that counts as one test.
    pub fn of_step(succeeded: bool) -> Self {
        if succeeded {
            Self::PASSED
        } else {
            Self::FAILED
        }
    }

    /// Parses cargo-nextest's summary line, such as
    /// `Summary [ 1.2s] 9/10 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
    pub fn from_nextest(line: &str) -> Option<Self> {
        let line = without_colour(line);
        let (head, counts) = line.split_once(" run: ")?;
        if !head.trim_start().starts_with("Summary") {
            return None;
        }
        Some(Self {
            passed: count_before(counts, "passed"),
            failed: count_before(counts, "failed")
                + count_before(counts, "timed out")
                + count_before(counts, "exec failed"),
            skipped: count_before(counts, "skipped"),
        })
    }

    /// Parses the summary line of the standard test harness, such as
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`.
    pub fn from_harness(line: &str) -> Option<Self> {
        let line = without_colour(line);
        let counts = line.trim_start().strip_prefix("test result: ")?;
        Some(Self {
            passed: count_before(counts, "passed"),
            failed: count_before(counts, "failed"),
            skipped: count_before(counts, "ignored"),
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(out, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The number before `word`, in a list separated by commas, semicolons, full stops or brackets.
fn count_before(counts: &str, word: &str) -> u64 {
    counts
        .split([',', ';', '.', '(', ')'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

/// `line` without its ANSI escape sequences (ECMA-48 CSI: ESC `[`, parameters, a final letter).
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|c: char| ('@'..='~').contains(&c));
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Option<Tally> {
        Some(Tally {
            passed,
            failed,
            skipped,
        })
    }

    #[test]
    fn nextest_summaries_are_counted() {
        for (line, expected) in [
            (
                "     Summary [   0.015s] 21 tests run: 21 passed, 0 skipped\n",
                tally(21, 0, 0),
            ),
            (
                "     Summary [ 61.2s] 9/12 tests run: 6 passed (1 slow, 2 flaky), 2 failed, 1 timed out, 3 skipped",
                tally(6, 3, 3),
            ),
            (
                "\u{1b}[32;1m     Summary\u{1b}[0m [   1.0s] \u{1b}[1m1\u{1b}[0m test run: \u{1b}[1m1\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m4\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m",
                tally(1, 0, 4),
            ),
            ("        PASS [ 0.005s] a test run: 1 passed", None),
            ("Summary of the lap", None),
        ] {
            assert_eq!(Tally::from_nextest(line), expected, "{line:?}");
        }
    }

    #[test]
    fn harness_results_are_counted() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(Tally::from_harness(line), tally(3, 2, 1));
        let line =
            "test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 4 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(Tally::from_harness(line), tally(4, 0, 0));
        assert_eq!(Tally::from_harness("running 3 tests"), None);
    }
}
