//! Whatever the bytes of an engine file: as they are, and with right checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_engine_fuzz::{read, sealed};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(file) = sealed(bytes) {
        read(&file);
    }
});
