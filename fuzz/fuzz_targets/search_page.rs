//! libFuzzer's door to [`trialbridge_fuzz::page::search_page`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::page::search_page(data));
