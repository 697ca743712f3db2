//! libFuzzer's door to [`trialbridge_fuzz::document::score_line`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::document::score_line(data));
