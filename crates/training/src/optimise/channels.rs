//! Structured pruning: removes whole channels of convolutions and units of fully connected layers,
//! with everything that depends on them. The result is an ordinary smaller network.
//!
//! `analysis` finds for each value which channel each of its indices holds. Channels that meet in
//! an element-wise operator (a residual connection) are tied: they are removed together. Channels
//! that reach an output, or an operator whose form would change, stay.

mod analysis;
mod follow;

use std::time::Duration;

use pilotage_graph::{Graph, GraphError, Op, Tensor};

use super::inference_time::TimeError;
use analysis::Analysis;

/// The least share of a layer's channels that stay.
const LEAST_LEFT: f64 = 0.125;

/// Why channels cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// Too few channels can be removed.
    #[error(
        "structured pruning can reduce the multiply-adds to {:.0} % of this network's, not to \
         {:.0} %; raise optimise.share", 100.0 * least, 100.0 * wanted
    )]
    Share {
        /// The share that can be reached.
        least: f64,
        /// The share that was requested.
        wanted: f64,
    },
    /// The network would not be fast enough.
    #[error(
        "with the fewest channels that structured pruning leaves, this network takes {:.1} us on this \
         machine, not {:.1}; raise optimise.microseconds, or use \"distill\"",
        1e6 * least.as_secs_f64(), 1e6 * wanted.as_secs_f64()
    )]
    Time {
        /// The time that can be reached.
        least: Duration,
        /// The time that was requested.
        wanted: Duration,
    },
    /// The time cannot be measured.
    #[error("the time of the network cannot be measured: {reason}")]
    Measure {
        /// Why.
        reason: TimeError,
    },
    /// The smaller graph is not valid. This is a defect of this crate.
    #[error("the pruned graph is invalid ({0}); report this as a defect of Pilotage")]
    Unsound(GraphError),
}

impl From<GraphError> for ChannelsError {
    fn from(reason: GraphError) -> Self {
        Self::Unsound(reason)
    }
}

/// A network with fewer channels.
#[derive(Debug, Clone)]
pub struct Smaller {
    /// The network.
    pub graph: Graph,
    /// The multiply-adds of its layers for one picture.
    pub multiply_adds: f64,
    /// Those of the original.
    pub before: f64,
    /// The removed channels: the layer's node and the channel's index.
    pub removed: Vec<(String, usize)>,
}

/// Removes the least important channels of `graph`, until it takes at most `wanted` by `measure`. As few
/// as possible are removed, within a hundredth of the multiply-adds.
///
/// # Errors
/// When `measure` fails, or the network with the fewest channels takes longer.
pub fn prune_to_time(
    graph: &Graph,
    wanted: Duration,
    mut measure: impl FnMut(&Graph) -> Result<Duration, TimeError>,
) -> Result<Smaller, ChannelsError> {
    let mut best = remove(graph, 0.0)?;
    let mut measure =
        |graph: &Graph| measure(graph).map_err(|reason| ChannelsError::Measure { reason });
    let least = measure(&best.graph)?;
    if least > wanted {
        return Err(ChannelsError::Time { least, wanted });
    }
    let (mut fits, mut all) = (best.multiply_adds / best.before.max(1.0), 1.0);
    while all - fits > 0.01 {
        let share = 0.5 * (fits + all);
        let smaller = remove(graph, share)?;
        match measure(&smaller.graph)? <= wanted {
            true => (fits, best) = (share, smaller),
            false => all = share,
        }
    }
    Ok(best)
}

/// Removes the least important channels of `graph`, until its layers have at most `share` of the
/// multiply-adds. At least an eighth of each layer's channels stay.
///
/// The importance of a channel is the norm of the weights that compute it times the norm of those
/// that read it, relative to the mean of its layer.
///
/// # Errors
/// When not enough channels can be removed.
pub fn prune(graph: &Graph, share: f64) -> Result<Smaller, ChannelsError> {
    let smaller = remove(graph, share)?;
    match smaller.multiply_adds > share * smaller.before {
        true => Err(ChannelsError::Share {
            least: smaller.multiply_adds / smaller.before.max(1.0),
            wanted: share,
        }),
        false => Ok(smaller),
    }
}

/// Removes channels until at most `share` is left, or no more can be removed.
fn remove(graph: &Graph, share: f64) -> Result<Smaller, GraphError> {
    let analysis = Analysis::of(graph);
    let count = analysis.channels.len();
    let mut kept = vec![true; count];
    let before = analysis.multiply_adds(&kept);
    let mut left = analysis.layer_sizes();
    let least: Vec<usize> = (left.iter())
        .map(|&size| ((size as f64 * LEAST_LEFT).ceil() as usize).max(1))
        .collect();
    let mut now = before;
    for group in analysis.groups_by_importance() {
        if now <= share * before {
            break;
        }
        let mut of_layer = vec![0_usize; left.len()];
        for &channel in &group {
            of_layer[analysis.channels[channel].layer] += 1;
        }
        let enough = (of_layer.iter().zip(&left).zip(&least))
            .all(|((&removed, &left), &least)| removed == 0 || left >= removed + least);
        if !enough {
            continue;
        }
        for &channel in &group {
            kept[channel] = false;
            left[analysis.channels[channel].layer] -= 1;
        }
        now = analysis.multiply_adds(&kept);
    }
    let removed = (0..count).filter(|&channel| !kept[channel]);
    let removed = removed.map(|channel| {
        let channel = &analysis.channels[channel];
        (analysis.layers[channel.layer].clone(), channel.index)
    });
    Ok(Smaller {
        removed: removed.collect(),
        multiply_adds: now,
        before,
        graph: without(analysis, &kept)?,
    })
}

/// The graph without the channels that are not kept.
fn without(analysis: Analysis, kept: &[bool]) -> Result<Graph, GraphError> {
    let Analysis {
        mut graph,
        maps,
        slices,
        depthwise,
        ..
    } = analysis;
    let stays = |channel: &Option<usize>| channel.is_none_or(|channel| kept[channel]);
    for slice in &slices {
        let value = &mut graph.values[slice.constant.0];
        let Some(data) = value.constant.as_ref().and_then(Tensor::as_f32) else {
            continue;
        };
        let mut shape = value.shape.clone();
        let inner: usize = shape[slice.axis + 1..].iter().product();
        let run = inner.max(1);
        let indices = slice.channels.iter().cycle();
        let runs = data.chunks(run).zip(indices);
        let left: Vec<f32> = runs
            .filter(|(_, channel)| stays(channel))
            .flat_map(|(run, _)| run.iter().copied())
            .collect();
        shape[slice.axis] = slice.channels.iter().filter(|c| stays(c)).count();
        value.constant = Tensor::new(shape.clone(), left).ok();
        value.shape = shape;
    }
    for (value, map) in graph.values.iter_mut().zip(&maps) {
        if let (Some(map), None) = (map, &value.constant) {
            value.shape[map.axis] = map.channels.iter().filter(|c| stays(c)).count();
        }
    }
    // A depthwise convolution has a group for each channel.
    for index in depthwise {
        let output = graph.nodes[index].outputs[0];
        let channels = graph.value(output).shape[1];
        if let Op::Conv(conv) = &mut graph.nodes[index].op {
            conv.groups = channels;
        }
    }
    graph.prune();
    graph.check()?;
    Ok(graph)
}
