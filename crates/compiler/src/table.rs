//! The calibration table for people who calibrate the old way, with trtexec.
//!
//! TensorRT's own format: a line `TRT-VERSION-ALGORITHM`, then a line `NAME: SCALE`
//! for each tensor of the network, the scale being the bits of a float32 in
//! hexadecimal and `largest magnitude / 127` (README of NVIDIA's sampleINT8).

use std::fmt::Write as _;

use pilotage_graph::{ElementType, Graph, Tensor, ValueId};

use crate::calibrate::{CalibrateError, Method, Range, seen};

/// TensorRT 8.5.2, the one of JetPack 5.1. The algorithm is the one that trtexec asks for.
const HEADER: &str = "TRT-8502-EntropyCalibration2";

/// The float values of a model that other runtimes have too, under its own names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensors(Vec<(ValueId, String)>);

impl Tensors {
    /// Of a graph as it was read: its inputs, and what its nodes make for one another
    /// and for the caller. Whatever is done to the graph later must leave ids alone.
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

    /// The table of ranges on `frames`, of the graph these are values of, whose input
    /// is pixels less 128. Tensors without a range (all zeros, or not finite) are left
    /// out, and so are names that would break a line.
    ///
    /// # Errors
    /// When the graph cannot be run on such frames.
    pub(crate) fn table(
        &self,
        graph: &Graph,
        channels_last: bool,
        frames: &[&[u8]],
        method: Method,
    ) -> Result<String, CalibrateError> {
        let constant = |id: ValueId| graph.value(id).constant.as_ref();
        let computed = self.0.iter().map(|(id, _)| *id);
        let computed: Vec<ValueId> = computed.filter(|&id| constant(id).is_none()).collect();
        let ranges = seen(graph, channels_last, &computed, frames, method)?;
        let mut table = format!("{HEADER}\n");
        for (id, name) in &self.0 {
            let scale = match constant(*id) {
                // An input that was given one value for good.
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
