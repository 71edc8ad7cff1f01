//! Reads TOML files that users write. Errors state file, line and key, and suggest the nearest
//! known key for a misspelt one.
//!
//! ```
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Mixer {
//!     wheelbase: f64,
//! }
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Car {
//!     mixer: Mixer,
//! }
//!
//! let source = pilotage_config::Source::new("car.toml", "[mixer]\nwheelbse = 0.3\n");
//! let error = source.parse::<Car>().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "car.toml:2: unknown key `wheelbse`: did you mean `wheelbase`?"
//! );
//!
//! let source = pilotage_config::Source::new("car.toml", "[mixer]\nwheelbase = -1.0\n");
//! let car: Car = source.parse()?;
//! if car.mixer.wheelbase <= 0.0 {
//!     let error = source.error("mixer.wheelbase", "must be above 0 m");
//!     assert_eq!(error.to_string(), "car.toml:2: `mixer.wheelbase`: must be above 0 m");
//! }
//! # Ok::<(), pilotage_config::ConfigError>(())
//! ```

mod kind;
mod read;
mod source;
mod write;

pub use kind::FileKind;
pub use read::{LONGEST_FILE, ReadError, read};
pub use source::{ConfigError, Source, explain_variant, nearest, suggest};
pub use write::{WriteError, create_part, replace, write_atomically};
