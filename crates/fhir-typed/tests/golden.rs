//! Every golden file of the write-back is held against the typed model of its release.

use std::path::PathBuf;
use trialbridge_fhir_typed::{Release, check, is_compiled};

#[test]
fn every_golden_file_is_a_resource_of_its_release() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/writeback");
    for (folder, release) in [("r4", Release::R4), ("r4b", Release::R4B), ("r5", Release::R5)] {
        if !is_compiled(release) {
            continue;
        }
        let folder = root.join(folder);
        let mut seen = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a readable folder entry").path();
            if path.extension().is_some_and(|e| e == "json") {
                let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                check(release, &bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                seen += 1;
            }
        }
        assert!(seen >= 9, "{}: only {seen} golden files", folder.display());
    }
}
