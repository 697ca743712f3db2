//! TLS for what listens: a certificate chain and its key from PEM files, and, where a client authority
//! is named, nobody gets in without a certificate of that authority.
//!
//! Never holds a key in a text that is printed; a key file that others can read is refused.

use crate::secret;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Reads what a listener needs for TLS 1.2 and 1.3. With `client_ca` a client certificate is asked for
/// and required.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn server_config(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(cert)?;
    let private = {
        let text = secret::private_file(key)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|e| {
            let what = match e {
                pem::Error::NoItemsFound => "no unencrypted private key in PEM was found".to_owned(),
                other => format!("not a private key in PEM: {other}"),
            };
            format!("{}: {what}", key.display())
        })?
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|e| format!("{}: {e}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| format!("{}: {e}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, private)
        .map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{}: not a certificate in PEM: {e}", path.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in PEM (`BEGIN CERTIFICATE`) was found", path.display()));
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn private(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        }
    }

    #[test]
    fn a_wrong_file_is_named_with_its_fault() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("cert.pem"), made.cert.pem()).expect("written");
        fs::write(at("empty.pem"), "").expect("written");
        private(&at("key.pem"), &made.signing_key.serialize_pem(), 0o600);
        private(&at("other.pem"), &other.signing_key.serialize_pem(), 0o600);
        private(&at("open.pem"), &made.signing_key.serialize_pem(), 0o640);
        private(&at("nothing.pem"), "", 0o600);
        for (cert, key, ca, fault) in [
            ("cert.pem", "key.pem", None, None),
            ("cert.pem", "key.pem", Some("cert.pem"), None),
            ("gone.pem", "key.pem", None, Some("gone.pem: cannot be read")),
            ("cert.pem", "gone.pem", None, Some("gone.pem: cannot be read")),
            ("empty.pem", "key.pem", None, Some("empty.pem: no certificate")),
            ("cert.pem", "nothing.pem", None, Some("nothing.pem: no unencrypted private key")),
            ("cert.pem", "open.pem", None, Some("open.pem: the key file can be read by others; chmod 600")),
            ("cert.pem", "other.pem", None, Some("cert.pem with ")),
            ("cert.pem", "key.pem", Some("empty.pem"), Some("empty.pem: no certificate")),
        ] {
            let ca = ca.map(at);
            let read = server_config(&at(cert), &at(key), ca.as_deref());
            match (read, fault) {
                (Ok(_), None) => {}
                (Err(text), Some(fault)) => {
                    assert!(text.contains(fault), "{text}");
                    assert!(!text.contains("BEGIN PRIVATE"), "{text}");
                }
                (read, fault) => panic!("{cert} {key} {ca:?}: {:?}, expected {fault:?}", read.err()),
            }
        }
    }
}
