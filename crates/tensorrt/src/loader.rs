//! The messages of the system's loader of libraries.

/// The loader's message, which libloading keeps as the source of its error.
pub(crate) fn loader_message(error: &libloading::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
