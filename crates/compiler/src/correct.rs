//! Bias correction: subtracts the shift of each layer's mean output that quantization causes from
//! the layer's bias. Nagel et al. (ICCV 2019), section 4.2, with the means measured on
//! calibration frames.

use std::collections::BTreeMap;

use pilotage_graph::{Graph, Op, Tensor, TensorData, ValueId};

use crate::cache::Rows;
use crate::network::{Buffer, Network, NetworkError};
use crate::progress::Run;

/// Sums of a layer's outputs, in fixed-point units of [`UNIT`], so that the result does not
/// depend on the order in which frames are added.
type Sums = Vec<Vec<i128>>;

/// The fixed-point unit. It is far below the resolution of a float output of magnitude 1. Sums in
/// this unit are far below the range of 128 bits.
const UNIT: f64 = 1.0 / (1_u64 << 40) as f64;

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
    let values = layers.iter().map(|l| l.float);
    let expected = means(float, channels_last, frames, values, run)?;
    let mut count = 0;
    for (layer, expected) in layers.iter().zip(&expected) {
        // Corrections of earlier layers change the mean outputs of later ones.
        let found = means(
            &corrected,
            channels_last,
            frames,
            [layer.quantized].into_iter(),
            run,
        )?;
        let Some(bias) = &corrected.value(layer.bias).constant else {
            continue;
        };
        let TensorData::I32(quantized_bias) = bias.data() else {
            continue;
        };
        let quantized_bias: Vec<i32> = quantized_bias
            .iter()
            .zip(expected.iter().zip(&found[0]))
            .zip(&layer.scales)
            .map(|((&bias_value, (&expected, &found)), &scale)| {
                let change = ((expected - found) / f64::from(scale)).round_ties_even() as i32;
                // Skip a correction that would overflow the bias.
                bias_value.checked_add(change).unwrap_or(bias_value)
            })
            .collect();
        let shape = bias.shape().to_vec();
        if let Ok(tensor) = Tensor::new(shape, quantized_bias) {
            corrected.values[layer.bias.0].constant = Some(tensor);
            count += 1;
        }
    }
    Ok((corrected, count))
}

/// A layer that is in both graphs.
struct Layer {
    float: ValueId,
    quantized: ValueId,
    /// The int32 constant.
    bias: ValueId,
    /// The scales of the bias, one for each unit.
    scales: Vec<f32>,
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
        quantized.value(bias).constant.as_ref()?;
        Some(Layer {
            float,
            quantized: node.outputs[0],
            bias,
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
    values: impl Iterator<Item = ValueId>,
    run: Run<'_>,
) -> Result<Vec<Vec<f64>>, NetworkError> {
    let mut tapped = graph.clone();
    tapped.outputs = values.collect();
    let units = |v: &ValueId| graph.value(*v).shape.get(1).copied().unwrap_or(1);
    let counts: Vec<usize> = tapped.outputs.iter().map(units).collect();
    let network = Network::new(&tapped, channels_last)?;
    let fits = |rows: &Rows| rows.iter().map(Vec::len).eq(counts.iter().copied());
    let rows = network.measured(("means", &[]), frames, run, fits, || {
        let means = measure_means(&network, &tapped, &counts, frames, run)?;
        let bits = |means: Vec<f64>| means.into_iter().map(f64::to_bits).collect();
        Ok(means.into_iter().map(bits).collect())
    })?;
    let numbers = |row: Vec<u64>| row.into_iter().map(f64::from_bits).collect();
    Ok(rows.into_iter().map(numbers).collect())
}

/// `tapped` is the graph of `network`; `counts` are the units of its outputs.
fn measure_means(
    network: &Network,
    tapped: &Graph,
    counts: &[usize],
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<Vec<f64>>, NetworkError> {
    let new = || -> Sums { counts.iter().map(|&units| vec![0; units]).collect() };
    let parts = network.accumulate(frames, run, new, |sums, _, outputs| {
        for (sums, output) in sums.iter_mut().zip(outputs) {
            add(sums, output);
        }
    })?;
    let mut total = new();
    for part in parts {
        for (total, sums) in total.iter_mut().zip(part) {
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
    }
    let elements = |v: &ValueId| tapped.value(*v).shape.iter().product::<usize>();
    let each = total.into_iter().zip(&tapped.outputs).map(|(sums, v)| {
        let per_unit = elements(v) / sums.len().max(1) * frames.len();
        let mean = |sum: i128| sum as f64 * UNIT / per_unit.max(1) as f64;
        sums.into_iter().map(mean).collect()
    });
    Ok(each.collect())
}

fn add(sums: &mut [i128], output: &Buffer) {
    let data = output.as_f32();
    let per_unit = (data.len() / sums.len().max(1)).max(1);
    for (sum, part) in sums.iter_mut().zip(data.chunks(per_unit)) {
        for &x in part {
            *sum += (f64::from(x) / UNIT) as i128;
        }
    }
}

#[cfg(test)]
mod tests;
