//! Whatever the plan (JSON, up to the first zero byte) and its constants (the rest):
//! one that is taken for sound runs without reaching past its memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_engine_fuzz::run;

fuzz_target!(|bytes: &[u8]| {
    run(bytes);
});
