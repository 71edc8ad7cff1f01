//! How a network is quantized, with the groups of values that share a scale numbered from 0.

use std::collections::{BTreeMap, BTreeSet};

use pilotage_compiler::{QuantizationScheme, QuantizeError, QuantizeOptions};
use pilotage_graph::{Graph, ValueId};

/// The quantization of a graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scheme {
    layers: Vec<bool>,
    /// The group of each value.
    groups: Vec<Option<usize>>,
    sources: BTreeSet<ValueId>,
    /// The number of groups.
    pub(crate) count: usize,
}

impl Scheme {
    pub(crate) fn new(graph: &Graph, options: &QuantizeOptions) -> Result<Self, QuantizeError> {
        let scheme = QuantizationScheme::new(graph, options)?;
        let mut numbers = BTreeMap::new();
        let mut number = |group: usize| {
            let next = numbers.len();
            *numbers.entry(group).or_insert(next)
        };
        let groups = scheme.groups.iter().map(|group| group.map(&mut number));
        let groups = groups.collect();
        Ok(Self {
            layers: scheme.layers,
            groups,
            sources: scheme.sources.into_iter().collect(),
            count: numbers.len(),
        })
    }

    /// Whether a node computes in integers.
    pub(crate) fn is_layer(&self, node: usize) -> bool {
        self.layers.get(node).copied().unwrap_or(false)
    }

    /// The group of a quantized value.
    pub(crate) fn group(&self, value: ValueId) -> Option<usize> {
        self.groups.get(value.0).copied().flatten()
    }

    /// The group of a value that is rounded where it is computed.
    pub(crate) fn source(&self, value: ValueId) -> Option<usize> {
        self.group(value).filter(|_| self.sources.contains(&value))
    }
}
