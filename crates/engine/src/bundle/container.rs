//! The container of an engine file: named sections in the safetensors format.
//!
//! The container's metadata has one entry, `pilotage`: a JSON object with the version of
//! the format, the manifest, and the SHA-256 of every section except `header`. The section
//! `header` is the SHA-256 of the container's header, which is the eight length bytes and the
//! JSON. Together the checksums cover every byte of the file.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BundleError;
use crate::Manifest;

/// The version of the format that is written. Version 4 has compressed constants, and version 5 sums from
/// integers to integers; the rest is that of version 3.
pub(super) const VERSION: u32 = 5;
/// The oldest version that is read.
pub(super) const OLDEST: u32 = 3;
/// The key of the only entry of the metadata.
const KEY: &str = "pilotage";
/// The section with the checksum of the header.
const HEADER: &str = "header";
/// The number of bytes before the JSON of the header; they contain the length of the JSON.
const PREFIX: usize = 8;
/// Maximum number of bytes of the header's JSON. It bounds the memory of the parsed JSON.
const MAX_HEADER: usize = 1 << 22;
/// Maximum number of sections.
const MAX_SECTIONS: usize = 256;

/// A file's sections by name.
pub(super) type Sections<'a> = BTreeMap<String, &'a [u8]>;

#[derive(Serialize, Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    manifest: Manifest,
    /// SHA-256 of each section, in hexadecimal.
    sections: BTreeMap<String, String>,
}

/// The bytes of a file; the same content gives the same bytes.
pub(super) fn write(
    manifest: &Manifest,
    sections: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, BundleError> {
    write_version(VERSION, manifest, sections)
}

/// As [`write`], with another version.
pub(super) fn write_version(
    version: u32,
    manifest: &Manifest,
    sections: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, BundleError> {
    let digests = sections
        .iter()
        .map(|(name, content)| (name.clone(), digest(content)));
    let head = Head {
        version,
        manifest: manifest.clone(),
        sections: digests.collect(),
    };
    let head = serde_json::to_string(&head).map_err(|reason| BundleError::Json {
        section: "manifest",
        reason,
    })?;
    let blank = vec![0; Sha256::output_size()];
    let mut views = vec![(HEADER, view(&blank)?)];
    for (name, content) in sections {
        views.push((name, view(content)?));
    }
    // There is only one entry, because the order of several entries of a `HashMap` is not defined,
    // and the same content has to give the same bytes.
    let metadata = HashMap::from([(KEY.to_owned(), head)]);
    let mut file = serialize(views, Some(metadata)).map_err(BundleError::Container)?;
    let (digest, place) = {
        let (header, container) = parse(&file)?;
        let content = container
            .tensor(HEADER)
            .map_err(BundleError::Container)?
            .data();
        let start = content.as_ptr() as usize - file.as_ptr() as usize;
        (Sha256::digest(header), start..start + content.len())
    };
    file[place].copy_from_slice(&digest);
    Ok(file)
}

/// The manifest and the sections of a file. Checks all checksums.
pub(super) fn read(file: &[u8]) -> Result<(Manifest, Sections<'_>), BundleError> {
    let (header, container) = parse(file)?;
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(BundleError::Container)?;
    let text = metadata
        .metadata()
        .as_ref()
        .filter(|entries| entries.len() == 1)
        .and_then(|entries| entries.get(KEY))
        .ok_or(BundleError::NotAnEngine)?;
    let json = |reason| BundleError::Json {
        section: "manifest",
        reason,
    };
    let Version { version } = serde_json::from_str(text).map_err(json)?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(BundleError::Version { found: version });
    }
    let mut sections = Sections::new();
    for (name, view) in container.tensors() {
        if view.dtype() != Dtype::U8 || view.shape() != [view.data().len()] {
            return Err(BundleError::Section { section: name });
        }
        // The same bytes as `view.data()`, as a slice of `file`.
        let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
        sections.insert(name, &file[start..start + view.data().len()]);
    }
    if sections.len() > MAX_SECTIONS {
        return Err(BundleError::TooManySections {
            found: sections.len(),
            limit: MAX_SECTIONS,
        });
    }
    let damaged = |section: &str| BundleError::Checksum {
        section: section.to_owned(),
    };
    let covered = sections.remove(HEADER).ok_or_else(|| damaged(HEADER))?;
    if Sha256::digest(header)[..] != *covered {
        return Err(damaged(HEADER));
    }
    let head: Head = serde_json::from_str(text).map_err(json)?;
    if !sections.keys().eq(head.sections.keys()) {
        return Err(damaged(HEADER));
    }
    for (name, content) in &sections {
        if digest(content) != head.sections[name] {
            return Err(damaged(name));
        }
    }
    Ok((head.manifest, sections))
}

/// The bytes of the header, including its length, and the container.
fn parse(file: &[u8]) -> Result<(&[u8], SafeTensors<'_>), BundleError> {
    let prefix = file.first_chunk::<PREFIX>();
    let length = u64::from_le_bytes(*prefix.ok_or(BundleError::NotAnEngine)?);
    let end = usize::try_from(length)
        .ok()
        .filter(|&length| length <= MAX_HEADER)
        .map(|length| length + PREFIX)
        .ok_or(BundleError::NotAnEngine)?;
    let header = file.get(..end).ok_or(BundleError::Truncated)?;
    // Rejects files of most other formats; `SafeTensors` then parses the UTF-8 and the JSON.
    if header.get(PREFIX) != Some(&b'{') {
        return Err(BundleError::NotAnEngine);
    }
    let container = SafeTensors::deserialize(file).map_err(|error| match error {
        safetensors::SafeTensorError::MetadataIncompleteBuffer => BundleError::Truncated,
        other => BundleError::Container(other),
    })?;
    Ok((header, container))
}

fn view(content: &[u8]) -> Result<TensorView<'_>, BundleError> {
    TensorView::new(Dtype::U8, vec![content.len()], content).map_err(BundleError::Container)
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
