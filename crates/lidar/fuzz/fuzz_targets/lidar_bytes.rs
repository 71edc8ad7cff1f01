//! Fuzzes the way from a serial port's bytes to scans. No bytes may be lost, and a scan is whole or is
//! none. Inputs have no checksums: the target adds them where a packet begins, or no packet would be read.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use pilotage_lidar::LidarConfig;
use pilotage_lidar::packet::{LENGTH, POINTS, Parser, encode};
use pilotage_lidar::turn::{Assembly, TurnEnd};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[rays, forward, first], rest)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let mut assembly = Assembly::new(&LidarConfig {
        port: PathBuf::new(),
        forward: f64::from(forward) * 2.0 - 256.0,
        is_upside_down: rays % 2 == 1,
        rays: 90 + 4 * usize::from(rays),
        mask: Vec::new(),
    });
    let mut stream = Vec::new();
    for (index, piece) in rest.chunks(LENGTH).enumerate() {
        // Some pieces stay as they are.
        match (piece.len() == LENGTH && index % 8 != usize::from(first % 8)).then_some(piece) {
            Some(piece) => {
                let number = |at: usize| u16::from_le_bytes([piece[at], piece[at + 1]]);
                let distances: [u16; POINTS] = std::array::from_fn(|it| number(6 + 3 * it));
                let end = number(4).wrapping_add(number(42) % 3000);
                stream.extend(encode(number(2), (number(4), end), &distances, number(44)));
            }
            None => stream.extend(piece),
        }
    }
    let mut parser = Parser::default();
    for piece in stream.chunks(1 + usize::from(first)) {
        parser.take(piece, |packet| {
            if assembly.take(packet) == Some(TurnEnd::Whole) {
                assert!(assembly.scan().is_whole());
            }
        });
    }
    let counts = parser.counts();
    let used = counts.good * LENGTH as u64 + counts.skipped;
    assert!(used <= stream.len() as u64 && stream.len() as u64 - used < LENGTH as u64);
});
