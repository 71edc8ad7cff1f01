//! Whatever the bytes: reading ends in a graph or an error, a graph read is
//! sound, and what is written of it reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_graph::{Graph, ReadOptions};

fuzz_target!(|bytes: &[u8]| {
    // Small enough for libFuzzer's memory limit to notice what gets past them.
    let options = ReadOptions {
        max_bytes: 1 << 20,
        max_decoded_bytes: 1 << 26,
        max_elements: 1 << 18,
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
