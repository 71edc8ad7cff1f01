//! Texts that a terminal only shows.

use std::borrow::Cow;

/// `text` with U+FFFD in place of each control character but line breaks and tabs. Names in files
/// and models from elsewhere may contain escape sequences, which a terminal would obey.
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.contains(obeyed) {
        true => Cow::Owned(text.replace(obeyed, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}
