//! Bias correction: subtracts the shift of each layer's mean output that quantization causes from
//! the layer's bias. Nagel et al. (ICCV 2019), section 4.2, with the means measured on
//! calibration frames.

mod segments;

use std::collections::BTreeMap;

use pilotage_engine::{AxisOrder, TensorRef};
use pilotage_graph::{Graph, Op, Tensor, TensorData, ValueId};

use crate::cache::Rows;
use crate::network::{Network, NetworkError};
use crate::progress::Run;
use segments::Segments;

/// Sums of the outputs of each unit of a layer, in fixed point with [`PER_UNIT`] steps, so that the
/// result does not depend on the order in which frames are added.
type Sums = Vec<i128>;

/// A step is far below the resolution of a float output of magnitude 1. Sums of steps are far below the
/// range of 128 bits.
const PER_UNIT: f64 = (1_u64 << 40) as f64;

/// Corrects the int32 biases of the quantized graph, one layer after the other in node order.
/// `quantized` was made from the graph `float`. `channels_last` means that the inputs are in NHWC. Each
/// of `frames` is one input picture: rows of pixels with interleaved channels. Layers without a
/// bias are not changed. Returns the corrected graph and the number of corrected layers.
///
/// # Errors
/// If one of the graphs cannot be run on the frames.
pub fn correct_biases(
    float: &Graph,
    quantized: &Graph,
    channels_last: bool,
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<(Graph, usize), NetworkError> {
    let mut corrected = quantized.clone();
    let layers = layers(float, &corrected);
    if layers.is_empty() {
        return Ok((corrected, 0));
    }
    let values = layers.iter().map(|layer| layer.float).collect();
    let expected = means(float, channels_last, frames, values, run)?;
    let biases = biases(quantized, channels_last, frames, (&layers, &expected), run)?;
    for (layer, biases) in layers.iter().zip(biases) {
        set(&mut corrected, layer.bias, biases);
    }
    Ok((corrected, layers.len()))
}

/// The biases with which the units of each layer have the means `expected`.
fn biases(
    quantized: &Graph,
    channels_last: bool,
    frames: &[&[u8]],
    (layers, expected): (&[Layer], &[Vec<f64>]),
    run: Run<'_>,
) -> Result<Vec<Vec<i32>>, NetworkError> {
    let taps = layers.iter().map(|layer| layer.quantized).collect();
    let whole = Network::measuring(quantized, channels_last, taps)?;
    let more: Vec<u8> = (expected.iter().flatten())
        .flat_map(|mean| mean.to_le_bytes())
        .collect();
    let counts = layers.iter().map(|layer| layer.biases.len());
    let fits = |rows: &Rows| rows.iter().map(Vec::len).eq(counts);
    let rows = whole.measured(("biases", &more), frames, run, fits, || {
        let mut segments = Segments::new(quantized, channels_last, frames);
        run.pass(frames.len() * layers.len());
        let corrected = layers.iter().zip(expected).map(|(layer, expected)| {
            // Corrections of earlier layers change the mean outputs of later ones.
            let biases = layer.corrected(expected, &segments.means(layer.quantized, run)?);
            segments.set(layer.bias, biases.clone());
            let bits = biases.iter().map(|bias| bias.cast_unsigned().into());
            Ok(bits.collect())
        });
        corrected.collect()
    })?;
    let numbers = |row: Vec<u64>| {
        let numbers = row.into_iter().map(|bits| (bits as u32).cast_signed());
        numbers.collect()
    };
    Ok(rows.into_iter().map(numbers).collect())
}

/// Replaces the elements of a constant by as many others.
fn set(graph: &mut Graph, constant: ValueId, elements: Vec<i32>) {
    let shape = graph.value(constant).shape.clone();
    if let Ok(tensor) = Tensor::new(shape, elements) {
        graph.values[constant.0].constant = Some(tensor);
    }
}

/// A layer that is in both graphs.
struct Layer {
    float: ValueId,
    quantized: ValueId,
    /// The int32 constant, and its elements.
    bias: ValueId,
    biases: Vec<i32>,
    /// The scales of the bias, one for each unit.
    scales: Vec<f32>,
}

impl Layer {
    /// The biases with which the units that have the means `found` get the means `expected`.
    fn corrected(&self, expected: &[f64], found: &[f64]) -> Vec<i32> {
        let means = expected.iter().zip(found);
        let each = self.biases.iter().zip(means).zip(&self.scales);
        each.map(|((&bias, (&expected, &found)), &scale)| {
            let change = ((expected - found) / f64::from(scale)).round_ties_even() as i32;
            // Skip a correction that would overflow the bias.
            bias.checked_add(change).unwrap_or(bias)
        })
        .collect()
    }
}

/// Layers with an int32 bias, matched by name in both graphs.
fn layers(float: &Graph, quantized: &Graph) -> Vec<Layer> {
    let mut made = BTreeMap::new();
    for node in &float.nodes {
        if let (Op::Conv(_) | Op::Gemm(_), [output]) = (&node.op, &node.outputs[..]) {
            made.insert(node.name.as_str(), *output);
        }
    }
    let maker = |value: ValueId| quantized.nodes.iter().find(|n| n.outputs.contains(&value));
    let layer = |node: &pilotage_graph::Node| {
        let &float = made.get(node.name.as_str())?;
        let dequantize = maker(*node.inputs.get(2)?)?;
        let scales = quantized.value(*dequantize.inputs.get(1)?);
        let bias = *dequantize.inputs.first()?;
        let TensorData::I32(biases) = quantized.value(bias).constant.as_ref()?.data() else {
            return None;
        };
        Some(Layer {
            float,
            quantized: node.outputs[0],
            bias,
            biases: biases.clone(),
            scales: scales.constant.as_ref()?.as_f32()?.to_vec(),
        })
    };
    quantized.nodes.iter().filter_map(layer).collect()
}

/// The mean of each unit (axis 1) of the given values over all frames.
fn means(
    graph: &Graph,
    channels_last: bool,
    frames: &[&[u8]],
    values: Vec<ValueId>,
    run: Run<'_>,
) -> Result<Vec<Vec<f64>>, NetworkError> {
    let counts: Vec<usize> = values.iter().map(|&value| units(graph, value)).collect();
    let elements = |v: &ValueId| graph.value(*v).shape.iter().product();
    let elements: Vec<usize> = values.iter().map(elements).collect();
    let network = Network::measuring(graph, channels_last, values)?;
    let fits = |rows: &Rows| rows.iter().map(Vec::len).eq(counts.iter().copied());
    let rows = network.measured(("means", &[]), frames, run, fits, || {
        let new = || -> Vec<Sums> { counts.iter().map(|&units| vec![0; units]).collect() };
        let parts = network.observe(frames, run, new, |sums, output, order, data| {
            add(&mut sums[output], order, data);
        })?;
        let mut total = new();
        for part in parts {
            for (total, sums) in total.iter_mut().zip(part) {
                merge(total, &sums);
            }
        }
        let bits = |(sums, &elements): (Sums, &usize)| {
            let means = means_of(&sums, elements * frames.len());
            means.into_iter().map(f64::to_bits).collect()
        };
        Ok(total.into_iter().zip(&elements).map(bits).collect())
    })?;
    let numbers = |row: Vec<u64>| row.into_iter().map(f64::from_bits).collect();
    Ok(rows.into_iter().map(numbers).collect())
}

/// The number of units of a layer's output.
fn units(graph: &Graph, output: ValueId) -> usize {
    graph.value(output).shape.get(1).copied().unwrap_or(1)
}

/// The mean of each unit, of as many `elements` of all units.
fn means_of(sums: &[i128], elements: usize) -> Vec<f64> {
    let per_unit = elements / sums.len().max(1);
    let mean = |&sum: &i128| sum as f64 / PER_UNIT / per_unit.max(1) as f64;
    sums.iter().map(mean).collect()
}

fn merge(total: &mut [i128], sums: &[i128]) {
    for (total, sum) in total.iter_mut().zip(sums) {
        *total += sum;
    }
}

/// Adds the elements of an output to the sums of its units.
fn add(sums: &mut [i128], order: AxisOrder, output: TensorRef<'_>) {
    let TensorRef::F32(data) = output else { return };
    match order {
        AxisOrder::Nhwc => {
            for pixel in data.chunks(sums.len().max(1)) {
                for (sum, &x) in sums.iter_mut().zip(pixel) {
                    *sum += fixed(x);
                }
            }
        }
        AxisOrder::Model => {
            let per_unit = (data.len() / sums.len().max(1)).max(1);
            for (sum, part) in sums.iter_mut().zip(data.chunks(per_unit)) {
                *sum += part.iter().map(|&x| fixed(x)).sum::<i128>();
            }
        }
    }
}

/// A number in fixed point.
fn fixed(x: f32) -> i128 {
    /// Numbers below it fit into 64 bits, to which one instruction converts.
    const SMALL: f32 = (1_u64 << 22) as f32;
    let scaled = f64::from(x) * PER_UNIT;
    match x.abs() < SMALL {
        true => (scaled as i64).into(),
        false => scaled as i128,
    }
}

#[cfg(test)]
mod tests;
