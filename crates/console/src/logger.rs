//! The logger behind the `log` macros.

use std::env;

use env_filter::{Builder, Filter, ParseError};
use log::{LevelFilter, Log, Metadata, Record};

use crate::ring::Kind;

const VARIABLE: &str = "RUST_LOG";

struct Logger(Filter);

/// Installs the logger, if there is none yet.
///
/// # Errors
/// When RUST_LOG cannot be parsed. The level is the default then.
pub(crate) fn install() -> Result<(), ParseError> {
    let (filter, parsed) = filter(env::var(VARIABLE).ok().as_deref());
    let level = filter.filter();
    if log::set_boxed_logger(Box::new(Logger(filter))).is_ok() {
        log::set_max_level(level);
    }
    parsed
}

fn filter(directives: Option<&str>) -> (Filter, Result<(), ParseError>) {
    let mut builder = Builder::new();
    let parsed = match directives {
        Some(directives) => builder.try_parse(directives).map(|_| ()),
        None => Ok(()),
    };
    if directives.is_none() || parsed.is_err() {
        let mut builder = Builder::new();
        return (builder.filter_level(LevelFilter::Warn).build(), parsed);
    }
    (builder.build(), parsed)
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            crate::reporter().put(Kind::Log(record.level()), record.target(), record.args());
        }
    }

    fn flush(&self) {
        crate::flush(crate::FLUSH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn enabled(directives: Option<&str>, target: &str, level: Level) -> bool {
        let metadata = Metadata::builder().target(target).level(level).build();
        filter(directives).0.enabled(&metadata)
    }

    #[test]
    fn the_level_is_warn_unless_rust_log_sets_another() {
        assert!(enabled(None, "pilotage", Level::Warn));
        assert!(!enabled(None, "pilotage", Level::Info));
        assert!(enabled(Some("info"), "pilotage", Level::Info));
        assert!(enabled(Some("tensorrt=debug"), "tensorrt", Level::Debug));
        assert!(!enabled(Some("off"), "pilotage", Level::Error));
        assert!(filter(Some("pilotage=loud")).1.is_err());
        assert!(enabled(Some("pilotage=loud"), "pilotage", Level::Warn));
    }
}
