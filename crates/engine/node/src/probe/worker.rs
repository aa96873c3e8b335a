//! Runs one probe of one run of a container, from its start to its end.

use std::{sync::Arc, time::Duration};

use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp};

use super::{Outcome, tally::Tally, target::Question};
use crate::{
    doors::PodRuntime,
    pod::decide::{ProbeKind, WantedProbe},
};

/// Between two regular probes that have not succeeded yet, a container that is about to be ready is asked again this soon,
/// twice as long each time. These extra questions count only when they are answered well: they make a container ready
/// earlier, never later, and never unhealthy.
const FIRST_EXTRA: Duration = Duration::from_millis(20);

/// What a probe has to say.
pub enum Word {
    /// To be told as an event.
    Event {
        reason: &'static str,
        message: String,
    },
    Verdict(bool),
}

/// Asks until it is dropped; `tell` hears what it finds.
pub async fn run<F>(
    wanted: WantedProbe,
    question: Result<Question, String>,
    runtime: Arc<dyn PodRuntime>,
    clock: Arc<dyn Clock>,
    tell: impl Fn(Word) -> F,
) where
    F: Future<Output = ()>,
{
    let probe = &wanted.probe;
    let seconds =
        |value: Option<i32>, default| Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default));
    let (period, timeout) =
        (seconds(probe.period_seconds, 10).max(Duration::from_secs(1)), seconds(probe.timeout_seconds, 1));
    let timeout = timeout.max(Duration::from_secs(1));
    wait_initially(&wanted, clock.now()).await;
    let mut tally = Tally::new(probe.success_threshold, probe.failure_threshold);
    let eager = wanted.kind != ProbeKind::Liveness && tally.is_quick();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut extra = FIRST_EXTRA;
    loop {
        let regular = if eager && tally.verdict().is_none() && extra < period {
            tokio::select! {
                _ = ticks.tick() => true,
                () = tokio::time::sleep(extra) => false,
            }
        } else {
            ticks.tick().await;
            true
        };
        let outcome = match &question {
            Ok(question) => question.ask(&runtime, &wanted.id, timeout).await,
            Err(error) => Outcome::Errored(error.clone()),
        };
        if !regular {
            extra *= 2;
            if !outcome.is_success() {
                continue;
            }
        }
        if let Some(event) = event(wanted.kind, &outcome) {
            tell(event).await;
        }
        if let Some(verdict) = tally.count(outcome.is_success()) {
            tell(Word::Verdict(verdict)).await;
        }
    }
}

async fn wait_initially(wanted: &WantedProbe, now: Timestamp) {
    let delay = SignedDuration::from_secs(wanted.probe.initial_delay_seconds.unwrap_or_default().into());
    let left = (wanted.started_at + delay).duration_since(now);
    if let Ok(left) = Duration::try_from(left) {
        tokio::time::sleep(left).await;
    }
}

fn event(kind: ProbeKind, outcome: &Outcome) -> Option<Word> {
    let (reason, message) = match outcome {
        Outcome::Success => return None,
        Outcome::Warning(text) => ("ProbeWarning", format!("{kind:?} probe warning: {text}")),
        Outcome::Failure(text) => ("Unhealthy", format!("{kind:?} probe failed: {text}")),
        Outcome::Errored(text) => {
            ("Unhealthy", format!("{kind:?} probe errored and resulted in unknown state: {text}"))
        }
    };
    Some(Word::Event { reason, message })
}
