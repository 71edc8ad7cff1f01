//! Collects the licences of everything that is linked into the programs, which the package has to
//! contain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::PROGRAMS;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The beginnings of the names of licence files.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// A list of the packages with version and licence, followed by each licence text once.
pub fn text(checkout: &Checkout, target: &str) -> Result<String> {
    let metadata = Invocation::new("cargo metadata --format-version=1 --locked --filter-platform")
        .arg(target)
        .within(checkout.root())
        .answer()
        .context("`cargo metadata` fails")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let linked = linked(&metadata);
    let mut list =
        String::from("Pilotage's programs are made of these, besides Pilotage itself:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let id = package["id"].as_str().unwrap_or_default();
        if !linked.contains(id) || package["source"].is_null() {
            continue;
        }
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let name = format!("{} {}", field("name"), field("version"));
        let licence = match field("license") {
            "" => "see its text",
            licence => licence,
        };
        list.push_str(&format!("  {name}: {licence}\n"));
        let folder = Path::new(field("manifest_path")).parent();
        for text in folder.map(licences).unwrap_or_default() {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, packages) in texts {
        list.push_str(&format!(
            "\n{}\n{}\n\n",
            "=".repeat(76),
            packages.join(", ")
        ));
        list.push_str(&text);
    }
    Ok(list)
}

/// The ids of the packages that are linked into the programs, directly or indirectly.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let mut dependencies = Vec::new();
        for need in node["deps"].as_array().into_iter().flatten() {
            let kinds = need["dep_kinds"].as_array();
            // A null kind is a normal dependency, not a build or dev dependency.
            if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null())) {
                dependencies.extend(need["pkg"].as_str());
            }
        }
        needs.insert(node["id"].as_str().unwrap_or_default(), dependencies);
    }
    let mut pending: Vec<&str> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            PROGRAMS.contains(&name) && package["source"].is_null()
        })
        .filter_map(|package| package["id"].as_str())
        .collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if linked.insert(id) {
            pending.extend(needs.get(id).into_iter().flatten());
        }
    }
    linked
}

/// The licence texts in a package's folder.
fn licences(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            NAMES.iter().any(|start| name.starts_with(start))
        })
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .map(|text| text.replace("\r\n", "\n").trim_end().to_owned())
        .collect()
}
