//! libFuzzer's door to [`trialbridge_fuzz::words::unit`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::words::unit(data));
