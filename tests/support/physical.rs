//! The shipped network as if it had been trained on a physical car.

use std::fs;
use std::path::Path;

use pilotage_engine::Bundle;
use pilotage_vehicle::Domain;

/// Writes the shipped engine with a physical domain to `file`. To compile it would take seconds in
/// every test.
pub fn write_engine(file: &Path) {
    let mut bundle = Bundle::read(pilotage::engines::compiled_in("pilotnet").unwrap()).unwrap();
    bundle.manifest.domain = Domain::Physical;
    fs::write(file, bundle.write().unwrap()).unwrap();
}
