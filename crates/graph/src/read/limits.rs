//! What a file may ask for at most.

use std::collections::BTreeMap;

use crate::{GraphError, Tensor};

/// Options and limits of [`Graph::read`](crate::Graph::read).
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Inputs to bind to constants, by name. An example is a shape that the model takes as an
    /// input.
    pub bind: BTreeMap<String, Tensor>,
    /// The largest file in bytes.
    pub max_bytes: usize,
    /// The approximate limit of memory for the decoded file, in bytes. A small file can be
    /// crafted to decode to something much larger.
    pub max_decoded_bytes: usize,
    /// The most elements of one value, and of all constants together, which includes the indices
    /// of Gather nodes.
    pub max_elements: usize,
    /// The most nodes that all loops and recurrent layers together are unrolled to.
    pub max_unrolled_nodes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            bind: BTreeMap::new(),
            max_bytes: 256 << 20,
            max_decoded_bytes: 1 << 30,
            max_elements: 1 << 28,
            max_unrolled_nodes: 1 << 16,
        }
    }
}

/// What has been unrolled so far.
#[derive(Default)]
pub(super) struct Unrolled {
    pub(super) nodes: usize,
    /// The encoded nodes, as often as they were read.
    pub(super) bytes: usize,
}

/// The largest rank of a value. ONNX sets no limit. Shapes are copied from node to node, so the
/// cost of an unlimited rank would be rank times nodes.
pub(crate) const MAX_RANK: usize = 16;

pub(crate) fn limit(what: &str, size: usize, limit: usize) -> Result<(), GraphError> {
    match size <= limit {
        true => Ok(()),
        false => Err(GraphError::TooLarge {
            what: what.to_owned(),
            size,
            limit,
        }),
    }
}
