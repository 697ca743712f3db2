//! What is refused before anything is sent.

use super::super::super::{Auth, BackendServices, ClientConfig, ConfigError, FhirClient};
use super::{ES384, ES384_PUBLIC, RS384, SigningKey, registered};
use std::sync::Arc;

#[test]
fn a_key_is_of_a_kind_that_can_sign() {
    let table: [(&[u8], &str); 10] = [
        (RS384, "RS384 [redacted]"),
        (ES384, "ES384 [redacted]"),
        (include_bytes!("../../../../fixtures/smart/refused-p256-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../../fixtures/smart/refused-rsa1024-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../../fixtures/smart/refused-ed25519-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../../fixtures/smart/refused-pkcs1-test-key.pem"), "PKCS#8"),
        (ES384_PUBLIC, "PKCS#8"),
        (b"", "PKCS#8"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither RSA"),
        (b"-----BEGIN PRIVATE KEY-----\n", "neither RSA"),
    ];
    for (pem, expected) in table {
        let said = match SigningKey::from_pem(pem) {
            Ok(key) => format!("{key:?}"),
            Err(reason) => reason.to_owned(),
        };
        assert!(said.contains(expected), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    std::fs::write(&path, RS384).expect("written");
    for (mode, allowed) in [(0o600, true), (0o640, false), (0o604, false), (0o610, false), (0o644, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
        let read = SigningKey::from_file(&path);
        assert_eq!(read.is_ok(), allowed, "{mode:o}");
        if let Err(text) = read {
            assert!(text.contains("key.pem") && text.contains("chmod 600"), "{text}");
        }
    }
    let text = SigningKey::from_file(&folder.path().join("none.pem")).expect_err("not there");
    assert!(text.contains("none.pem: cannot be read"), "{text}");
}

#[test]
fn a_token_url_is_https_or_of_this_machine() {
    let table = [
        ("https://auth.example/token", ""),
        ("https://auth.example/token?tenant=7", ""),
        (" https://auth.example:8443/token ", ""),
        ("http://127.0.0.1:9/token", ""),
        ("http://localhost/token", ""),
        ("http://[::1]:9/token", ""),
        ("http://auth.example/token", "https:// only"),
        ("http://localhost.evil.test/token", "https:// only"),
        ("http://10.0.0.1/token", "https:// only"),
        ("ftp://127.0.0.1/token", "https:// only"),
        ("auth.example/token", "absolute URL"),
        ("", "absolute URL"),
        ("https://canary:canary@auth.example/token", "user name or password"),
        ("https://auth.example/token#canary", "fragment"),
    ];
    let error_of = |settings: BackendServices| {
        let mut config = ClientConfig::new("http://fhir.example/r4");
        // Plain HTTP that was allowed for the FHIR server is not allowed for the token endpoint.
        config.allow_plain_http = true;
        config.auth = Auth::SmartBackend(Arc::new(settings));
        FhirClient::new(config).err()
    };
    for (url, expected) in table {
        let settings = BackendServices { token_url: url.into(), ..registered("", ES384) };
        let said = error_of(settings).map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), expected.is_empty(), "{url}: {said}");
        assert!(said.contains(expected) && !said.contains("canary"), "{url}: {said}");
        assert!(said.is_empty() || said.starts_with("fhir.auth.token_url: "), "{said}");
    }
    let named = |change: fn(&mut BackendServices)| {
        let mut settings = registered("https://auth.example", ES384);
        change(&mut settings);
        match error_of(settings) {
            None => "none",
            Some(ConfigError::Value { key, .. }) => key,
            Some(_) => "another",
        }
    };
    assert_eq!(named(|_| {}), "none");
    assert_eq!(named(|s| s.client_id.clear()), "fhir.auth.client_id");
    assert_eq!(named(|s| s.scope = " ".into()), "fhir.auth.scope");
}
