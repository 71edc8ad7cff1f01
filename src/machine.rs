//! The machine on which a measurement runs.

use pilotage_engine::InstructionSet;
use serde::Serialize;

/// What the reader of a measurement must know about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The name of the CPU, or of the board.
    pub(crate) processor: String,
    /// The number of threads that can run at once.
    pub(crate) cores: usize,
    /// The instruction sets of Pilotage that the machine has, the fastest first.
    pub(crate) instruction_sets: Vec<&'static str>,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        // /proc/cpuinfo of an ARM processor has no name; the device tree has the board's name.
        let board = || std::fs::read_to_string("/proc/device-tree/model").ok();
        let name = model(&information).or_else(board);
        let printable = |name: String| {
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            Some(name.trim().to_owned()).filter(|name| !name.is_empty())
        };
        Self {
            processor: (name.and_then(printable))
                .unwrap_or_else(|| format!("unnamed {}", std::env::consts::ARCH)),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instruction_sets: InstructionSet::available().map(|set| set.name()).collect(),
        }
    }
}

/// The first `model name` of a /proc/cpuinfo.
fn model(information: &str) -> Option<String> {
    let mut pairs = information.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = pairs.find(|(key, _)| key.trim() == "model name")?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let information = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Fast: (R) one\n\n";
        assert_eq!(model(information).as_deref(), Some("Fast: (R) one"));
        assert_eq!(model("processor\t: 0\nCPU part\t: 0xd42\n"), None);
        assert!(!Machine::here().processor.is_empty());
    }
}
