//! The circuits that a client may choose, by their names.

use pilotage_simulator::Circuit;

/// Names of Donkeycar's simulator that stand for circuits of this one, so that the environments of
/// gym-donkeycar that name them can be used: a random circuit, and a shipped one.
const ROADS: &str = "generated_road";
const TRACK: (&str, &str) = ("generated_track", "simple");

/// The names of all scenes.
pub fn names() -> Vec<String> {
    let shipped = Circuit::shipped_names().iter().copied();
    let names = [ROADS, TRACK.0].into_iter().chain(shipped);
    names.map(str::to_owned).collect()
}

/// A circuit by its name; `seed` is for a random one.
pub fn circuit(name: &str, seed: u64) -> Option<Circuit> {
    match name {
        ROADS => Some(Circuit::random(seed)),
        name if name == TRACK.0 => Circuit::shipped(TRACK.1),
        name => Circuit::shipped(name),
    }
}
