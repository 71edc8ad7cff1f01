//! What the project depends on: where it comes from and under which licence, and that the map of
//! crates in docs/architecture.md is that of the manifests. cargo-deny would check the first two as
//! well; building it takes longer than any step of the tests, and its list of advisories is on a
//! server that they cannot reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::root;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The licences that the project may be linked with, by their SPDX names: permissive ones, which ask
/// for no more than their text (`licences.txt` in the package).
const LICENCES: [&str; 8] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The packages of Cargo.lock, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn is_allowed(licence: &LicenseReq) -> bool {
    let id = licence.license.id();
    id.is_some_and(|id| LICENCES.contains(&id.name))
}

#[test]
fn dependencies_come_from_crates_io_under_permissive_licences() {
    let mut checked = 0;
    for package in packages() {
        let name = format!("{} {}", package["name"], package["version"]);
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        assert_eq!(source, CRATES_IO, "{name}");
        let licence = package["license"].as_str().unwrap_or_default();
        let parsed = Expression::parse_mode(licence, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(parsed.evaluate(is_allowed), "{name} is under {licence}");
        checked += 1;
    }
    assert!(checked > 100, "only {checked} packages were checked");
}

#[test]
fn a_licence_that_asks_for_more_is_refused() {
    for refused in ["GPL-3.0-only", "MIT AND MPL-2.0", "LGPL-2.1-or-later"] {
        assert!(!Expression::parse(refused).unwrap().evaluate(is_allowed));
    }
}

type Map = BTreeMap<String, BTreeSet<String>>;

/// A crate's name in the map: its folder's.
fn short(name: &str) -> String {
    match name {
        "v4l2-sys-mit" => "v4l2-sys".to_owned(),
        "tensorrt-rs" => "tensorrt".to_owned(),
        _ => name.strip_prefix("pilotage-").unwrap_or(name).to_owned(),
    }
}

/// The dependencies between the crates of the product, by the manifests.
fn by_the_manifests() -> Map {
    let mut map = Map::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap();
        let is_product = folder == root() || folder.parent() == Some(&root().join("crates"));
        if !package["source"].is_null() || !is_product {
            continue;
        }
        let needs = map
            .entry(short(package["name"].as_str().unwrap()))
            .or_default();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if !dependency["kind"].is_null() {
                continue;
            }
            if !dependency["path"].is_null() {
                needs.insert(short(name));
            } else if name == "v4l" {
                // The workspace replaces what the crate v4l binds to.
                needs.insert("v4l2-sys".to_owned());
            }
        }
    }
    map.retain(|_, needs| !needs.is_empty());
    map
}

/// The arrows of the page's last diagram, `a & b --> c & d`.
fn by_the_page() -> Map {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, section) = page.split_once("## Crates").unwrap();
    let (_, diagram) = section.split_once("```mermaid\n").unwrap();
    let (diagram, _) = diagram.split_once("```").unwrap();
    let mut labels = BTreeMap::new();
    let mut map = Map::new();
    for line in diagram.lines() {
        let Some((from, to)) = line.split_once("-->") else {
            continue;
        };
        let mut names = |side: &str| -> Vec<String> {
            let name = |node: &str| {
                let (id, label) = match node.trim().split_once('[') {
                    Some((id, label)) => (id, label.trim_end_matches(']').trim_matches('"')),
                    None => (node.trim(), node.trim()),
                };
                let label = label.split_whitespace().next().unwrap();
                let known = labels.entry(id.to_owned());
                short(known.or_insert_with(|| label.to_owned()))
            };
            side.split('&').map(name).collect()
        };
        let (from, to) = (names(from), names(to));
        for from in from {
            map.entry(from).or_default().extend(to.iter().cloned());
        }
    }
    map
}

#[test]
fn the_map_of_crates_is_that_of_the_manifests() {
    assert_eq!(by_the_page(), by_the_manifests());
}
