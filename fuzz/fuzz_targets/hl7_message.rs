//! libFuzzer's door to [`trialbridge_fuzz::hl7::message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::hl7::message(data));
