//! The environment variable `PILOTAGE_TENSORRT`.

/// Whether to use TensorRT when the command line does not request it: `PILOTAGE_TENSORRT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GpuPolicy {
    /// Build a plan on machines with a GPU and TensorRT, and warn if that fails.
    #[default]
    Auto,
    /// Build no plan.
    Off,
    /// Fail without a plan.
    Require,
}

impl GpuPolicy {
    /// The variable's name.
    pub const VARIABLE: &'static str = "PILOTAGE_TENSORRT";

    /// Reads the variable. The value is [`GpuPolicy::Auto`] if it is not set or empty.
    ///
    /// # Errors
    /// When the variable has an unknown value.
    pub fn from_environment() -> Result<Self, UnknownGpuPolicy> {
        let Some(value) = std::env::var_os(Self::VARIABLE) else {
            return Ok(Self::Auto);
        };
        match value.to_str() {
            Some("auto" | "") => Ok(Self::Auto),
            Some("off") => Ok(Self::Off),
            Some("require") => Ok(Self::Require),
            _ => Err(UnknownGpuPolicy(value.to_string_lossy().into_owned())),
        }
    }
}

/// `PILOTAGE_TENSORRT` has an unknown value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PILOTAGE_TENSORRT is `{0}`; it can be auto, off or require")]
pub struct UnknownGpuPolicy(String);
