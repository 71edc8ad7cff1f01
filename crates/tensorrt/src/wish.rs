//! `PILOTAGE_TENSORRT`.

/// What to do about TensorRT where it is not asked for by name: `PILOTAGE_TENSORRT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Build a plan where there is a GPU and TensorRT; warn where they are there and it fails.
    #[default]
    Auto,
    /// Build none.
    Off,
    /// Fail without one.
    Require,
}

impl Wish {
    /// The variable's name.
    pub const VARIABLE: &'static str = "PILOTAGE_TENSORRT";

    /// What the variable says; [`Wish::Auto`] where it is not set.
    ///
    /// # Errors
    /// When it says something else.
    pub fn from_environment() -> Result<Self, BadWish> {
        let Some(word) = std::env::var_os(Self::VARIABLE) else {
            return Ok(Self::Auto);
        };
        match word.to_str() {
            Some("auto" | "") => Ok(Self::Auto),
            Some("off") => Ok(Self::Off),
            Some("require") => Ok(Self::Require),
            _ => Err(BadWish(word.to_string_lossy().into_owned())),
        }
    }
}

/// `PILOTAGE_TENSORRT` is none of its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PILOTAGE_TENSORRT is `{0}`; it can be auto, off or require")]
pub struct BadWish(String);
