//! Errors print each cause once.
//!
//! The programs print an error with all its sources, joined by colons, and most other places print
//! only the error itself. So a message has its cause in it, and is then no error with a source; or
//! the error is transparent.

use std::fs;

use crate::sources;

/// The lines of `text` that give an error with a message of its own a source as well, and the number
/// of messages.
fn doubled(text: &str) -> (Vec<usize>, usize) {
    let (mut doubled, mut messages) = (Vec::new(), 0);
    // Whether the current variant or struct has a message of its own.
    let mut has_message = false;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if let Some(message) = code.strip_prefix("#[error(") {
            has_message = !message.starts_with("transparent");
            messages += usize::from(has_message);
        }
        let field = code.strip_prefix("pub ").unwrap_or(code);
        let has_source = ["#[from]", "#[source]"].iter().any(|it| line.contains(it))
            || field.starts_with("source:");
        if has_message && has_source {
            doubled.push(number);
        }
        // The end of an enum, or of a struct.
        if line.starts_with('}') || (!line.starts_with(' ') && line.ends_with(';')) {
            has_message = false;
        }
    }
    (doubled, messages)
}

#[test]
fn no_error_has_its_cause_both_in_its_message_and_as_its_source() {
    let (mut found, mut messages) = (Vec::new(), 0);
    for file in sources() {
        let (lines, count) = doubled(&fs::read_to_string(&file).unwrap());
        found.extend(
            lines
                .iter()
                .map(|line| format!("{}:{line}", file.display())),
        );
        messages += count;
    }
    assert!(messages > 300, "{messages} messages were found");
    assert!(
        found.is_empty(),
        "a message with `{{error}}` in it, and a source: keep the cause in the message, name its \
         field `reason` and convert with `map_err`; or make the error transparent:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_cause_that_is_printed_twice_is_found() {
    let error = |attribute: &str, variant: &str| {
        format!("enum Error {{\n    #[error({attribute})]\n    {variant}\n}}\n")
    };
    let count = |text: String| doubled(&text).0.len();
    assert_eq!(
        count(error("\"cannot read: {0}\"", "Read(#[from] io::Error),")),
        1
    );
    assert_eq!(
        count(error(
            "\"{source}\"",
            "Read {\n        source: io::Error,\n    },"
        )),
        1
    );
    assert_eq!(count(error("transparent", "Read(#[from] io::Error),")), 0);
    assert_eq!(count(error("\"cannot read: {0}\"", "Read(io::Error),")), 0);
    let parsed = error("\"{0}\"", "Read(io::Error),") + "struct Reader {\n    source: File,\n}\n";
    assert_eq!(count(parsed), 0);
}
