//! Fuzzes the reader of engine files with arbitrary bytes: unchanged, and with corrected
//! checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_engine_fuzz::{read, sealed};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(file) = sealed(bytes) {
        read(&file);
    }
});
