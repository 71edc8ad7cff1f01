//! Removing channels.

use std::collections::BTreeSet;
use std::time::Duration;

use pilotage_graph::{ElementType, Graph, Op, Tensor, TensorType};
use pilotage_learning::Network;
use pilotage_training::optimise::channels::{self, ChannelsError};

use crate::layers::Layers;

/// A network with every kind of connection between channels.
fn connected() -> Graph {
    let mut b = Layers::new();
    let image = TensorType::new(ElementType::F32, [1, 3, 12, 12]);
    let x = b.builder.input("image", image).unwrap();
    let x = b.convolution("a", x, [16, 3, 3, 1], 2);
    let x = b.normalization("a", x, 16);
    let x = b.relu("a", x);
    let y = b.convolution("b", x, [16, 16, 3, 1], 1);
    let x = b.node("sum", Op::Add, &[x, y]);
    let x = b.convolution("depthwise", x, [16, 1, 3, 16], 1);
    let left = b.convolution("left", x, [10, 16, 1, 1], 1);
    let left = b.relu("left", left);
    let right = b.convolution("right", x, [12, 16, 1, 1], 1);
    let right = b.relu("right", right);
    let x = b.node("both", Op::Concat { axis: 1 }, &[left, right]);
    let x = b.node(
        "rows",
        Op::Transpose {
            perm: vec![0, 2, 3, 1],
        },
        &[x],
    );
    let x = b.node("flatten", Op::Flatten { axis: 1 }, &[x]);
    let x = b.dense("hidden", x, [20, 5 * 5 * 22]);
    let x = b.relu("hidden", x);
    let x = b.dense("out", x, [2, 20]);
    b.builder.output("controls", x).unwrap();
    b.builder.finish().unwrap()
}

/// A network without some channels answers as one in which these channels are zero.
#[test]
fn removed_channels_leave_the_function_of_the_others() {
    let graph = connected();
    let smaller = channels::prune(&graph, 0.4).unwrap();
    assert!(smaller.multiply_adds <= 0.4 * smaller.before);
    let layers: BTreeSet<&str> = smaller.removed.iter().map(|(l, _)| l.as_str()).collect();
    assert!(layers.contains("a") && layers.contains("b"), "{layers:?}");
    assert!(!layers.contains("out"));
    let of = |layer: &str| -> BTreeSet<usize> {
        let removed = smaller.removed.iter().filter(|(l, _)| l == layer);
        removed.map(|(_, index)| *index).collect()
    };
    // The residual connection ties these.
    assert_eq!(of("a"), of("b"));

    let mut zeroed = graph;
    for (layer, index) in &smaller.removed {
        for part in ["weight", "bias", "scale", "shift"] {
            let name = format!("{layer}.{part}");
            let Some(value) = zeroed.values.iter_mut().find(|value| value.name == name) else {
                continue;
            };
            let mut data = value.constant.as_ref().unwrap().as_f32().unwrap().to_vec();
            let row = data.len() / value.shape[0];
            data[index * row..][..row].fill(0.0);
            value.constant = Some(Tensor::new(value.shape.clone(), data).unwrap());
        }
    }
    let answers = |graph: &Graph| {
        Network::from_graph(graph)
            .unwrap()
            .answers(8, &|index, example| {
                for (place, value) in example.inputs[0].iter_mut().enumerate() {
                    *value = ((place * 31 + index * 17) % 64) as f32 / 32.0 - 1.0;
                }
            })
    };
    let (expected, found) = (answers(&zeroed), answers(&smaller.graph));
    for (expected, found) in expected.iter().zip(&found) {
        assert!((expected - found).abs() < 1e-4, "{expected} {found}");
    }
    assert!(expected.iter().any(|x| (x - expected[0]).abs() > 1e-2));
    let error = channels::prune(&connected(), 0.001).unwrap_err();
    assert!(matches!(error, ChannelsError::Share { .. }), "{error}");
}

/// As many channels stay as the time allows, which grows with the multiply-adds here.
#[test]
fn channels_are_removed_until_the_network_takes_the_time_that_is_asked_for() {
    let whole = channels::prune(&connected(), 0.999).unwrap();
    let micros = |graph: &Graph| {
        let left = channels::prune(graph, 0.9999).unwrap().before;
        Ok(Duration::from_secs_f64(1e-6 * 100.0 * left / whole.before))
    };
    let limit = Duration::from_micros(50);
    let smaller = channels::prune_to_time(&connected(), limit, micros).unwrap();
    let share = smaller.multiply_adds / smaller.before;
    assert!((0.4..=0.5).contains(&share), "{share}");
    let error = channels::prune_to_time(&connected(), Duration::from_micros(1), micros);
    let error = error.unwrap_err();
    assert!(matches!(error, ChannelsError::Time { .. }), "{error}");
}
