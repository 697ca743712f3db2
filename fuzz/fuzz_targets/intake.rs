//! libFuzzer's door to [`trialbridge_fuzz::document::intake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::document::intake(data));
