//! Texts that a terminal only shows.

use std::borrow::Cow;

/// `text` with U+FFFD in place of each control character but line breaks and tabs. Names in files
/// and models from elsewhere may contain escape sequences, which a terminal would execute.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.contains(is_unsafe) {
        true => Cow::Owned(text.replace(is_unsafe, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}
