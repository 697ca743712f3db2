//! libFuzzer's door to [`trialbridge_fuzz::settings::trial`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::settings::trial(data));
