//! Where TensorRT, Pilotage's shims and the plans are on this machine.

use std::path::PathBuf;

use tensorrt_rs::Shims;

use crate::cache::PlanCache;

/// The folder of the shims that `pilotage compile --for-this-machine` compiles.
pub(crate) const COMPILED_SHIMS: &str = "/var/lib/pilotage/shims";
/// The folder of the shims in the package.
const PACKAGED_SHIMS: &str = "/usr/lib/pilotage/shims";

/// The folders of TensorRT, its shims and its plans on this machine.
#[derive(Debug, Clone)]
pub struct TensorRtPaths {
    /// The folder of TensorRT's libraries. `None`: the loader's search path.
    pub libraries: Option<PathBuf>,
    /// The folders of the shims. A missing shim is compiled.
    pub shims: Shims,
    /// The folders of TensorRT's headers. Empty: `TENSORRT_INCLUDE`, or where JetPack installs
    /// them.
    pub headers: Vec<PathBuf>,
    /// The folder of the plans.
    pub plans: PathBuf,
}

impl Default for TensorRtPaths {
    fn default() -> Self {
        Self {
            libraries: None,
            shims: installed_shims(),
            headers: Vec::new(),
            plans: PlanCache::INSTALLED.into(),
        }
    }
}

/// The folders of an installed Pilotage's shims. A shim that was compiled against this machine's
/// headers takes precedence.
#[must_use]
pub fn installed_shims() -> Shims {
    Shims::RootOnly(vec![COMPILED_SHIMS.into(), PACKAGED_SHIMS.into()])
}
