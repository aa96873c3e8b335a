//! A priority level: seats, and queues for those who wait for one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

/// How long anybody waits for a seat: a quarter of the longest request, as upstream has it.
const PATIENCE: Duration = Duration::from_secs(15);
const DEFAULT_SHARES: u64 = 30;

/// How many may sit and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All may sit.
    Exempt,
    /// So many seats.
    Limited {
        /// Seats.
        seats: u64,
        /// Queues, and how long each may be; none where who finds no seat is sent away.
        queues: Option<(u64, usize)>,
    },
}

/// A level's share of all seats; nothing where it needs none.
pub fn shares(level: &Value) -> u64 {
    match level["spec"]["type"].as_str() {
        Some("Exempt") => level["spec"]["exempt"]["nominalConcurrencyShares"].as_u64().unwrap_or(0),
        _ => level["spec"]["limited"]["nominalConcurrencyShares"].as_u64().unwrap_or(DEFAULT_SHARES),
    }
}

impl Shape {
    /// The shape of a level that has its share of `total` shares in `all` seats.
    pub fn of(level: &Value, all: u64, total: u64) -> Self {
        if level["spec"]["type"] == "Exempt" {
            return Self::Exempt;
        }
        let response = &level["spec"]["limited"]["limitResponse"];
        let queuing = &response["queuing"];
        let queues = (response["type"] == "Queue").then(|| {
            let length = queuing["queueLengthLimit"].as_u64().unwrap_or(50);
            (queuing["queues"].as_u64().unwrap_or(64).max(1), usize::try_from(length).unwrap_or(usize::MAX))
        });
        Self::Limited { seats: (all * shares(level)).div_ceil(total.max(1)).max(1), queues }
    }
}

/// See the module.
pub struct Level {
    /// The object's uid.
    pub uid: String,
    state: Mutex<State>,
}

struct State {
    shape: Shape,
    taken: u64,
    /// Who waits, by queue; no queue is empty.
    waiting: BTreeMap<u64, VecDeque<oneshot::Sender<Seat>>>,
    /// The queue that had its turn last.
    last: u64,
}

/// Everybody sits, and enough wait.
#[derive(Debug)]
pub struct Refused;

impl Level {
    /// An empty level.
    pub fn new(uid: &str, shape: Shape) -> Self {
        let state = State { shape, taken: 0, waiting: BTreeMap::new(), last: 0 };
        Self { uid: uid.to_owned(), state: Mutex::new(state) }
    }

    /// Changes how many may sit and wait. Who sits or waits already may go on.
    pub fn reshape(&self, shape: Shape) {
        self.state.lock().shape = shape;
    }

    /// A seat, waited for where that is possible.
    pub async fn seat(self: &Arc<Self>, flow: u64) -> Result<Seat, Refused> {
        let waiting = {
            let mut state = self.state.lock();
            match state.shape {
                Shape::Exempt => None,
                Shape::Limited { seats, .. } if state.taken < seats => None,
                Shape::Limited { queues: None, .. } => return Err(Refused),
                Shape::Limited { queues: Some((queues, length)), .. } => {
                    let queue = state.waiting.entry(flow % queues).or_default();
                    queue.retain(|waiting| !waiting.is_closed());
                    if queue.len() >= length {
                        return Err(Refused);
                    }
                    let (sender, receiver) = oneshot::channel();
                    queue.push_back(sender);
                    Some(receiver)
                }
            }
            .or_else(|| {
                state.taken += 1;
                None
            })
        };
        match waiting {
            None => Ok(Seat(Some(self.clone()))),
            // A seat that comes too late is dropped with the channel, and so passed on.
            Some(receiver) => match tokio::time::timeout(PATIENCE, receiver).await {
                Ok(Ok(seat)) => Ok(seat),
                _ => Err(Refused),
            },
        }
    }

    /// Gives a seat that is free now to the next queue in turn.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                match state.next() {
                    Some(next) => next,
                    None => {
                        state.taken -= 1;
                        return;
                    }
                }
            };
            match next.send(Seat(Some(self.clone()))) {
                Ok(()) => return,
                // Nobody waits there any more; the seat is still to be given.
                Err(mut seat) => seat.0 = None,
            }
        }
    }
}

impl State {
    /// Who is next: the first of the queue after the one that was last. Nobody, where there are fewer seats than there
    /// were.
    fn next(&mut self) -> Option<oneshot::Sender<Seat>> {
        if matches!(self.shape, Shape::Limited { seats, .. } if self.taken > seats) {
            return None;
        }
        loop {
            let after = self.waiting.range(self.last.saturating_add(1)..).next();
            let queue = *after.or_else(|| self.waiting.iter().next())?.0;
            self.last = queue;
            let waiting = self.waiting.get_mut(&queue)?;
            let next = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting.remove(&queue);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

/// A seat; whoever lets go of it gives it to the next.
pub struct Seat(Option<Arc<Level>>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(level) = self.0.take() {
            level.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn level(seats: u64, queues: Option<(u64, usize)>) -> Arc<Level> {
        Arc::new(Level::new("u", Shape::Limited { seats, queues }))
    }

    #[tokio::test]
    async fn queues_take_turns_and_are_not_longer_than_they_may_be() {
        let level = level(1, Some((8, 2)));
        let seat = level.seat(1).await.unwrap();
        let mut flood: Vec<_> = (0..2).map(|_| Box::pin(level.seat(1))).collect();
        assert!(flood.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert!(level.seat(1).await.is_err(), "the flood's queue is full");
        let mut other = Box::pin(level.seat(2));
        assert!((&mut other).now_or_never().is_none());
        drop(seat);
        // The flood's first was there before, then it is the other's turn.
        let other_seat = (&mut other).now_or_never();
        let first_seat = (&mut flood[0]).now_or_never();
        assert!(other_seat.is_some() ^ first_seat.is_some(), "one seat, one guest");
        drop((other_seat, first_seat));
        assert!(level.state.lock().taken == 1);
    }

    #[tokio::test]
    async fn a_seat_is_not_lost_with_who_waited_for_it() {
        let level = level(1, Some((8, 10)));
        let seat = level.seat(1).await.unwrap();
        let mut gone = Box::pin(level.seat(2));
        assert!((&mut gone).now_or_never().is_none());
        let mut patient = Box::pin(level.seat(3));
        assert!((&mut patient).now_or_never().is_none());
        drop(seat);
        // It was given to the first, who leaves without having looked.
        drop(gone);
        drop(patient.await.unwrap());
        assert_eq!(level.state.lock().taken, 0);
        let full = self::level(1, None);
        let _seat = full.seat(1).await.unwrap();
        assert!(full.seat(1).await.is_err());
    }
}
