//! The engine on the GPU: what its process is asked to make, and how.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pilotage_engine::Bundle;
use pilotage_gpu::TensorRtPaths;
use serde::{Deserialize, Serialize};
use tensorrt_rs::{RunOptions, Shims, Transfer, Wait};

use super::process;

/// The hidden subcommand that runs the process.
pub const COMMAND: &str = "gpu-engine";

/// The folders of TensorRT, its shims and its plans, as text for a process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    libraries: Option<PathBuf>,
    shims: Vec<PathBuf>,
    /// Whether the shims must belong to root.
    root_only: bool,
    headers: Vec<PathBuf>,
    plans: PathBuf,
}

impl From<&TensorRtPaths> for Places {
    fn from(places: &TensorRtPaths) -> Self {
        Self {
            libraries: places.libraries.clone(),
            shims: places.shims.folders().to_vec(),
            root_only: matches!(places.shims, Shims::RootOnly(_)),
            headers: places.headers.clone(),
            plans: places.plans.clone(),
        }
    }
}

impl From<Places> for TensorRtPaths {
    fn from(places: Places) -> Self {
        let shims = match (places.root_only, places.shims.first()) {
            (false, Some(folder)) => Shims::In(folder.clone()),
            _ => Shims::RootOnly(places.shims),
        };
        Self {
            libraries: places.libraries,
            shims,
            headers: places.headers,
            plans: places.plans,
        }
    }
}

/// Where TensorRT is, and how a plan is run, as text for the process.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    places: Places,
    /// `None`: as the device demands.
    mapped: Option<bool>,
    sleep: bool,
    limit: Duration,
}

/// The text that [`run`] gets.
///
/// # Errors
/// When a path is not UTF-8.
pub(super) fn order(places: &TensorRtPaths, options: RunOptions) -> serde_json::Result<String> {
    serde_json::to_string(&Order {
        places: places.into(),
        mapped: options
            .transfer
            .map(|transfer| transfer == Transfer::Mapped),
        sleep: options.wait == Wait::Sleep,
        limit: options.limit,
    })
}

impl Order {
    fn read(text: &str) -> serde_json::Result<(TensorRtPaths, RunOptions)> {
        let Self {
            places,
            mapped,
            sleep,
            limit,
        } = serde_json::from_str(text)?;
        let options = RunOptions {
            transfer: mapped.map(|mapped| match mapped {
                true => Transfer::Mapped,
                false => Transfer::Copied,
            }),
            wait: match sleep {
                true => Wait::Sleep,
                false => Wait::Spin,
            },
            limit,
            ..RunOptions::default()
        };
        Ok((places.into(), options))
    }
}

/// Runs as the process of a GPU's engine.
///
/// # Errors
/// When the process was not started by a pilot, or the system fails.
pub fn run() -> std::io::Result<ExitCode> {
    process::serve(|order, file| {
        let (places, options) = Order::read(order).map_err(|error| error.to_string())?;
        let bundle = Bundle::read(&file).map_err(|error| error.to_string())?;
        let validated =
            pilotage_gpu::load(&bundle, &places, options).map_err(|error| error.to_string())?;
        Ok(validated.engine)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back() {
        for (shims, transfer, wait) in [
            (Shims::In("shims".into()), None, Wait::Spin),
            (
                Shims::RootOnly(vec!["a".into(), "b".into()]),
                Some(Transfer::Mapped),
                Wait::Sleep,
            ),
            (
                Shims::RootOnly(Vec::new()),
                Some(Transfer::Copied),
                Wait::Spin,
            ),
        ] {
            let places = TensorRtPaths {
                libraries: Some("libraries".into()),
                shims: shims.clone(),
                headers: vec!["headers".into()],
                plans: "plans".into(),
            };
            let options = RunOptions {
                transfer,
                wait,
                limit: Duration::from_micros(2500),
                ..RunOptions::default()
            };
            let text = order(&places, options).unwrap();
            let (found, found_options) = Order::read(&text).unwrap();
            assert_eq!(found.shims, shims);
            assert_eq!(
                (found.libraries, found.headers, found.plans),
                (places.libraries, places.headers, places.plans)
            );
            assert_eq!(found_options, options);
        }
    }
}
