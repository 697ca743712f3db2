//! libFuzzer's door to [`trialbridge_fuzz::resource::projection`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::resource::projection(data));
