use super::*;

/// The numbers that Keras prints for Donkeycar's `linear` at 120 x 160 x 3: the convolutions
/// have 1,824, 19,232, 51,264, 36,928 and 36,928 parameters; the map of 8 x 13 x 64 is
/// flattened to 6,656; the dense layers have 665,700, 5,050, 51 and 51.
#[test]
fn linear_has_the_parameters_of_donkeycars() {
    let linear = Architecture::new(NetworkKind::Linear, [120, 160, 3], 2).unwrap();
    let expected = [1824, 19232, 51264, 36928, 36928, 665_700, 5050, 102];
    assert_eq!(linear.parameters(), expected);
    assert_eq!(linear.linears[0][0], 8 * 13 * 64);
    assert_eq!(linear.dropouts().len(), 7);
}

/// What Keras prints for the reference's TensorFlow network, without the normalization's twelve:
/// 17.0 million.
#[test]
fn the_padded_pilotnet_has_the_parameters_of_the_reference() {
    let padded = Architecture::new(NetworkKind::PilotnetSame, [66, 200, 3], 2).unwrap();
    assert_eq!(padded.linears[0], [9 * 25 * 64, 1164]);
    assert_eq!(padded.parameters().iter().sum::<usize>(), 17_016_194);
    // TensorFlow's padding of an odd number of zeros: one more at the end.
    assert_eq!(padded.convolutions[0].pads(), [1, 1, 2, 2]);
    let factors = padded.rate_factors();
    assert_eq!(factors, [("fc1.weight".to_owned(), 0.08)]);
    let usual = Architecture::new(NetworkKind::Pilotnet, [66, 200, 3], 2).unwrap();
    assert!(usual.rate_factors().is_empty());
}

#[test]
fn the_graph_has_the_layers_and_answers_the_last_biases_at_first() {
    let statistics = Statistics {
        mean: [0.5; 3],
        variance: [0.1; 3],
    };
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let shape = Architecture::new(NetworkKind::Pilotnet, [66, 200, 3], 2).unwrap();
        // DeepLearningStudio's PilotNet has 1,595,534, with the twelve of its normalization.
        assert_eq!(shape.parameters().iter().sum::<usize>(), 1_595_522);
        let graph = shape.graph(&statistics, &[0.25, -0.5], layout, 7).unwrap();
        let mut network = pilotage_learning::Network::from_graph(&graph).unwrap();
        assert_eq!(network.values().len(), 1_595_534);
        let answers = network.answers(1, &|_, example| example.inputs[0].fill(0.5));
        let near = |index: usize, expected: f32| (answers[index] - expected).abs() < 1e-5;
        assert!(near(0, 0.25) && near(1, -0.5), "{answers:?}");
        let other = shape.graph(&statistics, &[0.25, -0.5], layout, 8).unwrap();
        assert_ne!(graph, other);
        assert!(shape.graph(&statistics, &[0.25], layout, 7).is_err());
    }
}

#[test]
fn the_least_side_is_the_least() {
    for kind in [
        NetworkKind::Small,
        NetworkKind::Pilotnet,
        NetworkKind::Linear,
    ] {
        let side = kind.least_side();
        assert!(
            Architecture::new(kind, [side, side, 1], 1).is_ok(),
            "{side}"
        );
        let error = Architecture::new(kind, [side, side - 1, 1], 1).unwrap_err();
        assert!(
            matches!(error, ArchitectureError::TooSmall { .. }),
            "{error}"
        );
    }
    let error = Architecture::new(NetworkKind::Pilotnet, [4096, 4096, 3], 2).unwrap_err();
    assert!(
        matches!(error, ArchitectureError::TooLarge { .. }),
        "{error}"
    );
}
