//! Which channel each index of a value holds, and what depends on each channel.

use pilotage_graph::{Graph, Op, Tensor, Value, ValueId};

/// A channel of a convolution, or a unit of a fully connected layer.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    /// The layer that computes it: an index of [`Analysis::layers`].
    pub(super) layer: usize,
    /// Its index there.
    pub(super) index: usize,
    /// Whether it has to stay.
    pub(super) stays: bool,
    /// The squared norms of the weights that compute it, and of those that read it.
    pub(super) computed: f64,
    pub(super) read: f64,
    /// What normalizations and depthwise convolutions multiply it by.
    pub(super) gain: f64,
}

impl Channel {
    fn importance(&self) -> f64 {
        (self.computed * self.read).sqrt() * self.gain
    }
}

/// The channels along one axis of a value; `None` for what no layer computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    pub(super) axis: usize,
    pub(super) channels: Vec<Option<usize>>,
}

/// A constant whose indices along an axis belong to channels.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) constant: ValueId,
    pub(super) axis: usize,
    pub(super) channels: Vec<Option<usize>>,
}

/// The multiply-adds of a layer: a factor, times its inputs, times its outputs.
#[derive(Debug)]
struct Cost {
    factor: f64,
    inputs: Option<Vec<Option<usize>>>,
    outputs: Vec<Option<usize>>,
}

/// A graph with its channels.
#[derive(Debug)]
pub(super) struct Analysis {
    /// The graph; each constant is read once.
    pub(super) graph: Graph,
    /// The names of the layers whose channels may be removed.
    pub(super) layers: Vec<String>,
    pub(super) channels: Vec<Channel>,
    /// For tied channels, one that each is tied to; itself at the end of the chain.
    tied: Vec<usize>,
    pub(super) maps: Vec<Option<Map>>,
    pub(super) slices: Vec<Slice>,
    /// The nodes that are depthwise convolutions.
    pub(super) depthwise: Vec<usize>,
    costs: Vec<Cost>,
}

impl Analysis {
    pub(super) fn of(graph: &Graph) -> Self {
        let graph = read_once(graph);
        let mut analysis = Self {
            maps: vec![None; graph.values.len()],
            layers: Vec::new(),
            channels: Vec::new(),
            tied: Vec::new(),
            slices: Vec::new(),
            depthwise: Vec::new(),
            costs: Vec::new(),
            graph,
        };
        for &input in &analysis.graph.inputs.clone() {
            analysis.maps[input.0] = analysis.unknown(input);
        }
        for index in 0..analysis.graph.nodes.len() {
            analysis.node(index);
        }
        for output in analysis.graph.outputs.clone() {
            analysis.freeze(output);
        }
        analysis
    }

    /// A map of a value without channels, along axis 1.
    pub(super) fn unknown(&self, value: ValueId) -> Option<Map> {
        let shape = &self.graph.value(value).shape;
        Some(Map {
            axis: 1,
            channels: vec![None; *shape.get(1)?],
        })
    }

    /// The channels of a value stay.
    pub(super) fn freeze(&mut self, value: ValueId) {
        let channels = self.maps[value.0].as_ref().map(|map| map.channels.clone());
        for channel in channels.into_iter().flatten().flatten() {
            self.channels[channel].stays = true;
        }
    }

    /// New channels of a layer.
    pub(super) fn channels_of(&mut self, layer: &str, norms: &[f64]) -> Vec<Option<usize>> {
        self.layers.push(layer.to_owned());
        let first = self.channels.len();
        for (index, &computed) in norms.iter().enumerate() {
            self.channels.push(Channel {
                layer: self.layers.len() - 1,
                index,
                stays: false,
                computed,
                read: 0.0,
                gain: 1.0,
            });
            self.tied.push(first + index);
        }
        (first..first + norms.len()).map(Some).collect()
    }

    /// Removes two channels together, or neither.
    pub(super) fn tie(&mut self, one: Option<usize>, other: Option<usize>) {
        match (one, other) {
            (Some(one), Some(other)) => {
                let (one, other) = (self.root(one), self.root(other));
                self.tied[one.max(other)] = one.min(other);
            }
            (Some(alone), None) | (None, Some(alone)) => self.channels[alone].stays = true,
            (None, None) => {}
        }
    }

    fn root(&self, mut channel: usize) -> usize {
        while self.tied[channel] != channel {
            channel = self.tied[channel];
        }
        channel
    }

    /// A layer's multiply-adds.
    pub(super) fn cost(
        &mut self,
        factor: usize,
        inputs: Option<Vec<Option<usize>>>,
        outputs: Vec<Option<usize>>,
    ) {
        self.costs.push(Cost {
            factor: factor as f64,
            inputs,
            outputs,
        });
    }

    /// The multiply-adds of all layers.
    pub(super) fn multiply_adds(&self, kept: &[bool]) -> f64 {
        let count = |channels: &[Option<usize>]| {
            let kept = channels.iter().filter(|c| c.is_none_or(|c| kept[c]));
            kept.count() as f64
        };
        let each = self.costs.iter().map(|cost| {
            let inputs = cost.inputs.as_deref().map_or(1.0, count);
            cost.factor * inputs * count(&cost.outputs)
        });
        each.sum()
    }

    /// The number of channels of each layer.
    pub(super) fn layer_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.layers.len()];
        for channel in &self.channels {
            sizes[channel.layer] += 1;
        }
        sizes
    }

    /// The groups of tied channels that may be removed, the least important one first.
    pub(super) fn groups_by_importance(&self) -> Vec<Vec<usize>> {
        let mut sums = vec![0.0; self.layers.len()];
        for channel in &self.channels {
            sums[channel.layer] += channel.importance();
        }
        let sizes = self.layer_sizes();
        let relative = |channel: &Channel| {
            let mean = sums[channel.layer] / sizes[channel.layer].max(1) as f64;
            channel.importance() / mean.max(f64::MIN_POSITIVE)
        };
        let mut groups = vec![Vec::new(); self.channels.len()];
        for channel in 0..self.channels.len() {
            groups[self.root(channel)].push(channel);
        }
        let may_go = |group: &Vec<usize>| {
            !group.is_empty() && !group.iter().any(|&channel| self.channels[channel].stays)
        };
        let mut ranked: Vec<(f64, Vec<usize>)> = (groups.into_iter().filter(may_go))
            .map(|group| {
                let sum: f64 = group.iter().map(|&c| relative(&self.channels[c])).sum();
                (sum / group.len() as f64, group)
            })
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        ranked.into_iter().map(|(_, group)| group).collect()
    }

    /// The float32 elements of a constant.
    pub(super) fn floats(&self, value: ValueId) -> Option<&[f32]> {
        let constant = self.graph.value(value).constant.as_ref();
        constant.and_then(Tensor::as_f32)
    }

    /// The squared norms of a constant's elements, for each index along an axis.
    pub(super) fn squares(&self, value: ValueId, axis: usize) -> Vec<f64> {
        let shape = &self.graph.value(value).shape;
        let mut sums = vec![0.0; shape[axis]];
        let inner: usize = shape[axis + 1..].iter().product();
        let elements = self.floats(value).unwrap_or_default();
        for (at, &x) in elements.iter().enumerate() {
            sums[at / inner.max(1) % shape[axis]] += f64::from(x) * f64::from(x);
        }
        sums
    }

    pub(super) fn constant(&self, value: ValueId) -> Option<&Value> {
        let value = self.graph.value(value);
        let float = value.constant.as_ref().and_then(Tensor::as_f32).is_some();
        float.then_some(value)
    }

    fn node(&mut self, index: usize) {
        let node = self.graph.nodes[index].clone();
        let made = match &node.op {
            Op::Conv(conv) => self.convolution(index, &node, conv),
            Op::Gemm(gemm) => self.gemm(&node, gemm),
            Op::MatMul => self.mat_mul(&node),
            Op::BatchNormalization { epsilon } => self.normalization(&node, *epsilon),
            op => self.follow(&node, op),
        };
        match made {
            Some(maps) => {
                for (output, map) in node.outputs.iter().zip(maps) {
                    self.maps[output.0] = Some(map);
                }
            }
            None => {
                for &input in &node.inputs {
                    self.freeze(input);
                }
                for &output in &node.outputs {
                    self.maps[output.0] = self.unknown(output);
                }
            }
        }
    }
}

/// The graph with a constant of its own for each reading input.
fn read_once(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let mut read = vec![false; graph.values.len()];
    for node in 0..graph.nodes.len() {
        for input in 0..graph.nodes[node].inputs.len() {
            let value = graph.nodes[node].inputs[input];
            let Some(constant) = graph.value(value).constant.clone() else {
                continue;
            };
            if std::mem::replace(&mut read[value.0], true) {
                let name = graph.value(value).name.clone();
                let copy = graph.add_value(&name, constant.tensor_type(), Some(constant));
                read.push(true);
                graph.nodes[node].inputs[input] = copy;
            }
        }
    }
    graph
}
