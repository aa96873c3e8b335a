//! A small memory of what the host's resolvers answered.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
};

const ENTRIES: usize = 2048;
/// Never longer than this, whatever the answer says: a wrong answer should not stay.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Entry {
    message: Message,
    stored: Instant,
    keep: Duration,
}

/// Answers by lower-case name and type.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<(Name, RecordType), Entry>);

impl Cache {
    /// An answer that still holds, its times to live shortened by its age.
    pub(crate) fn get(&self, name: &Name, kind: RecordType, now: Instant) -> Option<Message> {
        let entry = self.0.get(&(name.to_lowercase(), kind))?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.keep {
            return None;
        }
        let mut message = entry.message.clone();
        let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.decrement_ttl(age_s);
        }
        Some(message)
    }

    /// Remembers an answer, if it says for how long.
    pub(crate) fn put(&mut self, name: &Name, kind: RecordType, message: &Message, now: Instant) {
        let Some(keep) = lifetime(message) else { return };
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, entry| now.saturating_duration_since(entry.stored) < entry.keep);
        }
        if self.0.len() < ENTRIES {
            self.0.insert((name.to_lowercase(), kind), Entry { message: message.clone(), stored: now, keep });
        }
    }
}

/// As RFC 2308 has it: an answer lives as long as its shortest record, a missing one as its SOA record says.
fn lifetime(message: &Message) -> Option<Duration> {
    if message.metadata.truncation {
        return None;
    }
    let seconds = match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => message.answers.iter().map(|it| it.ttl).min(),
        ResponseCode::NoError | ResponseCode::NXDomain => message.authorities.iter().find_map(|it| match &it.data {
            RData::SOA(soa) => Some(it.ttl.min(soa.minimum)),
            _ => None,
        }),
        _ => None,
    }?;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::OpCode,
        rr::{Record, rdata::A},
    };

    use super::*;

    #[test]
    fn answers_age_and_go() {
        let name = Name::from_ascii("Example.org.").unwrap();
        let mut message = Message::response(1, OpCode::Query);
        message.add_answer(Record::from_rdata(name.clone(), 20, RData::A(A::new(192, 0, 2, 1))));
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.put(&name, RecordType::A, &message, start);
        let later = |seconds| cache.get(&name.to_lowercase(), RecordType::A, start + Duration::from_secs(seconds));
        assert_eq!(later(5).map(|found| found.answers[0].ttl), Some(15));
        assert_eq!(later(20), None);
        assert_eq!(cache.get(&name, RecordType::AAAA, start), None);
    }

    #[test]
    fn failures_are_not_kept() {
        let name = Name::from_ascii("example.org.").unwrap();
        let mut cache = Cache::default();
        let message = Message::error_msg(1, OpCode::Query, ResponseCode::ServFail);
        cache.put(&name, RecordType::A, &message, Instant::now());
        assert!(cache.0.is_empty());
    }
}
