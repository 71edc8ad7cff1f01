//! Loads a circuit by its name.

use pilotage_simulator::{Circuit, Crossing, CsvOptions};

use super::{CarError, CircuitSource, Simulator};

/// The longest file of a circuit, bytes. A kilometre recorded every centimetre takes about 4 MB.
const LONGEST_CIRCUIT: u64 = 16 << 20;

pub(super) fn make(simulator: &Simulator) -> Result<Circuit, CarError> {
    let circuit = match &simulator.circuit {
        CircuitSource::Random => Circuit::random(simulator.seed),
        CircuitSource::Shipped(name) => {
            Circuit::shipped(name).ok_or_else(|| CarError::NoCircuit(name.clone()))?
        }
        CircuitSource::File(path) => {
            let text = pilotage_config::read(path, LONGEST_CIRCUIT)?;
            let csv = path.extension().is_some_and(|extension| extension == "csv");
            let read = if csv {
                let name = path.file_stem().unwrap_or_default();
                let options = CsvOptions {
                    name: name.to_string_lossy().into_owned(),
                    ..CsvOptions::default()
                };
                Circuit::from_csv(&text, &options)
            } else {
                Circuit::from_toml(&text)
            };
            let circuit = read.map_err(|reason| CarError::Circuit {
                path: path.clone(),
                reason,
            })?;
            // A figure of eight is driven.
            if let Some(Crossing { at, along }) = circuit.crossing() {
                pilotage_console::say(format_args!(
                    "warning: {}: the line crosses itself at {:.2}, {:.2}, {:.1} m and {:.1} m after \
                     its start; if it should not, check the columns and the order of the points",
                    path.display(),
                    at[0],
                    at[1],
                    along[0],
                    along[1]
                ));
            }
            circuit
        }
    };
    let circuit = match simulator.road_width {
        Some(metres) => circuit.with_road_width(metres),
        None => circuit,
    };
    Ok(match simulator.line_width {
        Some(metres) => circuit.with_line_width(metres),
        None => circuit,
    })
}
