//! The engine file, `NAME.engine`.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PILOTENG` |
//! | 4 | format version, 1 |
//! | 4 | number of sections, 3 |
//! | 48 each | kind (4), zero (4), length (8), SHA-256 (32) of a section |
//! | 32 | SHA-256 of everything before |
//!
//! The sections follow in that order, each at the next multiple of 64 bytes with
//! zeros between: the manifest (1, JSON), the plan (2, JSON) and the constants
//! (3, each at a multiple of 64 bytes). The file ends with the last section.
//! Every byte is covered by a checksum or has to be zero.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::plan::{
    Constant, ConstantData, MAX_BYTES, MAX_ITEMS, Plan, PlanError, PlanPort, Step, TensorSpec,
};
use crate::{ElementType, Output};

const MAGIC: &[u8; 8] = b"PILOTENG";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;
const DIGEST: usize = 32;
const ENTRY: usize = 16 + DIGEST;
const HEADER: usize = 16 + ENTRY * SECTIONS.len() + DIGEST;
const SECTIONS: [&str; 3] = ["manifest", "plan", "constants"];
/// Most bytes of the manifest and of the plan: far more than an engine needs, and
/// little enough that what they become in memory stays bounded.
const MAX_MANIFEST: usize = 1 << 20;
const MAX_PLAN: usize = 1 << 26;

/// Where an engine was trained to drive. One trained in the simulator never
/// arms a physical actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// In the simulator only.
    Simulated,
    /// On a physical car.
    Physical,
}

/// What an engine file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The engine's name.
    pub name: String,
    /// Where it may drive.
    pub domain: Domain,
    /// How a camera's frame becomes the input, as the recipe has it.
    pub preprocessing: serde_json::Value,
    /// What the outputs mean.
    pub outputs: Vec<Output>,
    /// SHA-256 of the ONNX file it was compiled from, in hexadecimal.
    pub source_sha256: String,
    /// Version of the compiler.
    pub tool_version: String,
}

/// The content of an engine file.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What it says about itself.
    pub manifest: Manifest,
    /// The network.
    pub plan: Plan,
}

/// Why bytes are not an engine, or an engine cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The first bytes are not those of an engine file.
    #[error(
        "this is not an engine file; engine files are made from engines/*.toml when the project \
         is built"
    )]
    NotAnEngine,
    /// Written by another version.
    #[error(
        "the engine file has format version {found}, this program reads {VERSION}; compile it again"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file ends early.
    #[error("the engine file is cut short: {needed} bytes needed, {found} found; copy it again")]
    Truncated {
        /// Bytes its header asks for.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Bytes after the end.
    #[error("the engine file has {extra} bytes after its end; copy it again")]
    TooLong {
        /// How many.
        extra: usize,
    },
    /// The header does not describe this version's sections.
    #[error("the engine file's header is malformed; compile it again")]
    Header,
    /// A section is larger than an engine's may be.
    #[error("the engine file's {section} section of {length} bytes is larger than allowed")]
    SectionTooLarge {
        /// Its name.
        section: &'static str,
        /// Its length.
        length: u64,
    },
    /// The content is not what was written.
    #[error("the engine file's {section} is damaged: its checksum is wrong; copy it again")]
    Checksum {
        /// Which part.
        section: &'static str,
    },
    /// A section is not the JSON it has to be.
    #[error("the engine file's {section} cannot be read: {source}")]
    Json {
        /// Which section.
        section: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A constant lies outside the constants, or its size overflows.
    #[error("constant {id} of the engine file does not lie where constants do")]
    ConstantPlace {
        /// Its number.
        id: usize,
    },
    /// A constant has an element type that is not stored.
    #[error("constant {id} of the engine file is of type {found:?}, which is not stored")]
    ConstantType {
        /// Its number.
        id: usize,
        /// The type it names.
        found: ElementType,
    },
    /// A weight is infinite or not a number.
    #[error("constant {id} has a weight that is infinite or not a number; train the model again")]
    NotFinite {
        /// Its number.
        id: usize,
    },
    /// The plan inside cannot be run.
    #[error("the engine's plan cannot be run: {0}")]
    Plan(#[from] PlanError),
}

/// A constant without its elements.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstantEntry {
    shape: Vec<usize>,
    element_type: ElementType,
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
    /// The file's bytes; the same for the same content.
    ///
    /// # Errors
    /// When the plan is not valid or a weight is not finite.
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        self.plan.validate()?;
        check_finite(&self.plan)?;
        let mut constants = Vec::new();
        for Constant { data, .. } in &self.plan.constants {
            constants.resize(constants.len().next_multiple_of(ALIGNMENT), 0);
            append(data, &mut constants);
        }
        let document = PlanDocumentRef {
            tensors: &self.plan.tensors,
            constants: self
                .plan
                .constants
                .iter()
                .map(|constant| ConstantEntry {
                    shape: constant.shape.clone(),
                    element_type: constant.data.element_type(),
                })
                .collect(),
            inputs: &self.plan.inputs,
            outputs: &self.plan.outputs,
            steps: &self.plan.steps,
        };
        let sections = [
            json("manifest", &self.manifest)?,
            json("plan", &document)?,
            constants,
        ];
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend((sections.len() as u32).to_le_bytes());
        for (kind, section) in (1_u32..).zip(&sections) {
            file.extend(kind.to_le_bytes());
            file.extend([0; 4]);
            file.extend((section.len() as u64).to_le_bytes());
            file.extend(Sha256::digest(section));
        }
        file.extend(Sha256::digest(&file));
        for section in &sections {
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
            file.extend(section);
        }
        Ok(file)
    }

    /// Reads and checks a file's bytes: bounds, checksums, and the plan as
    /// [`Plan::validate`] does.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn read(file: &[u8]) -> Result<Self, BundleError> {
        let [manifest, document, blob] = sections(file)?;
        let manifest = parse("manifest", manifest)?;
        let document: PlanDocument = parse("plan", document)?;
        if document.constants.len() > MAX_ITEMS {
            return Err(PlanError::TooMany {
                what: "constants",
                found: document.constants.len(),
                limit: MAX_ITEMS,
            }
            .into());
        }
        let mut end = 0;
        let mut constants = Vec::with_capacity(document.constants.len());
        for (
            id,
            ConstantEntry {
                shape,
                element_type,
            },
        ) in document.constants.into_iter().enumerate()
        {
            let place = || BundleError::ConstantPlace { id };
            let bytes = shape
                .iter()
                .try_fold(element_type.size(), |bytes, &size| bytes.checked_mul(size))
                .ok_or_else(place)?;
            let start = zeros(blob, end).ok_or_else(place)?;
            end = start
                .checked_add(bytes)
                .filter(|&end| end <= blob.len())
                .ok_or_else(place)?;
            let data =
                elements(element_type, &blob[start..end]).ok_or(BundleError::ConstantType {
                    id,
                    found: element_type,
                })?;
            constants.push(Constant { shape, data });
        }
        if end != blob.len() {
            return Err(BundleError::TooLong {
                extra: blob.len() - end,
            });
        }
        let plan = Plan {
            tensors: document.tensors,
            constants,
            inputs: document.inputs,
            outputs: document.outputs,
            steps: document.steps,
        };
        check_finite(&plan)?;
        plan.validate()?;
        Ok(Self { manifest, plan })
    }
}

/// The three sections, their checksums right.
fn sections(file: &[u8]) -> Result<[&[u8]; 3], BundleError> {
    if !file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]) || file.is_empty() {
        return Err(BundleError::NotAnEngine);
    }
    let truncated = |needed: u64| BundleError::Truncated {
        needed,
        found: file.len() as u64,
    };
    let word = |at: usize| -> Result<u32, BundleError> {
        let bytes = file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u32::from_le_bytes)
            .ok_or_else(|| truncated(HEADER as u64))
    };
    let found = word(8)?;
    if found != VERSION {
        return Err(BundleError::Version { found });
    }
    if file.len() < HEADER {
        return Err(truncated(HEADER as u64));
    }
    let covered = HEADER - DIGEST;
    if Sha256::digest(&file[..covered])[..] != file[covered..HEADER] {
        return Err(BundleError::Checksum { section: "header" });
    }
    if word(12)? != SECTIONS.len() as u32 {
        return Err(BundleError::Header);
    }
    let mut end = HEADER;
    let mut found = [&file[..0]; SECTIONS.len()];
    for (index, section) in SECTIONS.into_iter().enumerate() {
        let at = 16 + ENTRY * index;
        if word(at)? != index as u32 + 1 || word(at + 4)? != 0 {
            return Err(BundleError::Header);
        }
        let length = u64::from(word(at + 8)?) | u64::from(word(at + 12)?) << 32;
        let limit = [MAX_MANIFEST, MAX_PLAN, MAX_BYTES + MAX_ITEMS * ALIGNMENT][index];
        let size = usize::try_from(length)
            .ok()
            .filter(|&size| size <= limit)
            .ok_or(BundleError::SectionTooLarge { section, length })?;
        let start = zeros(file, end).ok_or_else(|| truncated(end as u64 + length))?;
        end = start + size;
        let content = file.get(start..end).ok_or_else(|| truncated(end as u64))?;
        if Sha256::digest(content)[..] != file[at + 16..at + ENTRY] {
            return Err(BundleError::Checksum { section });
        }
        found[index] = content;
    }
    if end != file.len() {
        return Err(BundleError::TooLong {
            extra: file.len() - end,
        });
    }
    Ok(found)
}

/// The next multiple of the alignment, if only zeros lie between.
fn zeros(bytes: &[u8], end: usize) -> Option<usize> {
    let start = end.next_multiple_of(ALIGNMENT);
    let between = bytes.get(end..start)?;
    between.iter().all(|&byte| byte == 0).then_some(start)
}

fn json(section: &'static str, content: &impl Serialize) -> Result<Vec<u8>, BundleError> {
    serde_json::to_vec(content).map_err(|source| BundleError::Json { section, source })
}

fn parse<T: for<'de> Deserialize<'de>>(
    section: &'static str,
    bytes: &[u8],
) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|source| BundleError::Json { section, source })
}

fn check_finite(plan: &Plan) -> Result<(), BundleError> {
    let bad = |constant: &Constant| matches!(&constant.data, ConstantData::F32(data) if data.iter().any(|x| !x.is_finite()));
    match plan.constants.iter().position(bad) {
        Some(id) => Err(BundleError::NotFinite { id }),
        None => Ok(()),
    }
}

fn append(data: &ConstantData, bytes: &mut Vec<u8>) {
    match data {
        ConstantData::F32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
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
