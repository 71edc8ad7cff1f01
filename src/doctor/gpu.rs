//! NVIDIA's driver, TensorRT, its shim, and the plans.

use std::path::Path;

use pilotage_gpu::{PlanCache, installed_shims};
use tensorrt_rs::{CudaError, Device, Product, ShimError, TensorRt, TensorRtError, find_headers};

use super::{Finding, Level};

/// What was found of NVIDIA's software. The search loads its libraries, if there are any.
#[derive(Debug)]
pub struct Gpu {
    device: Result<String, CudaError>,
    library: Result<String, TensorRtError>,
    headers: Result<Vec<String>, ShimError>,
    /// How many plans are kept, and where.
    plans: (usize, String),
}

impl Gpu {
    /// Examines this machine.
    pub fn here() -> Self {
        let device = Device::first().map(|device| device.to_string());
        let library = TensorRt::open(Product::TensorRt, None, &installed_shims());
        let headers = find_headers(&[]).map(|found| {
            let folders = found.iter().map(|headers| headers.folder.display());
            folders.map(|folder| folder.to_string()).collect()
        });
        Self {
            device,
            library: library.map(|library| library.version().to_string()),
            headers,
            plans: (
                plans(Path::new(PlanCache::INSTALLED)),
                PlanCache::INSTALLED.to_owned(),
            ),
        }
    }

    /// The findings; whatever is missing has the level `missing`.
    pub(super) fn findings(&self, missing: Level) -> Vec<Finding> {
        let mut findings = vec![self.driver(missing), self.tensorrt(missing)];
        findings.extend(self.shim(missing));
        findings.push(self.kept(missing));
        findings
    }

    fn driver(&self, missing: Level) -> Finding {
        match &self.device {
            Ok(device) => Finding::fine("GPU", device.clone()),
            Err(error @ (CudaError::NoDriver { .. } | CudaError::NoDevice)) => Finding::wrong(
                "GPU",
                missing,
                error.to_string(),
                "on a Jetson install nvidia-l4t-cuda, in a container start it with `--runtime \
                 nvidia`; anywhere else the CPU engine drives",
            ),
            Err(error) => Finding::wrong(
                "GPU",
                missing,
                error.to_string(),
                "sudo apt-get install --reinstall nvidia-l4t-cuda, then reboot",
            ),
        }
    }

    fn tensorrt(&self, missing: Level) -> Finding {
        match &self.library {
            Ok(version) => Finding::fine("TensorRT", version.clone()),
            Err(TensorRtError::NoShim { version, .. }) => {
                Finding::fine("TensorRT", version.to_string())
            }
            Err(error) => Finding::wrong(
                "TensorRT",
                missing,
                error.to_string(),
                "sudo apt-get install tensorrt-libs",
            ),
        }
    }

    /// Only useful if there is a TensorRT.
    fn shim(&self, missing: Level) -> Option<Finding> {
        let part = "shim";
        match &self.library {
            Ok(_) => Some(Finding::fine(part, "for this TensorRT, whole")),
            Err(TensorRtError::NoLibrary { .. } | TensorRtError::NoSymbol { .. }) => None,
            Err(error) => Some(match &self.headers {
                Ok(folders) => Finding::wrong(
                    part,
                    missing,
                    format!("{error}; there are headers in {}", folders.join(", ")),
                    "sudo pilotage compile --for-this-machine",
                ),
                Err(headers) => Finding::wrong(
                    part,
                    missing,
                    format!("{error}; {headers}"),
                    "sudo apt-get install g++ libnvinfer-headers-dev libnvonnxparsers-dev \
                     (JetPack 4 and 5: libnvinfer-dev in place of libnvinfer-headers-dev), then \
                     sudo pilotage compile --for-this-machine",
                ),
            }),
        }
    }

    fn kept(&self, missing: Level) -> Finding {
        let (count, folder) = &self.plans;
        match count {
            0 => Finding::wrong(
                "plans",
                missing,
                format!("none in {folder}"),
                "sudo pilotage compile --for-this-machine, once there are a GPU and TensorRT",
            ),
            _ => Finding {
                part: "plans",
                level: Level::Fine,
                found: format!("{count} in {folder}, each validated when it was built"),
                fix: None,
            },
        }
    }
}

fn plans(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|found| found == "plan")
        })
        .count()
}
