//! The one task that runs the pipeline while a service is up: after everything that comes in, at the start,
//! and every minute, so that days and windows pass without anybody sending anything.
//!
//! Never two runs at a time: what comes during a run is taken up by the one after it. A store that fails is
//! asked again, less and less often.

use crate::pipeline::Pipeline;
use crate::store::StoreError;
use chrono::{DateTime, NaiveDate, Utc};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Without a word from anybody. Short, because a day ends for all subjects at once.
const EVERY: Duration = Duration::from_secs(60);
/// What comes within this time after the first is digested together with it.
const GATHER: Duration = Duration::from_millis(10);
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The time, and the day by which windows are counted.
pub type Clock = fn() -> (DateTime<Utc>, NaiveDate);

/// How the last run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub last_success: Option<DateTime<Utc>>,
    /// Since when it fails, and the code of the last error.
    pub failing: Option<(DateTime<Utc>, &'static str)>,
}

/// Shared between whoever receives and the task.
#[derive(Debug, Default)]
pub struct Digest {
    wake: Notify,
    condition: Mutex<Condition>,
}

impl Digest {
    /// Something was received. Costs nothing; many calls are one.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, now: DateTime<Utc>, failed: Option<&'static str>) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        match failed {
            None => *condition = Condition { last_success: Some(now), failing: None },
            Some(code) => {
                let since = condition.failing.map_or(now, |(since, _)| since);
                condition.failing = Some((since, code));
            }
        }
        metrics::gauge!("trialbridge_digest_ok").set(if failed.is_none() { 1 } else { 0 });
    }

    /// Runs until `stop`. A run that has begun is finished, or ends early where its turn is ended.
    pub async fn run(&self, pipeline: Pipeline, clock: Clock, stop: CancellationToken) {
        let pipeline = std::sync::Arc::new(pipeline);
        let mut rest = FIRST_REST;
        loop {
            let one = std::sync::Arc::clone(&pipeline);
            let ran = tokio::task::spawn_blocking(move || {
                let (now, today) = clock();
                one.run(now, today)
            })
            .await;
            let ran = ran.unwrap_or_else(|error| Err(StoreError::storage("digesting the inbox", error)));
            let (now, _) = clock();
            let wait = match ran {
                Ok(done) => {
                    self.note(now, None);
                    rest = FIRST_REST;
                    if done.documents > 0 {
                        tracing::debug!(
                            event = "digest",
                            documents = done.documents,
                            quarantined = done.quarantined,
                            judged = done.judged,
                            decisions = done.decisions.len()
                        );
                    }
                    EVERY
                }
                Err(error) => {
                    tracing::error!(event = "pipeline.failed", code = error.code(), cause = %error);
                    self.note(now, Some(error.code()));
                    let wait = rest;
                    rest = (rest * 2).min(LONGEST_REST);
                    wait
                }
            };
            let is_failing = rest != FIRST_REST;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                // What comes in does not make a broken store be asked more often.
                () = self.wake.notified(), if !is_failing => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(GATHER) => {}
                    }
                }
            }
        }
    }
}
