//! libFuzzer's door to [`trialbridge_fuzz::resource::quantity`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::resource::quantity(data));
