//! libFuzzer's door to [`trialbridge_fuzz::document::collection`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::document::collection(data));
