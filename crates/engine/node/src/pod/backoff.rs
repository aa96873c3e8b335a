//! Crash back-off as the kubelet counts it: the first restart is immediate, then 10 s, doubled to 5 min; a container that ran
//! for more than twice the longest delay starts again from nothing.

use jiff::{SignedDuration, Timestamp};

/// The delay after the second end.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// How often something failed lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff(Option<Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// Until when to wait after an end at `finished`; `None` where there is nothing to wait for.
    pub fn until(&self, finished: Timestamp, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let entry = self.0?;
        if finished.duration_since(entry.updated) > LONGEST * 2 {
            return None;
        }
        let until = finished + entry.delay;
        (now < until).then_some((until, entry.delay))
    }

    /// Counts one more try, because of an end at `finished`.
    pub fn next(&mut self, finished: Timestamp, now: Timestamp) {
        let delay = match self.0 {
            Some(entry) if finished.duration_since(entry.updated) <= LONGEST * 2 => (entry.delay * 2).min(LONGEST),
            _ => INITIAL,
        };
        self.0 = Some(Entry { delay, updated: now });
    }
}

/// A whole number of seconds as Go prints a duration: `1m20s`.
pub fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use jiff::{SignedDuration, Timestamp};

    use super::{Backoff, go_duration};

    #[test]
    fn delays_double_up_to_five_minutes_and_are_forgotten_after_a_good_run() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut backoff = Backoff::default();
        let mut shown = Vec::new();
        for run_s in [1, 1, 1, 1, 1, 1, 1, 1, 700, 1] {
            now += SignedDuration::from_secs(run_s);
            let finished = now;
            let delay = backoff.until(finished, now).map(|(until, delay)| {
                now = until;
                go_duration(delay)
            });
            backoff.next(finished, now);
            shown.push(delay.unwrap_or("at once".into()));
        }
        expect!["at once 10s 20s 40s 1m20s 2m40s 5m0s 5m0s at once 10s"].assert_eq(&shown.join(" "));
    }
}
