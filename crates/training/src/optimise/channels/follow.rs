//! What each operator does with channels. `None` where the channels of its inputs have to stay.

use pilotage_graph::{Conv, Gemm, Node, Op, ValueId};

use super::analysis::{Analysis, Map, Slice};

impl Analysis {
    /// The channels of a value.
    fn map(&self, value: ValueId) -> Option<Map> {
        self.maps[value.0].clone()
    }

    /// Marks what reads the channels of `map`: the weights along `axis`.
    fn reads(&mut self, weights: ValueId, axis: usize, map: &Map) {
        let norms = self.squares(weights, axis);
        for (channel, norm) in map.channels.iter().zip(norms) {
            if let Some(channel) = *channel {
                self.channels[channel].read += norm;
            }
        }
        self.cut(weights, axis, &map.channels);
    }

    /// The indices of a constant along `axis` go with the channels.
    fn cut(&mut self, constant: ValueId, axis: usize, channels: &[Option<usize>]) {
        self.slices.push(Slice {
            constant,
            axis,
            channels: channels.to_vec(),
        });
    }

    /// Whether a bias is absent, or has one element for each of `units` along its last axis.
    fn fits(&self, bias: Option<&ValueId>, units: usize) -> bool {
        bias.is_none_or(|&bias| {
            let shape = self.constant(bias).map(|value| value.shape.clone());
            shape.is_some_and(|shape| {
                shape.last() == Some(&units) && shape.iter().product::<usize>() == units
            })
        })
    }

    /// A layer of weights whose inputs and outputs are along two axes.
    fn layer(
        &mut self,
        node: &Node,
        (weights, [reads, makes]): (ValueId, [usize; 2]),
        (factor, input): (usize, Map),
    ) -> Option<Vec<Map>> {
        let shape = &self.constant(weights)?.shape;
        let units = shape[makes];
        if !self.fits(node.inputs.get(2), units) || shape[reads] != input.channels.len() {
            return None;
        }
        self.reads(weights, reads, &input);
        let norms = self.squares(weights, makes);
        let channels = self.channels_of(&node.name, &norms);
        self.cut(weights, makes, &channels);
        if let Some(&bias) = node.inputs.get(2) {
            let axis = self.graph.value(bias).shape.len() - 1;
            self.cut(bias, axis, &channels);
        }
        self.cost(factor, Some(input.channels), channels.clone());
        Some(vec![Map { axis: 1, channels }])
    }

    pub(super) fn convolution(
        &mut self,
        index: usize,
        node: &Node,
        conv: &Conv,
    ) -> Option<Vec<Map>> {
        let &[x, weights, ..] = &node.inputs[..] else {
            return None;
        };
        let input = self.map(x).filter(|map| map.axis == 1)?;
        let places: usize = self.graph.value(node.outputs[0]).shape[2..]
            .iter()
            .product();
        let factor = places * conv.kernel.iter().product::<usize>();
        if conv.groups == 1 {
            return self.layer(node, (weights, [1, 0]), (factor, input));
        }
        let shape = &self.constant(weights)?.shape;
        let (units, depth) = (shape[0], shape[1]);
        let is_depthwise = conv.groups == units && depth == 1;
        if !is_depthwise || input.channels.len() != units || !self.fits(node.inputs.get(2), units) {
            // Whatever the groups are, the layer still costs.
            self.cost(factor * depth, None, vec![None; units]);
            return None;
        }
        let norms = self.squares(weights, 0);
        for (channel, norm) in input.channels.iter().zip(norms) {
            if let Some(channel) = *channel {
                self.channels[channel].gain *= norm.sqrt();
            }
        }
        self.cut(weights, 0, &input.channels);
        if let Some(&bias) = node.inputs.get(2) {
            self.cut(bias, 0, &input.channels);
        }
        self.cost(factor, None, input.channels.clone());
        self.depthwise.push(index);
        Some(vec![input])
    }

    pub(super) fn gemm(&mut self, node: &Node, gemm: &Gemm) -> Option<Vec<Map>> {
        let &[x, weights, ..] = &node.inputs[..] else {
            return None;
        };
        let axes = match gemm.transpose_b {
            true => [1, 0],
            false => [0, 1],
        };
        let input = self.map(x).filter(|map| map.axis == 1)?;
        match gemm.transpose_a || self.graph.value(x).shape.len() != 2 {
            true => None,
            false => self.layer(node, (weights, axes), (1, input)),
        }
    }

    pub(super) fn mat_mul(&mut self, node: &Node) -> Option<Vec<Map>> {
        let &[x, weights] = &node.inputs[..] else {
            return None;
        };
        let rank = |value: ValueId| self.graph.value(value).shape.len();
        let input = self.map(x).filter(|map| map.axis == 1)?;
        match (rank(x), rank(weights)) {
            (2, 2) => self.layer(node, (weights, [0, 1]), (1, input)),
            _ => None,
        }
    }

    pub(super) fn normalization(&mut self, node: &Node, epsilon: f32) -> Option<Vec<Map>> {
        let &[x, scale, _, _, variance] = &node.inputs[..] else {
            return None;
        };
        let map = self.map(x).filter(|map| map.axis == 1)?;
        let scales = self.floats(scale)?.to_vec();
        let variances = self.floats(variance)?.to_vec();
        for (channel, (scale, variance)) in map.channels.iter().zip(scales.iter().zip(variances)) {
            if let Some(channel) = *channel {
                let deviation = f64::from(variance + epsilon).sqrt();
                let factor = f64::from(scale.abs()) / deviation.max(f64::MIN_POSITIVE);
                self.channels[channel].gain *= factor;
            }
        }
        for &constant in &node.inputs[1..] {
            self.constant(constant)?;
            self.cut(constant, 0, &map.channels);
        }
        Some(vec![map])
    }

    /// Operators without weights.
    pub(super) fn follow(&mut self, node: &Node, op: &Op) -> Option<Vec<Map>> {
        let x = *node.inputs.first()?;
        match op {
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Min | Op::Max | Op::Pow => {
                return self.element_wise(node);
            }
            Op::Concat { axis } => return self.concat(node, *axis),
            _ => {}
        }
        let map = self.map(x)?;
        let shape = self.graph.value(x).shape.clone();
        let made = self.graph.value(*node.outputs.first()?).shape.clone();
        let moved = |axis: usize| {
            Some(vec![Map {
                axis,
                ..map.clone()
            }])
        };
        let before = |axes: &[usize]| axes.iter().filter(|&&axis| axis < map.axis).count();
        match op {
            Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::Tanh
            | Op::Softplus
            | Op::Softsign
            | Op::Clip { .. }
            | Op::Function(_)
            | Op::Identity => moved(map.axis),
            Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool if map.axis == 1 => {
                moved(1)
            }
            Op::Pad(pad) if pad.before[map.axis] == 0 && pad.after[map.axis] == 0 => {
                moved(map.axis)
            }
            Op::Softmax { axis, end_axis } if !(*axis..*end_axis).contains(&map.axis) => {
                moved(map.axis)
            }
            Op::Transpose { perm } => moved(perm.iter().position(|&from| from == map.axis)?),
            Op::Squeeze { axes } if !axes.contains(&map.axis) => moved(map.axis - before(axes)),
            Op::Unsqueeze { axes } => {
                let mut others = (0..made.len()).filter(|axis| !axes.contains(axis));
                moved(others.nth(map.axis)?)
            }
            Op::Reduce {
                axes, keep_dims, ..
            } if !axes.contains(&map.axis) => match keep_dims {
                true => moved(map.axis),
                false => moved(map.axis - before(axes)),
            },
            Op::Flatten { .. } | Op::Reshape if made == shape => moved(map.axis),
            Op::Flatten { .. } | Op::Reshape if made.len() == 2 && made[0] == 1 => {
                let channels = flattened(&shape, &map);
                Some(vec![Map { axis: 1, channels }])
            }
            // Parts of the channels could become empty, so these stay.
            Op::Split { axis } if *axis != map.axis => Some(vec![map; node.outputs.len()]),
            _ => None,
        }
    }

    fn element_wise(&mut self, node: &Node) -> Option<Vec<Map>> {
        let &[a, b] = &node.inputs[..] else {
            return None;
        };
        let (x, constant) = match (self.constant(a).is_some(), self.constant(b).is_some()) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => return self.joined(a, b),
        };
        let map = self.map(x)?;
        let rank = self.graph.value(x).shape.len();
        let shape = self.graph.value(constant).shape.clone();
        if self.graph.value(node.outputs[0]).shape != self.graph.value(x).shape {
            return None;
        }
        // Shapes are aligned at the last axis.
        let axis = (map.axis + shape.len()).checked_sub(rank);
        let size = axis.and_then(|axis| shape.get(axis)).copied();
        match (axis, size) {
            (_, None | Some(1)) => {}
            (Some(axis), Some(_)) => self.cut(constant, axis, &map.channels),
            (None, _) => return None,
        }
        Some(vec![map])
    }

    /// Two values meet: their channels are tied.
    fn joined(&mut self, a: ValueId, b: ValueId) -> Option<Vec<Map>> {
        let rank = |value: ValueId| self.graph.value(value).shape.len();
        let same_rank = rank(a) == rank(b);
        let (one, other) = (self.map(a)?, self.map(b)?);
        if !same_rank || one.axis != other.axis || one.channels.len() != other.channels.len() {
            return None;
        }
        let pairs: Vec<_> = (one.channels.iter().copied())
            .zip(other.channels.iter().copied())
            .collect();
        for (one, other) in pairs {
            self.tie(one, other);
        }
        Some(vec![one])
    }

    fn concat(&mut self, node: &Node, axis: usize) -> Option<Vec<Map>> {
        let maps: Vec<Map> = (node.inputs.iter())
            .map(|&input| self.map(input))
            .collect::<Option<_>>()?;
        let first = maps.first()?.clone();
        if maps.iter().any(|map| map.axis != first.axis) {
            return None;
        }
        if axis == first.axis {
            let channels = maps.into_iter().flat_map(|map| map.channels).collect();
            return Some(vec![Map { axis, channels }]);
        }
        for map in &maps[1..] {
            for (&one, &other) in first.channels.iter().zip(&map.channels) {
                self.tie(one, other);
            }
        }
        Some(vec![first])
    }
}

/// The channel of each element of a value, row-major.
fn flattened(shape: &[usize], map: &Map) -> Vec<Option<usize>> {
    let inner: usize = shape[map.axis + 1..].iter().product();
    let elements: usize = shape.iter().product();
    let channel = |element: usize| map.channels[element / inner.max(1) % shape[map.axis]];
    (0..elements).map(channel).collect()
}
