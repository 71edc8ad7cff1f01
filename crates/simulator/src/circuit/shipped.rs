//! The circuits that come with Pilotage.

use super::Circuit;

/// Name and file, in the order of the list.
const FILES: &[(&str, &str)] = &[
    ("simple", include_str!("../../circuits/simple.toml")),
    ("speedway", include_str!("../../circuits/speedway.toml")),
    ("dumbbell", include_str!("../../circuits/dumbbell.toml")),
    ("chicane", include_str!("../../circuits/chicane.toml")),
    ("hairpins", include_str!("../../circuits/hairpins.toml")),
    ("alpine", include_str!("../../circuits/alpine.toml")),
    ("walled", include_str!("../../circuits/walled.toml")),
    ("grand", include_str!("../../circuits/grand.toml")),
];

pub(super) const NAMES: &[&str] = &{
    let mut names = [""; FILES.len()];
    let mut i = 0;
    while i < FILES.len() {
        names[i] = FILES[i].0;
        i += 1;
    }
    names
};

pub(super) fn find(name: &str) -> Option<Circuit> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Circuit::from_toml(text).ok()
}
