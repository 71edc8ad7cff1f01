//! The environment variable `PILOTAGE_TENSORRT`.

/// Whether `pilotage compile` without `--for-this-machine`, and Pilotage's build script, build a
/// TensorRT plan. Set by `PILOTAGE_TENSORRT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GpuPolicy {
    /// Build a plan on machines with a GPU and TensorRT, and warn if that fails.
    #[default]
    Auto,
    /// Build no plan.
    Off,
    /// Build a plan, and fail if that is not possible.
    Require,
}

impl GpuPolicy {
    /// The variable's name.
    pub const VARIABLE: &'static str = "PILOTAGE_TENSORRT";

    /// Reads the variable. Returns [`GpuPolicy::Auto`] if the variable is not set or is empty.
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
