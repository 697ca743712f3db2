//! libFuzzer's door to [`trialbridge_fuzz::page::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::page::link(data));
