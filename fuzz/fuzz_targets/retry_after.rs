//! libFuzzer's door to [`trialbridge_fuzz::page::retry_after`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::page::retry_after(data));
