//! The engines that are compiled in.

use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/engines.rs"));

/// No engine of this name was compiled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no compiled-in engine `{name}`: {}", hint(name))]
pub struct Unknown {
    /// The requested name.
    pub name: String,
}

/// Names of the compiled-in engines.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    ENGINES.iter().map(|(name, _)| *name)
}

/// The file of the compiled-in engine `name`.
///
/// # Errors
/// Fails if there is no such engine.
pub fn compiled_in(name: &str) -> Result<&'static [u8], Unknown> {
    let found = ENGINES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, bytes)| *bytes)
        .ok_or_else(|| Unknown { name: name.into() })
}

/// A suggestion for an unknown name.
fn hint(name: &str) -> String {
    let extension = Path::new(name).extension();
    match extension.and_then(|extension| extension.to_str()) {
        Some("onnx") => "it is a model: `pilotage compile` makes an .engine file of it".to_owned(),
        Some("toml") => "it is a recipe: `pilotage compile` makes an .engine file of it".to_owned(),
        Some("engine") => "a file is named by `engine.file`".to_owned(),
        _ => pilotage_config::suggest(name, names()),
    }
}
