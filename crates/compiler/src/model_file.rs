//! Reads a model from its file, with the weights in files beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use pilotage_graph::{DataFiles, Graph, GraphError, ReadOptions, data_locations, metadata};
use sha2::{Digest, Sha256};

/// A model as its files have it.
pub(crate) struct ModelFile {
    pub(crate) graph: Graph,
    /// SHA-256 of the ONNX file, followed by the files with its weights in the order of their
    /// paths.
    pub(crate) sha256: [u8; 32],
}

/// Why a model cannot be read.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The ONNX file cannot be read.
    File(io::Error),
    /// The model is invalid, not supported, or lacks a file with weights.
    Graph(GraphError),
}

impl ModelFile {
    /// Reads the ONNX file at `path`. Weights may be in other files of the same folder.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let options = ReadOptions::default();
        let bytes = read_at_most(path, options.max_bytes).map_err(Problem::File)?;
        let mut files = DataFiles::new(folder(path), options.max_bytes);
        let graph = Graph::read_with_data(&bytes, &options, &mut files).map_err(Problem::Graph)?;
        let mut digest = Sha256::new_with_prefix(&bytes);
        for (_, content) in files.files() {
            digest.update(content);
        }
        Ok(Self {
            graph,
            sha256: digest.finalize().into(),
        })
    }
}

/// The entries in the metadata of the ONNX file at `path`.
pub(crate) fn metadata_of(path: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let options = ReadOptions::default();
    let bytes = read_at_most(path, options.max_bytes).map_err(Problem::File)?;
    metadata(&bytes, &options).map_err(Problem::Graph)
}

/// The files in which the model at `path` keeps its weights. Empty if the model cannot be read.
pub(crate) fn data_files(path: &Path) -> Vec<PathBuf> {
    let options = ReadOptions::default();
    let bytes = read_at_most(path, options.max_bytes).unwrap_or_default();
    let locations = data_locations(&bytes, &options).unwrap_or_default();
    let within = |location: &String| {
        let mut parts = Path::new(location).components();
        parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    };
    let locations = locations.into_iter().filter(within);
    locations
        .map(|location| folder(path).join(location))
        .collect()
}

fn folder(model: &Path) -> &Path {
    model.parent().unwrap_or(Path::new(""))
}

/// Reads a regular file of at most `limit` bytes. Never reads more than `limit + 1` bytes.
fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let too_large = || {
        let message = format!("it is larger than the {limit} bytes a model may have");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    // Opening a FIFO without a writer would wait.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let limit = limit as u64;
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // A file that grows can exceed the size in its metadata.
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
