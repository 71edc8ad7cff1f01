//! The lidar that car.toml names.

use std::time::Duration;

use pilotage_lidar::{LidarConfig, LidarError};

use super::{Finding, Level, System};

const PART: &str = "lidar";
/// How long it is read: 10 to 26 turns.
const TIME: Duration = Duration::from_secs(2);
/// A share of damaged packets that good wires do not have.
const BAD: f64 = 0.02;

/// What the lidar of `config` sees now.
pub(super) fn finding(system: &System, config: &LidarConfig) -> Finding {
    let place = LidarConfig {
        port: system.path(&config.port.to_string_lossy()),
        ..config.clone()
    };
    let sight = match pilotage_lidar::look(&place, TIME) {
        Ok(sight) => sight,
        Err(error) => {
            let level = match &error {
                // A drive may be reading it.
                LidarError::Open { reason, .. } if is_busy(reason) => Level::Warning,
                _ => Level::Problem,
            };
            let fix = "an engine that gets scans does not drive without it: docs/car.md, `[lidar]`";
            return Finding::wrong(PART, level, error.to_string(), fix);
        }
    };
    let found = format!("{}: {sight}", config.port.display());
    if sight.bad_share() > BAD {
        let fix = "shorten its wires and keep them away from the motor's; add ground";
        return Finding::wrong(PART, Level::Warning, found, fix);
    }
    if sight.scan.nearest_echo().is_none() {
        let fix =
            "nothing is within its range, or its window is covered, or `mask` hides everything";
        return Finding::wrong(PART, Level::Warning, found, fix);
    }
    Finding::fine(PART, found)
}

fn is_busy(reason: &std::io::Error) -> bool {
    matches!(
        reason.kind(),
        std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::WouldBlock
    )
}
