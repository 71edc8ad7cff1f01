//! Fuzzes the ONNX reader with arbitrary bytes. Reading must return a graph or an error, every
//! returned graph must pass its check, and the written model must read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_graph::{Graph, ReadOptions};

fuzz_target!(|bytes: &[u8]| {
    // Small enough that libFuzzer's memory limit reveals allocations beyond these limits.
    let options = ReadOptions {
        max_bytes: 1 << 20,
        max_decoded_bytes: 1 << 26,
        max_elements: 1 << 18,
        max_unrolled_nodes: 1 << 10,
        ..ReadOptions::default()
    };
    if let Ok(graph) = Graph::read(bytes, &options) {
        if let Err(error) = graph.check() {
            panic!("read a graph that is not sound: {error}");
        }
        if let Err(error) = Graph::read(&graph.write(), &ReadOptions::default()) {
            panic!("wrote a model that does not read back: {error}");
        }
    }
});
