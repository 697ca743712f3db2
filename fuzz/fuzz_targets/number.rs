//! libFuzzer's door to [`trialbridge_fuzz::words::number`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::words::number(data));
