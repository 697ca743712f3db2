//! libFuzzer's door to [`trialbridge_fuzz::document::hl7_intake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trialbridge_fuzz::document::hl7_intake(data));
