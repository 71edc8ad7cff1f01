//! Energy per image, where the machine has a counter: Linux's powercap interface to RAPL
//! (Documentation/power/powercap/powercap.rst of the kernel).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_engine::{Bundle, CpuOptions};
use serde::{Deserialize, Serialize};

use crate::commands::bench::inputs::Inputs;
use crate::commands::bench::passes;

/// The folder of the counters.
const POWERCAP: &str = "/sys/class/powercap";
/// How long the engine runs.
const LENGTH: Duration = Duration::from_secs(2);

/// The energy of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "counter", rename_all = "kebab-case")]
pub(super) enum Energy {
    /// The machine has no counter.
    None,
    /// There are counters, which this user may not read.
    Unreadable,
    /// The energy of all processor packages while one thread infers without pause, divided by the
    /// number of images. What the machine takes anyway is part of it.
    Packages {
        joules_per_image: f64,
        images: usize,
    },
}

impl Energy {
    /// `None` if it was not measured.
    pub fn millijoules(&self) -> Option<f64> {
        match self {
            Self::Packages {
                joules_per_image, ..
            } => Some(joules_per_image * 1e3),
            _ => None,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::None => "no counter".to_owned(),
            Self::Unreadable => "counter not readable".to_owned(),
            Self::Packages {
                joules_per_image, ..
            } => format!("{:.3}", joules_per_image * 1e3),
        }
    }
}

/// A package's counter.
#[derive(Debug, PartialEq, Eq)]
struct Counter {
    file: PathBuf,
    /// It starts again at 0 after this, microjoules.
    range: u64,
}

/// Whether a zone is a whole package: `intel-rapl:0`; `intel-rapl:0:0` is a part of one, and
/// `intel-rapl-mmio:0` the same package once more. AMD's processors have the same names.
fn is_package(name: &str) -> bool {
    let number = name.strip_prefix("intel-rapl:");
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The counters of all packages in `folder`.
fn counters(folder: &Path) -> Vec<Counter> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let zones = entries.filter(|it| it.file_name().to_str().is_some_and(is_package));
    let counter = |zone: fs::DirEntry| {
        // A zone of the platform or of memory has the same kind of name.
        let name = fs::read_to_string(zone.path().join("name")).ok()?;
        let range = fs::read_to_string(zone.path().join("max_energy_range_uj")).ok()?;
        name.starts_with("package").then_some(Counter {
            file: zone.path().join("energy_uj"),
            range: range.trim().parse().ok()?,
        })
    };
    zones.filter_map(counter).collect()
}

fn read(counters: &[Counter]) -> std::io::Result<Vec<u64>> {
    let number = |counter: &Counter| {
        let text = fs::read_to_string(&counter.file)?;
        text.trim()
            .parse()
            .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
    };
    counters.iter().map(number).collect()
}

/// Microjoules from `before` to `after`; a counter that is now lower started again once.
fn between(counters: &[Counter], before: &[u64], after: &[u64]) -> u64 {
    let pairs = counters.iter().zip(before.iter().zip(after));
    let each = pairs.map(|(counter, (before, after))| match after >= before {
        true => after - before,
        false => (counter.range.saturating_sub(*before)).saturating_add(*after),
    });
    each.fold(0, u64::saturating_add)
}

/// Measures the energy of an image.
pub(super) fn measure(
    bundle: &Bundle,
    options: CpuOptions,
    inputs: &Inputs,
) -> anyhow::Result<Energy> {
    let counters = counters(Path::new(POWERCAP));
    if counters.is_empty() {
        return Ok(Energy::None);
    }
    if read(&counters).is_err() {
        return Ok(Energy::Unreadable);
    }
    let mut before = Vec::new();
    let begins = || before = read(&counters).unwrap_or_default();
    let images = passes::repeat(bundle, options, inputs, (LENGTH, begins))?;
    Ok(match read(&counters) {
        Ok(after) if before.len() == after.len() && images > 0 => Energy::Packages {
            joules_per_image: between(&counters, &before, &after) as f64 * 1e-6 / images as f64,
            images,
        },
        _ => Energy::Unreadable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_once_and_over_the_end_of_a_counter() {
        let folder = tempfile::tempdir().unwrap();
        for (zone, name, energy) in [
            ("intel-rapl:0", "package-0", "900"),
            ("intel-rapl:1", "package-1", "100"),
            ("intel-rapl:0:0", "core", "5"),
            ("intel-rapl:2", "psys", "5"),
            ("intel-rapl-mmio:0", "package-0", "5"),
        ] {
            let zone = folder.path().join(zone);
            fs::create_dir(&zone).unwrap();
            fs::write(zone.join("name"), format!("{name}\n")).unwrap();
            fs::write(zone.join("max_energy_range_uj"), "1000\n").unwrap();
            fs::write(zone.join("energy_uj"), format!("{energy}\n")).unwrap();
        }
        let mut counters = counters(folder.path());
        counters.sort_by(|a, b| a.file.cmp(&b.file));
        assert_eq!(counters.len(), 2);
        let before = read(&counters).unwrap();
        assert_eq!(before, [900, 100]);
        assert_eq!(between(&counters, &before, &[50, 130]), 150 + 30);
        fs::write(&counters[0].file, "none").unwrap();
        assert!(read(&counters).is_err());
    }
}
