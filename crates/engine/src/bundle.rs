//! The engine file, `NAME.engine`: a manifest, the plan, its weights and further
//! sections.
//!
//! | section | content |
//! |---|---|
//! | `plan` | the plan without its weights, JSON |
//! | `constants` | the weights, little-endian, each at a multiple of 64 bytes; INT8 weights may be compressed |
//! | `model.qdq.onnx` | the INT8 network for other runtimes, an ONNX file |
//! | `model.fp16.onnx` | the network in 16-bit floating point, an ONNX file |
//! | `gate.frames` | the validation frames after preprocessing, one PNG |
//! | `gate.inputs` | the other inputs of these frames, f32, frame after frame; absent without any |
//! | `gate.answers` | the fp32 outputs for these frames, f32, frame after frame |
//! | `calibration.cache` | the ranges of activations in TensorRT's text format |
//!
//! docs/engine-file.md describes the container (container.rs).

mod container;

use std::collections::BTreeMap;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::encoding::{self, Encoding};
use crate::plan::{
    Constant, ConstantData, MAX_BYTES, MAX_ITEMS, Plan, PlanError, PlanPort, Step, TensorSpec,
};
use crate::{ElementType, Manifest};

const ALIGNMENT: usize = 64;
/// Maximum number of bytes of the plan section: far more than an engine needs. It bounds the
/// memory of the parsed plan.
const MAX_PLAN: usize = 1 << 26;

/// The content of an engine file.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The manifest.
    pub manifest: Manifest,
    /// The network.
    pub plan: Plan,
    /// All other sections, by name.
    pub sections: BTreeMap<String, Vec<u8>>,
}

/// A section of an engine file, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: usize,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The sections that [`Bundle::plan`] is read from.
const PLAN: &str = "plan";
const CONSTANTS: &str = "constants";

/// Why an engine file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The first bytes are not those of an engine file.
    #[error(
        "this is not an engine file; engine files are made from engines/*.toml when the project \
         is built"
    )]
    NotAnEngine,
    /// The file has another format version.
    #[error(
        "the engine file has format version {found}, this program reads {} to {}; compile it again",
        container::OLDEST,
        container::VERSION
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file ends early.
    #[error("the engine file is cut short; copy it again")]
    Truncated,
    /// The container is malformed.
    #[error("the engine file is damaged ({0}); copy it again")]
    Container(safetensors::SafeTensorError),
    /// A section is not plain bytes.
    #[error("the engine file's section `{section}` is not made of bytes; compile it again")]
    Section {
        /// Its name.
        section: String,
    },
    /// A required section is missing.
    #[error("the engine file has no section `{section}`; compile it again")]
    Missing {
        /// Its name.
        section: &'static str,
    },
    /// The file has too many sections.
    #[error("the engine file has {found} sections, more than the {limit} allowed")]
    TooManySections {
        /// Number of sections.
        found: usize,
        /// Maximum number of sections.
        limit: usize,
    },
    /// A section is too large.
    #[error("the engine file's section `{section}` of {length} bytes is larger than allowed")]
    SectionTooLarge {
        /// Its name.
        section: &'static str,
        /// Its length.
        length: usize,
    },
    /// The checksum of a section, or of the header, is wrong.
    #[error(
        "the engine file's section `{section}` is damaged: its checksum is wrong; copy it again"
    )]
    Checksum {
        /// The name of the section.
        section: String,
    },
    /// A section is not the JSON that is expected.
    #[error("the engine file's {section} cannot be read: {reason}")]
    Json {
        /// The name of the section.
        section: &'static str,
        /// The error of the parser.
        reason: serde_json::Error,
    },
    /// A constant is outside the section of constants, its padding is not zero, or its size
    /// overflows.
    #[error("constant {id} of the engine file has an invalid position or size")]
    ConstantPlace {
        /// Its index.
        id: usize,
    },
    /// There are bytes after the last constant.
    #[error("the engine file has {bytes} bytes after its last constant; compile it again")]
    ConstantsLeft {
        /// Number of bytes.
        bytes: usize,
    },
    /// A constant has an element type that is not stored.
    #[error("constant {id} of the engine file is of type {found:?}, which is not stored")]
    ConstantType {
        /// Its index.
        id: usize,
        /// Its element type.
        found: ElementType,
    },
    /// A constant's compressed elements do not decode.
    #[error("constant {id} of the engine file has invalid compressed weights; compile it again")]
    ConstantEncoding {
        /// Its index.
        id: usize,
    },
    /// A weight is infinite or not a number.
    #[error("constant {id} has a weight that is infinite or not a number; train the model again")]
    NotFinite {
        /// Its index.
        id: usize,
    },
    /// The plan is not valid.
    #[error("the engine's plan cannot be run: {0}")]
    Plan(PlanError),
}

/// A constant without its elements.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstantEntry {
    shape: Vec<usize>,
    element_type: ElementType,
    /// How INT8 elements are compressed; from version 4 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compressed: Option<Compressed>,
}

/// A constant whose bytes are not its elements.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compressed {
    encoding: Encoding,
    /// Number of bytes.
    bytes: usize,
}

/// The plan without its constants' elements.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanDocument {
    tensors: Vec<TensorSpec>,
    constants: Vec<ConstantEntry>,
    inputs: Vec<PlanPort>,
    outputs: Vec<PlanPort>,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct PlanDocumentRef<'a> {
    tensors: &'a [TensorSpec],
    constants: Vec<ConstantEntry>,
    inputs: &'a [PlanPort],
    outputs: &'a [PlanPort],
    steps: &'a [Step],
}

impl Bundle {
    /// The version of the format that is written.
    pub const FORMAT_VERSION: u32 = container::VERSION;

    /// The bytes of the file; the same content gives the same bytes. INT8 constants are stored in
    /// the encoding with the fewest bytes.
    ///
    /// # Errors
    /// When the plan is not valid or a weight is not finite.
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        self.plan.validate().map_err(BundleError::Plan)?;
        check_finite(&self.plan)?;
        let mut constants = Vec::new();
        let mut entries = Vec::with_capacity(self.plan.constants.len());
        for constant in &self.plan.constants {
            constants.resize(constants.len().next_multiple_of(ALIGNMENT), 0);
            entries.push(store(constant, &mut constants));
        }
        let document = PlanDocumentRef {
            tensors: &self.plan.tensors,
            constants: entries,
            inputs: &self.plan.inputs,
            outputs: &self.plan.outputs,
            steps: &self.plan.steps,
        };
        let mut sections = self.sections.clone();
        sections.insert(PLAN.into(), json(PLAN, &document)?);
        sections.insert(CONSTANTS.into(), constants);
        container::write(&self.manifest, &sections)
    }

    /// Reads a file and checks bounds, checksums and the plan (with [`Plan::validate`]).
    ///
    /// # Errors
    /// When the file is not a valid engine file of a version that is read.
    pub fn read(file: &[u8]) -> Result<Self, BundleError> {
        let (manifest, mut sections) = container::read(file)?;
        let mut take = |section: &'static str, limit: usize| {
            let content = sections.remove(section);
            let content = content.ok_or(BundleError::Missing { section })?;
            match content.len() {
                length if length > limit => Err(BundleError::SectionTooLarge { section, length }),
                _ => Ok(content),
            }
        };
        let document: PlanDocument = parse(PLAN, take(PLAN, MAX_PLAN)?)?;
        let blob = take(CONSTANTS, MAX_BYTES + MAX_ITEMS * ALIGNMENT)?;
        if document.constants.len() > MAX_ITEMS {
            return Err(BundleError::Plan(PlanError::TooMany {
                what: "constants",
                found: document.constants.len(),
                limit: MAX_ITEMS,
            }));
        }
        let constants = read_constants(document.constants, blob)?;
        let plan = Plan {
            tensors: document.tensors,
            constants,
            inputs: document.inputs,
            outputs: document.outputs,
            steps: document.steps,
        };
        check_finite(&plan)?;
        plan.validate().map_err(BundleError::Plan)?;
        let sections = sections
            .into_iter()
            .map(|(name, content)| (name, content.to_vec()));
        Ok(Self {
            manifest,
            plan,
            sections: sections.collect(),
        })
    }
}

/// The sections of an engine file, sorted by name. Checks all checksums.
///
/// # Errors
/// As [`Bundle::read`], but the plan and the constants are not parsed.
pub fn sections(file: &[u8]) -> Result<Vec<Section>, BundleError> {
    let (_, sections) = container::read(file)?;
    let section = |(name, content): (String, &[u8])| Section {
        name,
        bytes: content.len(),
        sha256: container::digest(content),
    };
    Ok(sections.into_iter().map(section).collect())
}

/// The constants of a section.
fn read_constants(entries: Vec<ConstantEntry>, blob: &[u8]) -> Result<Vec<Constant>, BundleError> {
    let (mut end, mut total) = (0, 0_usize);
    let mut constants = Vec::with_capacity(entries.len());
    for (id, entry) in entries.into_iter().enumerate() {
        let place = || BundleError::ConstantPlace { id };
        let element = entry.element_type.size();
        let size = (entry.shape.iter())
            .try_fold(element, |bytes, &size| bytes.checked_mul(size))
            .ok_or_else(place)?;
        // Compressed elements may need much more memory than their bytes in the file.
        total = total.saturating_add(size);
        if total > MAX_BYTES {
            let what = "all constants together".into();
            return Err(BundleError::Plan(PlanError::TooLarge { what }));
        }
        let stored = entry.compressed.map_or(size, |compressed| compressed.bytes);
        let start = aligned_start(blob, end).ok_or_else(place)?;
        end = start
            .checked_add(stored)
            .filter(|&end| end <= blob.len())
            .ok_or_else(place)?;
        let bytes = &blob[start..end];
        let data = match entry.compressed {
            Some(_) if entry.element_type != ElementType::I8 => None,
            Some(Compressed { encoding, .. }) => {
                let row = row(&entry.shape, size);
                let decoded = encoding::decode(encoding, bytes, size, row);
                let decoded = decoded.ok_or(BundleError::ConstantEncoding { id })?;
                Some(ConstantData::I8(decoded))
            }
            None => elements(entry.element_type, bytes),
        };
        let data = data.ok_or(BundleError::ConstantType {
            id,
            found: entry.element_type,
        })?;
        constants.push(Constant {
            shape: entry.shape,
            data,
        });
    }
    if end != blob.len() {
        return Err(BundleError::ConstantsLeft {
            bytes: blob.len() - end,
        });
    }
    Ok(constants)
}

/// Appends a constant's bytes, compressed if that takes fewer.
fn store(constant: &Constant, bytes: &mut Vec<u8>) -> ConstantEntry {
    let Constant { shape, data } = constant;
    let compressed = match data {
        ConstantData::I8(data) => encoding::encode(data, row(shape, data.len())),
        _ => None,
    };
    let compressed = match compressed {
        Some((encoding, encoded)) => {
            bytes.extend(&encoded);
            let bytes = encoded.len();
            Some(Compressed { encoding, bytes })
        }
        None => {
            append(data, bytes);
            None
        }
    };
    ConstantEntry {
        shape: shape.clone(),
        element_type: data.element_type(),
        compressed,
    }
}

/// The elements of a row of a constant with `len` elements: of an index of its first axis.
pub(crate) fn row(shape: &[usize], len: usize) -> usize {
    let rows = shape.first().copied().unwrap_or(1);
    len.checked_div(rows).unwrap_or(0)
}

/// The next multiple of the alignment, if the bytes up to there are zeros.
fn aligned_start(bytes: &[u8], end: usize) -> Option<usize> {
    let start = end.next_multiple_of(ALIGNMENT);
    let padding = bytes.get(end..start)?;
    padding.iter().all(|&byte| byte == 0).then_some(start)
}

fn json(section: &'static str, content: &impl Serialize) -> Result<Vec<u8>, BundleError> {
    serde_json::to_vec(content).map_err(|reason| BundleError::Json { section, reason })
}

fn parse<T: for<'de> Deserialize<'de>>(
    section: &'static str,
    bytes: &[u8],
) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|reason| BundleError::Json { section, reason })
}

fn check_finite(plan: &Plan) -> Result<(), BundleError> {
    let bad = |constant: &Constant| match &constant.data {
        ConstantData::F32(data) => data.iter().any(|x| !x.is_finite()),
        ConstantData::F16(data) => data.iter().any(|x| !x.is_finite()),
        _ => false,
    };
    match plan.constants.iter().position(bad) {
        Some(id) => Err(BundleError::NotFinite { id }),
        None => Ok(()),
    }
}

fn append(data: &ConstantData, bytes: &mut Vec<u8>) {
    match data {
        ConstantData::F32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        ConstantData::F16(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        ConstantData::I64(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        ConstantData::I32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        ConstantData::U8(data) => bytes.extend(data),
        ConstantData::I8(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
    }
}

fn elements(element_type: ElementType, bytes: &[u8]) -> Option<ConstantData> {
    let words = bytes.as_chunks::<4>().0.iter().copied();
    Some(match element_type {
        ElementType::F32 => ConstantData::F32(words.map(f32::from_le_bytes).collect()),
        ElementType::F16 => {
            let words = bytes.as_chunks::<2>().0.iter().copied();
            ConstantData::F16(words.map(f16::from_le_bytes).collect())
        }
        ElementType::I32 => ConstantData::I32(words.map(i32::from_le_bytes).collect()),
        ElementType::I64 => {
            let words = bytes.as_chunks::<8>().0.iter().copied();
            ConstantData::I64(words.map(i64::from_le_bytes).collect())
        }
        ElementType::U8 => ConstantData::U8(bytes.to_vec()),
        ElementType::I8 => {
            ConstantData::I8(bytes.iter().map(|&x| i8::from_le_bytes([x])).collect())
        }
        ElementType::Bool => return None,
    })
}

#[cfg(test)]
mod tests;
