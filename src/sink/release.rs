//! The release that the hospital's server speaks, and the check of what we send against its model.

/// A FHIR release that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    R4,
    R4B,
    R5,
}

impl Release {
    pub fn is_r5(self) -> bool {
        self == Release::R5
    }
}

/// A resource that we built and that the model of its release refuses: a fault of ours, never of the
/// hospital's. The text names elements and positions, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("internal: a resource that was to be written is not valid, nothing was sent: {0}")]
pub struct Invalid(pub String);

/// Holds a resource against the typed model of its release. Where the build lacks the models of that
/// release, only the well-formedness of the JSON is known.
pub fn check(release: Release, body: &[u8]) -> Result<(), Invalid> {
    typed(release, body)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(body).map(|_| ()).map_err(|e| Invalid(e.to_string()))
}

#[cfg(feature = "typed-r4")]
fn r4(body: &[u8]) -> Result<(), Invalid> {
    model(trialbridge_fhir_typed::Release::R4, body)
}
#[cfg(feature = "typed-r4b")]
fn r4b(body: &[u8]) -> Result<(), Invalid> {
    model(trialbridge_fhir_typed::Release::R4B, body)
}
#[cfg(feature = "typed-r5")]
fn r5(body: &[u8]) -> Result<(), Invalid> {
    model(trialbridge_fhir_typed::Release::R5, body)
}
#[cfg(any(feature = "typed-r4", feature = "typed-r4b", feature = "typed-r5"))]
fn model(release: trialbridge_fhir_typed::Release, body: &[u8]) -> Result<(), Invalid> {
    trialbridge_fhir_typed::check(release, body).map(drop).map_err(|e| Invalid(e.to_string()))
}

fn typed(release: Release, body: &[u8]) -> Result<(), Invalid> {
    match release {
        #[cfg(feature = "typed-r4")]
        Release::R4 => r4(body),
        #[cfg(feature = "typed-r4b")]
        Release::R4B => r4b(body),
        #[cfg(feature = "typed-r5")]
        Release::R5 => r5(body),
        #[cfg(not(all(feature = "typed-r4", feature = "typed-r4b", feature = "typed-r5")))]
        _ => {
            let _ = body;
            Ok(())
        }
    }
}
