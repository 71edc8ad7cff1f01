//! Runs a quantized network in segments: the int8 values between two of them are kept for every frame,
//! so that what lies before a layer runs once and not once for each layer after it.

use std::sync::{Mutex, PoisonError};

use pilotage_engine::plan::Plan;
use pilotage_engine::{AxisOrder, ElementType, ObservedEngine, TensorRef};
use pilotage_graph::{Graph, Node, Op, Value, ValueId};

use super::{add, means_of, merge, units};
use crate::lower::lower_part;
use crate::network::{EXACT, NetworkError, SampleInputs, on_all_cores};
use crate::progress::Run;

/// The largest size of the values that are kept for all frames together, bytes. Where there are more,
/// the network runs from an earlier place.
const MOST_KEPT: usize = 64 << 20;
/// The value that is subtracted from the pixels of a quantized network's input.
const CENTRE: u8 = 128;

/// A quantized network and how far it was run.
pub(super) struct Segments<'a> {
    graph: Graph,
    channels_last: bool,
    frames: &'a [&'a [u8]],
    /// The node that makes each value.
    makers: Vec<Option<usize>>,
    /// Nodes before it are not run again.
    start: usize,
    /// The int8 values that are kept, with the order of their axes.
    kept: Vec<(ValueId, AxisOrder)>,
    /// Their elements on each frame.
    elements: Vec<Mutex<Vec<Vec<i8>>>>,
}

/// The part of a network that computes some values from the kept ones.
struct Part {
    plan: Plan,
    /// The number of inputs that come from samples: all of the network, or none.
    samples: usize,
    /// The kept values that are inputs, as indices.
    kept: Vec<usize>,
}

impl<'a> Segments<'a> {
    pub(super) fn new(graph: &Graph, channels_last: bool, frames: &'a [&'a [u8]]) -> Self {
        let mut makers = vec![None; graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for output in &node.outputs {
                makers[output.0] = Some(index);
            }
        }
        Self {
            graph: graph.clone(),
            channels_last,
            frames,
            makers,
            start: 0,
            kept: Vec::new(),
            elements: frames.iter().map(|_| Mutex::default()).collect(),
        }
    }

    /// Replaces a bias. The layer must not have been passed yet.
    pub(super) fn set(&mut self, bias: ValueId, elements: Vec<i32>) {
        super::set(&mut self.graph, bias, elements);
    }

    /// The mean of each unit of `layer`, a layer's output. Layers must come in the order of the nodes.
    /// `run` is informed of each frame.
    pub(super) fn means(&mut self, layer: ValueId, run: Run<'_>) -> Result<Vec<f64>, NetworkError> {
        self.advance(self.makers[layer.0].unwrap_or(0))?;
        let part = self.part(&[layer])?;
        let count = units(&self.graph, layer);
        let new = || vec![0_i128; count];
        let parts = self.run(
            &part,
            new,
            |sums, _, order, data| add(sums, order, data),
            |_, _| {
                run.frame();
            },
        )?;
        let mut total = new();
        for sums in &parts {
            merge(&mut total, sums);
        }
        let elements: usize = self.graph.value(layer).shape.iter().product();
        Ok(means_of(&total, elements * self.frames.len()))
    }

    /// Keeps the values at the last place up to node `end` where all that cross it are int8 and not
    /// too many.
    fn advance(&mut self, end: usize) -> Result<(), NetworkError> {
        let size = |values: &[ValueId]| -> usize {
            let elements = |v: &ValueId| self.graph.value(*v).shape.iter().product::<usize>();
            values.iter().map(elements).sum()
        };
        let int8 = |v: &ValueId| self.graph.value(*v).element_type == ElementType::I8;
        let places = (self.start + 1..=end).rev();
        let found = places
            .map(|place| (place, self.crossing(place)))
            .find(|(_, values)| {
                values.iter().all(int8) && size(values) * self.frames.len() <= MOST_KEPT
            });
        let Some((place, values)) = found else {
            return Ok(());
        };
        let is_new = |v: &&ValueId| self.kept.iter().all(|(kept, _)| kept != *v);
        let new: Vec<ValueId> = values.iter().filter(is_new).copied().collect();
        let staying: Vec<usize> = (0..self.kept.len())
            .filter(|&at| values.contains(&self.kept[at].0))
            .collect();
        let part = self.part(&new)?;
        let orders = part.plan.outputs.iter().map(|port| port.layout);
        let staying_too = staying.iter().map(|&at| self.kept[at]);
        let kept = staying_too.chain(new.iter().copied().zip(orders)).collect();
        let empty = || vec![Vec::new(); new.len()];
        let take = |made: &mut Vec<Vec<i8>>, output: usize, _, data: TensorRef<'_>| {
            if let TensorRef::I8(data) = data {
                made[output] = data.to_vec();
            }
        };
        self.run(&part, empty, take, |made, elements| {
            let stay = staying.iter().map(|&at| std::mem::take(&mut elements[at]));
            let all = stay.chain(std::mem::replace(made, empty())).collect();
            *elements = all;
        })?;
        self.kept = kept;
        self.start = place;
        Ok(())
    }

    /// The values that nodes from `place` on read and nodes before it make. Instead of a dequantized
    /// value, its integers.
    fn crossing(&self, place: usize) -> Vec<ValueId> {
        let mut values = Vec::new();
        for &input in self.graph.nodes[place..]
            .iter()
            .flat_map(|node| &node.inputs)
        {
            let source = self.integers_of(input);
            let before = self.makers[source.0].is_some_and(|maker| maker < place);
            if before && !values.contains(&source) {
                values.push(source);
            }
        }
        values
    }

    /// The integers that a value is dequantized from, or the value itself.
    fn integers_of(&self, value: ValueId) -> ValueId {
        let maker = self.makers[value.0].map(|maker| &self.graph.nodes[maker]);
        match maker {
            Some(node) if matches!(node.op, Op::DequantizeLinear { .. }) => node.inputs[0],
            _ => value,
        }
    }

    /// The part that computes `outputs` from the kept values.
    fn part(&self, outputs: &[ValueId]) -> Result<Part, NetworkError> {
        let graph = &self.graph;
        let is_kept = |v: &ValueId| self.kept.iter().any(|(kept, _)| kept == v);
        let mut needed = vec![false; graph.values.len()];
        outputs.iter().for_each(|v| needed[v.0] = true);
        let mut nodes = Vec::new();
        for node in graph.nodes.iter().rev() {
            let makes = |v: &ValueId| needed[v.0] && !is_kept(v);
            if node.outputs.iter().any(makes) {
                node.inputs.iter().for_each(|v| needed[v.0] = true);
                nodes.push(node);
            }
        }
        nodes.reverse();
        let samples = match graph.inputs.iter().any(|v| needed[v.0]) {
            true => graph.inputs.len(),
            false => 0,
        };
        let kept: Vec<usize> = (0..self.kept.len())
            .filter(|&at| needed[self.kept[at].0.0])
            .collect();
        let from_kept = kept.iter().map(|&at| self.kept[at]);
        let (values, orders): (Vec<ValueId>, Vec<AxisOrder>) = graph.inputs[..samples]
            .iter()
            .enumerate()
            .map(|(index, &input)| (input, self.sample_order(index, input)))
            .chain(from_kept)
            .unzip();
        let part = cut_out(graph, &values, &nodes, outputs);
        Ok(Part {
            plan: lower_part(&part, &orders)?,
            samples,
            kept,
        })
    }

    /// The order of the axes of an input: pictures are read as convolutions need them.
    fn sample_order(&self, index: usize, input: ValueId) -> AxisOrder {
        let picture = index == 0 && self.graph.value(input).shape.len() == 4;
        match picture && !self.channels_last {
            true => AxisOrder::Nhwc,
            false => AxisOrder::Model,
        }
    }

    /// Runs a part on every frame. Passes each output to `take`, and after each frame its kept values
    /// to `done`, both with one of several accumulators made by `new`, which are returned.
    fn run<A: Send>(
        &self,
        part: &Part,
        new: impl Fn() -> A + Sync,
        take: impl Fn(&mut A, usize, AxisOrder, TensorRef<'_>) + Sync,
        done: impl Fn(&mut A, &mut Vec<Vec<i8>>) + Sync,
    ) -> Result<Vec<A>, NetworkError> {
        let orders: Vec<AxisOrder> = part.plan.outputs.iter().map(|port| port.layout).collect();
        let new = || {
            let engine = ObservedEngine::new(&part.plan, EXACT)?;
            let samples = match part.samples {
                0 => None,
                count => {
                    let ports = &engine.inputs()[..count];
                    Some(SampleInputs::new(ports, self.channels_last, CENTRE)?)
                }
            };
            Ok::<_, NetworkError>((engine, samples, new()))
        };
        let states = on_all_cores(self.frames.len(), new, |(engine, samples, all), index| {
            let elements = self.elements[index].lock();
            let mut elements = elements.unwrap_or_else(PoisonError::into_inner);
            let mut inputs = match samples {
                Some(samples) => samples.fill(self.frames[index])?,
                None => Vec::new(),
            };
            inputs.extend(part.kept.iter().map(|&at| TensorRef::I8(&elements[at])));
            engine.run(&inputs, |output, data| {
                take(all, output, orders[output], data)
            })?;
            done(all, &mut elements);
            Ok(())
        })?;
        Ok(states.into_iter().map(|(_, _, all)| all).collect())
    }
}

/// A graph of some nodes, with what they read besides `inputs` as constants.
fn cut_out(graph: &Graph, inputs: &[ValueId], nodes: &[&Node], outputs: &[ValueId]) -> Graph {
    let mut part = Graph {
        name: graph.name.clone(),
        ..Graph::default()
    };
    let mut places = vec![None; graph.values.len()];
    let mut place = |values: &mut Vec<Value>, v: &ValueId| {
        *places[v.0].get_or_insert_with(|| {
            values.push(graph.value(*v).clone());
            ValueId(values.len() - 1)
        })
    };
    part.inputs = inputs.iter().map(|v| place(&mut part.values, v)).collect();
    for node in nodes {
        let inputs = node.inputs.iter().map(|v| place(&mut part.values, v));
        let inputs = inputs.collect();
        let outputs = node.outputs.iter().map(|v| place(&mut part.values, v));
        part.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs: outputs.collect(),
        });
    }
    part.outputs = outputs.iter().map(|v| place(&mut part.values, v)).collect();
    part
}
