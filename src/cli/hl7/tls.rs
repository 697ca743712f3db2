//! TLS of `hl7 send`: trusts the authority it was given and nobody else.

use crate::secret;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// `own`: certificate and key, for receivers that ask for one.
///
/// # Errors
/// A sentence that names the file.
pub fn client_config(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(|e| format!("{}: {e}", ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_root_certificates(roots);
    let Some((cert, key)) = own else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_slice(&secret::private_file(key)?)
        .map_err(|_| format!("{}: no private key in PEM was found", key.display()))?;
    let config = builder.with_client_auth_cert(chain, private);
    config.map(Arc::new).map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{}: not a certificate in PEM: {e}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in PEM was found", path.display()));
    }
    Ok(found)
}
