//! libFuzzer's door to [`trialbridge_fuzz::resource::json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::resource::json(data));
