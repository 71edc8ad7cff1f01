//! The calibration table for calibration with trtexec.
//!
//! TensorRT's format: a line `TRT-VERSION-ALGORITHM`, then a line `NAME: SCALE` for each tensor
//! of the network. The scale is `largest magnitude / 127`, written as the bits of a float32 in
//! hexadecimal (README of NVIDIA's sampleINT8).

use std::fmt::Write as _;

use pilotage_graph::{ElementType, Graph, Tensor, ValueId};

use crate::calibrate::{CalibrateError, Method, Range, seen};
use crate::progress::Run;

/// TensorRT 8.5.2, the version of JetPack 5.1. The algorithm is the one that trtexec requests.
const HEADER: &str = "TRT-8502-EntropyCalibration2";

/// The float tensors of a model, under the model's names. Other runtimes know them by these
/// names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensors(Vec<(ValueId, String)>);

impl Tensors {
    /// The tensors of a graph as read: its inputs, and the outputs of its nodes that other nodes
    /// or the caller read. Later changes to the graph must keep the value ids.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut used = vec![false; graph.values.len()];
        let read = graph.nodes.iter().flat_map(|node| &node.inputs);
        for id in read.chain(&graph.inputs).chain(&graph.outputs) {
            used[id.0] = true;
        }
        let floats = graph.values.iter().enumerate().filter(|(index, value)| {
            used[*index] && value.constant.is_none() && value.element_type == ElementType::F32
        });
        let named = floats.map(|(index, value)| (ValueId(index), value.name.clone()));
        Self(named.collect())
    }

    /// The table of the ranges on `frames`. `graph` is the graph that `self` was made from, with
    /// an input of pixels minus 128. Tensors without a range (all zeros, or not finite) are left
    /// out, and so are names with control characters.
    ///
    /// # Errors
    /// If the graph cannot be run on the frames.
    pub(crate) fn table(
        &self,
        graph: &Graph,
        channels_last: bool,
        frames: &[&[u8]],
        method: Method,
        run: Run<'_>,
    ) -> Result<String, CalibrateError> {
        let constant = |id: ValueId| graph.value(id).constant.as_ref();
        let computed = self.0.iter().map(|(id, _)| *id);
        let computed: Vec<ValueId> = computed.filter(|&id| constant(id).is_none()).collect();
        let ranges = seen(graph, channels_last, &computed, frames, method, run)?;
        let mut table = format!("{HEADER}\n");
        for (id, name) in &self.0 {
            let scale = match constant(*id) {
                // An input that was bound to a constant.
                Some(tensor) => largest(tensor) / 127.0,
                None => ranges.get(id).map_or(0.0, Range::scale),
            };
            if scale.is_normal() && !name.contains(char::is_control) {
                // Writing to a string cannot fail.
                let _ = writeln!(table, "{name}: {:08x}", scale.to_bits());
            }
        }
        Ok(table)
    }
}

fn largest(tensor: &Tensor) -> f32 {
    let data = tensor.as_f32().unwrap_or(&[]);
    data.iter().fold(0.0, |most, x| x.abs().max(most))
}

#[cfg(test)]
mod tests;
