//! Reads ONNX into a [`Graph`]. The bytes are untrusted: sizes are checked before memory is
//! allocated for them, and every broken rule is a [`GraphError`].

mod attributes;
pub(crate) mod composite;
pub(crate) mod constants;
mod control;
pub(crate) mod limits;
mod operators;
pub(crate) mod order;
mod reader;
mod refusals;
mod scopes;
mod tensors;
mod types;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::external;
use crate::onnx::{GraphProto, ModelProto};
use crate::{DataFiles, Graph, GraphError, OPSETS};
use limits::limit;
use reader::{Reader, default_domain};

pub use limits::ReadOptions;

impl Graph {
    /// Reads an ONNX model of opset 9 to 28.
    ///
    /// No file is opened: a tensor whose data is in another file is an error.
    ///
    /// An open batch axis (the first axis of an input) becomes 1. Nodes are sorted topologically.
    /// Nodes that no output needs are removed. Nodes that compute with constants only are folded,
    /// except layers and quantization. Some operators are read as several nodes of simpler ones.
    ///
    /// # Errors
    /// A [`GraphError`] that names the problem and its location. If nodes are not supported, it
    /// names all of them.
    pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Self, GraphError> {
        Self::read_model(bytes, options, None)
    }

    /// Like [`read`](Self::read), but tensors that an output needs may have their data in `files`.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`GraphError::DataFile`] if a tensor's file cannot be used.
    pub fn read_with_data(
        bytes: &[u8],
        options: &ReadOptions,
        files: &mut DataFiles,
    ) -> Result<Self, GraphError> {
        Self::read_model(bytes, options, Some(files))
    }

    fn read_model(
        bytes: &[u8],
        options: &ReadOptions,
        files: Option<&mut DataFiles>,
    ) -> Result<Self, GraphError> {
        let model = decode(bytes, options)?;
        let graph = model.graph.ok_or(GraphError::NoGraph)?;
        let mut opsets = BTreeMap::new();
        for import in model.opset_import {
            opsets.insert(default_domain(import.domain), import.version);
        }
        let opset = *opsets.get("").ok_or(GraphError::MissingOpset)?;
        if !OPSETS.contains(&opset) {
            return Err(GraphError::UnsupportedOpset { found: opset });
        }
        Reader::new(options, files, opsets, opset).read(graph)
    }
}

/// The files in which an ONNX model keeps the data of its tensors, as the model names them: paths
/// relative to the model's folder, sorted. They are untrusted, and need not exist.
///
/// # Errors
/// If the bytes are not ONNX or exceed a limit.
pub fn data_locations(bytes: &[u8], options: &ReadOptions) -> Result<Vec<String>, GraphError> {
    let graph = decode(bytes, options)?.graph.ok_or(GraphError::NoGraph)?;
    let mut sorted = BTreeSet::new();
    collect_locations(&graph, &mut sorted);
    Ok(sorted.into_iter().collect())
}

/// Adds the locations of a graph and its subgraphs.
fn collect_locations(graph: &GraphProto, sorted: &mut BTreeSet<String>) {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let tensors = attributes().filter_map(|attribute| attribute.t.as_ref());
    let locations = (graph.initializer.iter().chain(tensors)).filter_map(external::location);
    sorted.extend(locations.map(str::to_owned));
    for subgraph in attributes().filter_map(|attribute| attribute.g.as_deref()) {
        collect_locations(subgraph, sorted);
    }
}

fn decode(bytes: &[u8], options: &ReadOptions) -> Result<ModelProto, GraphError> {
    limit("the file", bytes.len(), options.max_bytes)?;
    wire::check(bytes, options.max_decoded_bytes)?;
    ModelProto::decode(bytes).map_err(|e| GraphError::NotOnnx {
        detail: e.to_string(),
    })
}

#[cfg(test)]
mod tests;
