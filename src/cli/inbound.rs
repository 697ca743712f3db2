//! What a service takes in: the endpoints that hospitals push to, and the task that digests what came.
//!
//! Each way in is one step of [`Inbound::open`], which binds what it needs before anything is served: an
//! address or a file that cannot be used stops the start.

use super::pull::{self, Arguments as PullArguments};
use super::shell::{Shell, now, today};
use super::{Failure, Global, exit, serve};
use crate::client::{ClientConfig, FhirClient, SystemClock};
use crate::config::Config;
use crate::http::listener::{self, Limits};
use crate::http::strict::Hosts;
use crate::http::tls;
use crate::source::digest::Digest;
use crate::source::fhir_pull::Silent;
use crate::source::fhir_push::{self, PushState, StartError};
use crate::source::subscription::{self, HookLimits, Hooks, Wake, Watcher};
use crate::source::{mllp, needs};
use crate::store::Store;
use crate::web;
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What is measured is put away so often; until then every measurement is kept.
const UPKEEP: Duration = Duration::from_secs(5);

pub struct Inbound {
    /// Served where the pages are.
    pub beside_pages: Router,
    pub tasks: Vec<JoinHandle<()>>,
}

impl Inbound {
    /// Opens what `[push]` says and starts to digest. Says at which address what is taken in.
    ///
    /// # Errors
    /// Exit code 10 for what cannot be configured so; those of the store.
    pub async fn open(
        global: &Global,
        shell: &Arc<Shell>,
        store: &Arc<dyn Store>,
        pages: &str,
        stop: &CancellationToken,
    ) -> Result<Inbound, Failure> {
        let digest = Arc::new(Digest::default());
        let mut inbound = Inbound { beside_pages: Router::new(), tasks: Vec::new() };
        inbound.push(global, shell, store, pages, &digest, stop).await?;
        inbound.mllp(global, shell, store, &digest, stop).await?;
        let pipeline = shell.pipeline(store);
        let stopped = stop.clone();
        inbound.tasks.push(tokio::spawn(async move {
            digest.run(pipeline, || (now(), today()), stopped).await;
        }));
        inbound.tasks.push(tokio::spawn(upkeep(stop.clone())));
        Ok(inbound)
    }

    async fn push(
        &mut self,
        global: &Global,
        shell: &Arc<Shell>,
        store: &Arc<dyn Store>,
        pages: &str,
        digest: &Arc<Digest>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let push = &shell.config.push;
        if !push.enabled {
            global.note("push         none: push.enabled is false");
            return Ok(());
        }
        let store_of_hooks = Arc::clone(store);
        let (store, trial) = (Arc::clone(store), Arc::clone(&shell.trial));
        let state = PushState::new(push, &source(&shell.config), store, trial, Arc::clone(digest)).map_err(
            |error| match error {
                StartError::Config(error) => Failure::new(exit::CONFIG, error.to_string(), HINT),
                StartError::Store(error) => Failure::from(error),
            },
        )?;
        let router = fhir_push::router(state).merge(self.hooks(shell, &store_of_hooks, digest, stop)?);
        let Some(own) = &push.listen else {
            global.note(&format!("push         http://{pages}/fhir"));
            self.beside_pages = std::mem::take(&mut self.beside_pages).merge(router);
            return Ok(());
        };
        let tls = match (&push.tls_cert_file, &push.tls_key_file) {
            (Some(cert), Some(key)) => Some(
                tls::server_config(cert, key, push.client_ca_file.as_deref())
                    .map_err(|text| Failure::new(exit::CONFIG, text, HINT))?,
            ),
            _ => None,
        };
        let listener = serve::listen(own, "push.listen").await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        global.note(&format!("push         {scheme}://{}/fhir", serve::address(&listener)));
        let hosts = listener
            .local_addr()
            .map_or_else(|_| Hosts::any(), |address| Hosts::of(address, &shell.config.hosts()));
        let limits = Limits { hosts, ..Limits::default() };
        self.tasks.push(tokio::spawn(listener::serve(listener, tls, router, limits, stop.clone())));
        Ok(())
    }
}

impl Inbound {
    /// Where the notifications of Subscriptions arrive, and the task that looks after what they tell.
    /// They bring a secret of their own. Nothing where no server is configured: nobody could notify.
    fn hooks(
        &mut self,
        shell: &Arc<Shell>,
        store: &Arc<dyn Store>,
        digest: &Arc<Digest>,
        stop: &CancellationToken,
    ) -> Result<Router, Failure> {
        if shell.config.fhir.base_url.is_none() {
            return Ok(Router::new());
        }
        let client = shell.client()?;
        let (wake, clock) = (Arc::new(Wake::default()), Arc::new(SystemClock));
        let limits = HookLimits::default();
        let hooks = Hooks::new(Arc::clone(store), client.clone(), clock.clone(), Arc::clone(&wake), limits);
        let wanted = &shell.config.subscription;
        let quiet = u64::from(wanted.silent_after_minutes) * 60;
        let patience = subscription::Limits {
            grace: Duration::from_secs(wanted.grace_seconds.into()),
            quiet: (quiet > 0).then(|| Duration::from_secs(quiet)),
            ..subscription::Limits::default()
        };
        let pull =
            Reconciling { shell: Arc::clone(shell), store: Arc::clone(store), digest: Arc::clone(digest) };
        let types = needs::types(&shell.trial);
        let watcher = Watcher::new(Arc::clone(store), client, clock, pull, wake, patience, types);
        self.tasks.push(tokio::spawn(subscription::watch(watcher, stop.clone())));
        Ok(subscription::router(hooks))
    }

    /// HL7 v2, where `mllp.listen` says.
    async fn mllp(
        &mut self,
        global: &Global,
        shell: &Arc<Shell>,
        store: &Arc<dyn Store>,
        digest: &Arc<Digest>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let config = &shell.config.mllp;
        let bound = mllp::bind(config).await.map_err(|text| Failure::new(exit::CONFIG, text, HINT))?;
        let Some((listener, settings)) = bound else { return Ok(()) };
        global.note(&format!("mllp         {}", serve::address(&listener)));
        let (store, digest) = (Arc::clone(store), Arc::clone(digest));
        let inbox: Box<mllp::Inbox> = Box::new(move |incoming, done| {
            let digest = Arc::clone(&digest);
            let stored = move |receipt| {
                done(receipt);
                digest.wake();
            };
            store.accept_then(incoming, Box::new(stored));
        });
        let receiver =
            mllp::Receiver::before(inbox, mllp::Mode::named(&config.mode), Arc::clone(&shell.trial));
        self.tasks.push(tokio::spawn(mllp::serve(listener, settings, Arc::new(receiver), stop.clone())));
        Ok(())
    }
}

/// The pull that a lost notification leads to.
struct Reconciling {
    shell: Arc<Shell>,
    store: Arc<dyn Store>,
    digest: Arc<Digest>,
}

impl subscription::Pull for Reconciling {
    async fn reconcile(&self, why: &str) -> bool {
        tracing::info!(event = "subscription.pull", why);
        let arguments = PullArguments { since: "auto".into(), ..PullArguments::default() };
        match pull::once(&self.shell, &self.store, &arguments, &Silent).await {
            Ok((report, _)) => report.is_complete(),
            Err(failure) => {
                tracing::error!(event = "pull.failed", error = %failure.message);
                false
            }
        }
    }

    fn arrived(&self) {
        self.digest.wake();
    }
}

const HINT: &str = "docs/operating.md, Configuration";

/// Whose numbering of ids pushed resources have: that of the server that is pulled from, as the pull
/// writes it, so that a resource is the same whichever way it came.
fn source(config: &Config) -> String {
    let Some(base_url) = &config.fhir.base_url else {
        return config.push.source.clone().unwrap_or_else(|| fhir_push::ORIGIN.to_owned());
    };
    if let Some(source) = &config.push.source {
        return source.clone();
    }
    let plain = ClientConfig {
        allow_plain_http: config.fhir.allow_plain_http,
        ..ClientConfig::new(base_url.clone())
    };
    FhirClient::new(plain).map_or_else(|_| base_url.clone(), |client| client.base_url().to_owned())
}

async fn upkeep(stop: CancellationToken) {
    let Some(handle) = web::install_metrics() else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => handle.run_upkeep(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_and_what_is_pulled_are_the_same_resources() {
        let config = |text: &str| Config::read("c.toml", text, []).expect("readable");
        for (text, expected) in [
            ("", "push"),
            ("[push]\nsource = \"lab\"\n", "lab"),
            ("[fhir]\nbase_url = \"https://fhir.example/r4/\"\n[push]\nsource = \"lab\"\n", "lab"),
        ] {
            assert_eq!(source(&config(text)), expected);
        }
        let one = source(&config("[fhir]\nbase_url = \"https://FHIR.example:443/r4/\"\n"));
        let client = FhirClient::new(ClientConfig::new("https://fhir.example/r4")).expect("a client");
        assert_eq!(one.trim_end_matches('/'), client.base_url().trim_end_matches('/'));
    }
}
