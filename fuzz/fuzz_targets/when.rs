//! libFuzzer's door to [`trialbridge_fuzz::words::when`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::words::when(data));
