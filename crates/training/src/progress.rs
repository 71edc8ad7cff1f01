//! Progress bars, and messages beside them.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal's standard error, with the time that is left; nothing elsewhere.
pub fn bar(length: usize, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{msg:36} {wide_bar} {pos}/{len} {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

/// Prints a message above the bar.
pub fn say(bar: &ProgressBar, message: impl Display) {
    bar.suspend(|| {
        pilotage_console::say_always(message);
        // The bar is drawn again after the message.
        pilotage_console::flush(pilotage_console::FLUSH);
    });
}
