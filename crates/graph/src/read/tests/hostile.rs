//! Malformed and malicious models: the reader must not panic, and memory must stay bounded.

use proptest::prelude::*;

use super::models::{any_graph, arbitrary_graph};
use super::*;

/// Limits that are low enough for a test to exceed them.
fn tight() -> ReadOptions {
    ReadOptions {
        max_bytes: 1 << 20,
        max_decoded_bytes: 1 << 24,
        max_elements: 1 << 16,
        ..ReadOptions::default()
    }
}

/// A graph that is read must be valid, and must read back after it is written.
fn check_if_readable(bytes: &[u8]) {
    if let Ok(graph) = Graph::read(bytes, &tight()) {
        graph.check().unwrap();
        let again = Graph::read(&graph.write(), &ReadOptions::default());
        again.unwrap_or_else(|e| panic!("{e}: {graph:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_if_readable(&bytes);
    }

    #[test]
    fn damaged_models_do_not_panic(
        graph in any_graph(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = graph.write();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_if_readable(&bytes);
    }
}

/// The models that fuzzing starts from, and those that it found.
fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/onnx_read");
    let mut files: Vec<_> = (std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Unlike random graphs, these have subgraphs and operators that become several nodes.
    #[test]
    fn damaged_models_of_the_corpus_do_not_panic(
        bytes in prop::sample::select(corpus()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bytes;
        for (at, to) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
        }
        check_if_readable(&bytes);
    }
}

/// Models from fuzzing that are kept as regression tests.
#[test]
fn the_fuzz_corpus_does_not_panic() {
    let mut read = 0;
    for bytes in corpus() {
        check_if_readable(&bytes);
        read += usize::from(Graph::read(&bytes, &tight()).is_ok());
    }
    assert!(read > 20, "only {read} of the corpus are models");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = arbitrary_graph(&[7; 64]).write();
    for end in 0..bytes.len() {
        assert!(
            Graph::read(&bytes[..end], &ReadOptions::default()).is_err(),
            "{end}"
        );
    }
    assert!(Graph::read(&bytes, &ReadOptions::default()).is_ok());
}

fn too_large(bytes: &[u8], options: &ReadOptions) -> bool {
    matches!(
        Graph::read(bytes, options),
        Err(GraphError::TooLarge { .. })
    )
}

#[test]
fn small_files_cannot_request_much_memory() {
    assert!(too_large(&vec![0; (1 << 20) + 1], &tight()));

    // Half a million empty nodes in a megabyte.
    let mut many = vec![0x3a, 0x80, 0x80, 0x3c];
    many.extend([0x0a, 0x00].repeat(0x3c << 13));
    assert!(too_large(&many, &tight()));

    // Shapes whose number of elements exceeds the limit, or 64 bits.
    for dims in [&[1, 1 << 20][..], &[1, 1 << 31, 1 << 31, 1 << 31]] {
        let model = onnx(17).input("x", dims).outputs(&["x"]);
        assert!(too_large(&model.bytes(), &tight()), "{dims:?}");
    }
    assert!(too_large(
        &onnx(17).input("x", &[1; 1000]).outputs(&["x"]).bytes(),
        &tight()
    ));

    // Constants that double with each node.
    let mut model = onnx(17).weights("c0", &[256]);
    for i in 0..60 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        model = model.node("Concat", &[&from, &from], &[&to], vec![int("axis", 0)]);
    }
    assert!(too_large(&model.outputs(&["c60"]).bytes(), &tight()));

    // The same at run time, with an input instead of constants.
    let mut model = onnx(17).input("c0", &[256]);
    for i in 0..60 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        model = model.node("Concat", &[&from, &from], &[&to], vec![int("axis", 0)]);
    }
    assert!(too_large(&model.outputs(&["c60"]).bytes(), &tight()));

    let pads = [0, i64::MAX, 0, i64::MAX];
    let model = onnx(9)
        .input("x", &[1, 2])
        .node("Pad", &["x"], &["y"], vec![ints("pads", &pads)])
        .outputs(&["y"]);
    assert!(model.read().is_err());
}

/// A reader that compares each output with all earlier ones would take minutes.
#[test]
fn many_outputs_are_read_in_their_order() {
    let count = 150_000;
    let mut model = onnx(17);
    for i in 0..count {
        let name = format!("v{i}");
        model = model.input(&name, &[1]).outputs(&[&name]);
    }
    let graph = model.read().unwrap();
    assert_eq!(graph.outputs.len(), count);
    assert_eq!(
        graph.value(graph.outputs[count - 1]).name,
        format!("v{}", count - 1)
    );
    assert_eq!(
        model.outputs(&["v0"]).read(),
        Err(GraphError::DuplicateName { name: "v0".into() })
    );
}

/// Each Gather has its own copy of the indices.
#[test]
fn many_gathers_cannot_share_one_long_list() {
    let model = |count: usize| {
        let mut model = onnx(17)
            .input("x", &[4])
            .initializer(integers("i", &[0; 4096]));
        for i in 0..count {
            let name = format!("y{i}");
            model = model.node("Gather", &["x", "i"], &[&name], vec![]);
            model = model.outputs(&[&name]);
        }
        model.bytes()
    };
    assert!(Graph::read(&model(10), &tight()).is_ok());
    assert!(too_large(&model(20), &tight()));
}

/// A reader that tries all earlier names for each value would take minutes.
#[test]
fn many_nodes_of_one_name_have_values_of_their_own() {
    let count = 5000;
    let mut model = onnx(17).input("v0", &[1]);
    for i in 0..count {
        let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
        model = model.node("HardSwish", &[&from], &[&to], vec![]);
    }
    for node in &mut model.graph().node {
        node.name = "same".into();
    }
    let graph = model.outputs(&[&format!("v{count}")]).read().unwrap();
    assert_eq!(graph.nodes.len(), 2 * count);
}
