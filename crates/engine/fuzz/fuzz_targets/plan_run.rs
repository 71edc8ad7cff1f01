//! Fuzzes the CPU engine with a plan (JSON, up to the first zero byte) and its constants (the
//! rest): a plan that passes validation runs without accesses outside its memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_engine_fuzz::run;

fuzz_target!(|bytes: &[u8]| {
    run(bytes);
});
