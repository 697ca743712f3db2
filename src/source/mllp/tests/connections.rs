//! Who is let in: addresses, numbers of connections, certificates.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_is_not_on_the_list_is_closed_unheard() {
    let shelf = Shelf::new();
    for (allow, answer) in [("127.0.0.1", Some("AA ID7")), ("10.1.4.0/24", None), ("", Some("AA ID7"))] {
        let config = Mllp {
            allow: if allow.is_empty() { vec![] } else { vec![allow.parse().expect("a network")] },
            ..Mllp::default()
        };
        let settings = Settings::read(&config).expect("good");
        let running = Running::start(settings, shelf.receiver(Mode::Accept)).await;
        let mut client = running.connect().await;
        // A connection that was closed at once may not take the bytes.
        let _ = client.stream.write_all(&frame(GOOD.as_bytes())).await;
        assert_eq!(client.answer().await.as_deref().map(essence).as_deref(), answer, "{allow}");
        running.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_others_reach_needs_to_say_who_may_send() {
    let config = |listen: &str, allow: &[&str]| Mllp {
        listen: Some(listen.into()),
        allow: allow.iter().map(|a| a.parse().expect("a network")).collect(),
        ..Mllp::default()
    };
    assert!(bind(&Mllp::default()).await.expect("nothing is asked for").is_none());
    assert!(bind(&config("127.0.0.1:0", &[])).await.expect("this machine").is_some());
    assert!(bind(&config("localhost:0", &[])).await.expect("this machine by name").is_some());
    assert!(bind(&config("0.0.0.0:0", &["10.1.4.0/24"])).await.expect("it is said").is_some());
    let error = bind(&config("0.0.0.0:0", &[])).await.err().expect("it is not said");
    assert!(error.contains("nothing says who may send: set mllp.allow"), "{error}");
    let error = bind(&config("127.0.0.1:70000", &[])).await.err().expect("no port");
    assert!(error.starts_with("mllp.listen 127.0.0.1:70000: "), "{error}");
    let missing = Mllp {
        tls_cert_file: Some("/nowhere/cert.pem".into()),
        tls_key_file: Some("/nowhere/key.pem".into()),
        ..config("127.0.0.1:0", &[])
    };
    let error = bind(&missing).await.err().expect("no file");
    assert!(error.contains("/nowhere/"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_twenty_first_connection_of_a_peer_is_closed_until_one_leaves() {
    let shelf = Shelf::new();
    let running = Running::start(Settings::default(), shelf.receiver(Mode::Accept)).await;
    let mut inside = Vec::new();
    for number in 0..PER_PEER {
        let mut client = running.connect().await;
        // An answer shows that it is inside.
        let answer = client.ask(with("ID7", &format!("ID{number}")).as_bytes()).await.expect("an answer");
        assert_eq!(essence(&answer), format!("AA ID{number}"));
        inside.push(client);
    }
    assert_eq!(running.connect().await.answer().await, None, "the twenty-first");
    let answer = inside[0].ask(with("ID7", "STILL").as_bytes()).await.expect("an answer");
    assert_eq!(essence(&answer), "AA STILL", "those inside are not concerned");
    drop(inside.pop());
    // That one has left is known a moment later.
    let mut answer = None;
    for _ in 0..1000 {
        let mut client = running.connect().await;
        let _ = client.stream.write_all(&frame(with("ID7", "ROOM").as_bytes())).await;
        answer = client.answer().await;
        if answer.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(answer.as_deref().map(essence).as_deref(), Some("AA ROOM"));
    running.stop().await;
}

/// An authority with certificates of its own, as PEM files.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let dir = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("signed");
        std::fs::write(dir.path().join("ca.pem"), root.pem()).expect("written");
        Authority { dir, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate and key of a name.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert_file, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&cert_file, cert.pem()).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key_file, mode).expect("set");
        }
        (cert_file, key_file)
    }
}

/// Shakes hands as a client that trusts `authority`, with a certificate of its own or without.
async fn shake(
    at: SocketAddr,
    authority: &Path,
    own: Option<&(PathBuf, PathBuf)>,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("PEM")).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_file(cert).expect("PEM")];
            let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a certificate with its key")
        }
    };
    let stream = TcpStream::connect(at).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(Client::of)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_an_authority_named_nobody_sends_without_its_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (cert, key) = ours.issue("localhost");
    let (of_ours, of_theirs) = (ours.issue("lis.example"), theirs.issue("lis.example"));
    for (client_ca, own, answer) in [
        (None, None, Some("AA ID7")),
        (Some("ca.pem"), Some(&of_ours), Some("AA ID7")),
        (Some("ca.pem"), Some(&of_theirs), None),
        (Some("ca.pem"), None, None),
    ] {
        let shelf = Shelf::new();
        let config = Mllp {
            tls_cert_file: Some(cert.clone()),
            tls_key_file: Some(key.clone()),
            client_ca_file: client_ca.map(|name| ours.path(name)),
            ..Mllp::default()
        };
        let settings = Settings { ..Settings::read(&config).expect("good files") };
        let running = Running::start(settings, shelf.receiver(Mode::Accept)).await;
        // In TLS 1.3 a client learns only after its handshake that it was refused.
        let found = match shake(running.at, &ours.path("ca.pem"), own).await {
            Err(_) => None,
            Ok(mut client) => {
                let _ = client.stream.write_all(&frame(GOOD.as_bytes())).await;
                let _ = client.stream.flush().await;
                client.answer().await
            }
        };
        assert_eq!(found.as_deref().map(essence).as_deref(), answer, "{client_ca:?} {own:?}");
        assert_eq!(shelf.inbox().len(), usize::from(answer.is_some()));
        // Without TLS nobody is heard, and nothing is kept of it.
        let mut plain = running.connect().await;
        let _ = plain.stream.write_all(&frame(with("ID7", "PLAIN").as_bytes())).await;
        assert_eq!(plain.answer().await, None);
        assert_eq!(shelf.inbox().len(), usize::from(answer.is_some()));
        running.stop().await;
    }
}
