//! Why a graph cannot be trained.

use std::fmt;

/// A node that cannot be trained through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// The node's name.
    pub node: String,
    /// The node's operator.
    pub operator: &'static str,
    /// What is not supported.
    pub reason: String,
}

/// The nodes of a graph that cannot be trained through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNodes(pub Vec<UnsupportedNode>);

impl From<Vec<UnsupportedNode>> for UnsupportedNodes {
    fn from(nodes: Vec<UnsupportedNode>) -> Self {
        Self(nodes)
    }
}

impl fmt::Display for UnsupportedNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let UnsupportedNode {
                node,
                operator,
                reason,
            } = node;
            write!(f, "{separator}`{node}` ({operator}): {reason}")?;
        }
        Ok(())
    }
}

/// Why a graph cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// Some nodes are not supported.
    #[error("training through these nodes is not supported: {0}")]
    Unsupported(UnsupportedNodes),
    /// An input is not a batch of float32.
    #[error(
        "the input `{name}` is {found}; training needs float32 with a first axis of 1, which \
         becomes the batch: export the model with a batch of 1 or with an open batch axis"
    )]
    Input {
        /// The input's name.
        name: String,
        /// Its type.
        found: String,
    },
    /// An output does not depend on an input.
    #[error("the output `{name}` does not depend on an input; remove it from the model")]
    ConstantOutput {
        /// The output's name.
        name: String,
    },
    /// There is no parameter of this name.
    #[error("there is no parameter `{name}`; there is {known}")]
    UnknownParameter {
        /// The name.
        name: String,
        /// The names of all parameters.
        known: String,
    },
    /// There is no node of this name.
    #[error("there is no node `{name}` in the model")]
    UnknownNode {
        /// The name.
        name: String,
    },
    /// No trained layer has a name that begins so.
    #[error("no trained layer has a name that begins with `{prefix}`; there is {known}")]
    NothingToFreeze {
        /// The beginning of a name.
        prefix: String,
        /// The names of the nodes that read trained parameters.
        known: String,
    },
    /// Data does not have the expected number of elements.
    #[error("`{name}` needs {expected} elements, but there are {found}")]
    Size {
        /// What the data is for.
        name: String,
        /// The number that is needed.
        expected: usize,
        /// The number that was passed.
        found: usize,
    },
    /// A setting is out of its range.
    #[error("{setting} is {found}; it must be {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The network is not quantized.
    #[error("the network has no quantization to export; call `quantize` first")]
    NotQuantized,
    /// The graph cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] pilotage_compiler::QuantizeError),
    /// The trained graph is not valid. This is a defect of this crate.
    #[error("the trained graph is invalid ({0}); report this as a defect of Pilotage")]
    Unsound(pilotage_graph::GraphError),
}
