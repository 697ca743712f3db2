//! libFuzzer's door to [`trialbridge_fuzz::settings::site`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::settings::site(data));
