//! Events are news, not archives: an hour after they last happened they are forgotten, as upstream forgets them; and so are
//! bootstrap tokens that are over.

use std::time::Duration;

use coracle_store::{Change, Expect, Snapshot};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{authn::bootstrap, server::Server};

const PREFIX: &str = "/core/events/";
const LIFE: SignedDuration = SignedDuration::from_hours(1);
const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);

/// Forgets events and tokens from time to time, until the server stops.
pub fn start(server: &Server) {
    let server = server.clone();
    coracle_tasks::spawn("event-expiry", async move {
        loop {
            tokio::select! {
                () = server.shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let (snapshot, now) = (server.store.snapshot(), server.clock.now());
            for change in expired(&snapshot, now).into_iter().chain(bootstrap::expired(&snapshot, now)) {
                // An event that happened again in between stays.
                let _forgotten = server.store.commit(vec![change]).await;
            }
        }
    });
}

/// The deletions of what is too old at `now`.
fn expired(snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
    let records = snapshot.list(PREFIX).filter(|record| {
        let event: Value = serde_json::from_slice(record.value_bytes()).unwrap_or_default();
        last_seen(&event).is_some_and(|seen| now.duration_since(seen) > LIFE)
    });
    records.map(|record| Change::delete(record.key(), Expect::Revision(record.revision()), None)).collect()
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let moments = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    moments.into_iter().filter_map(|moment| moment.as_str()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use coracle_store::{Meta, Store};
    use serde_json::json;

    use super::*;
    use crate::object;

    #[tokio::test]
    async fn old_events_go_and_recurring_ones_stay() {
        let store = Store::in_memory();
        for (name, last) in [("old", "2026-01-01T00:00:00Z"), ("again", "2026-01-01T01:30:00Z")] {
            let event =
                json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": last});
            let change = Change::create(format!("{PREFIX}default/{name}"), Meta::default(), object::encode(&event));
            store.commit(vec![change]).await.unwrap();
        }
        let gone = expired(&store.snapshot(), "2026-01-01T02:00:00Z".parse().unwrap());
        assert_eq!(gone.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["/core/events/default/old"]);
        store.commit(gone).await.unwrap();
        assert_eq!(store.snapshot().count(PREFIX), 1);
    }

    #[tokio::test]
    async fn a_clock_that_went_back_makes_nothing_old() {
        let store = Store::in_memory();
        let event = json!({"metadata": {"name": "a"}, "lastTimestamp": "2026-06-01T00:00:00Z"});
        let change = Change::create(format!("{PREFIX}default/a"), Meta::default(), object::encode(&event));
        store.commit(vec![change]).await.unwrap();
        let gone_at = |now: &str| expired(&store.snapshot(), now.parse().unwrap()).len();
        let (a_year_before, an_hour_after, a_year_after) =
            ("2025-06-01T00:00:00Z", "2026-06-01T01:00:00Z", "2027-06-01T00:00:00Z");
        assert_eq!([a_year_before, an_hour_after, a_year_after].map(gone_at), [0, 0, 1]);
    }
}
