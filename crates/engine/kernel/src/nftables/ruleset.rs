//! The rules of one namespace: changed by transactions, listed as the kernel has them.

use super::{
    Key, Transaction,
    wire::{
        BATCH_BEGIN, BATCH_END, DATA_VALUE, DATA_VERDICT, ELEMENT_DATA, ELEMENT_KEY, ELEMENTS_LIST, ELEMENTS_SET,
        ELEMENTS_TABLE, GET_ELEMENT, GET_RULE, GET_TABLE, NFPROTO_IPV4, RULE_CHAIN, RULE_TABLE, RULE_USERDATA,
        SUBSYSTEM, TABLE_NAME, TABLE_USERDATA, VERDICT_CHAIN, header,
    },
};
use crate::netlink::{Error, Family, Message, Socket, attribute, attributes, text};

/// A rule as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRule {
    pub chain: String,
    pub userdata: Vec<u8>,
}

/// An element of a verdict map as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedElement {
    pub key: Key,
    pub chain: String,
}

/// The rules of one namespace.
#[derive(Debug)]
pub struct Ruleset {
    socket: Socket,
}

impl Ruleset {
    /// Opens the rules of the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Family::Netfilter)? })
    }

    /// The socket, for the connection table of the same namespace.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Puts all changes into effect at once.
    pub fn commit(&mut self, transaction: Transaction) -> Result<(), Error> {
        let frame = header(0, SUBSYSTEM);
        let begin = Message::new("begin transaction", BATCH_BEGIN, 0, &frame);
        let end = Message::new("end transaction", BATCH_END, 0, &frame);
        self.socket.transaction(&begin, &transaction.messages, &end)
    }

    /// The userdata of a table; `None` when there is no such table.
    pub fn table(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let message =
            Message::new(format!("look up table {name}"), GET_TABLE, 0, &header(NFPROTO_IPV4, 0)).with(|table| {
                table.put_str(TABLE_NAME, name);
            });
        let found = self.socket.get(&message)?;
        Ok(found.map(|payload| attribute(&payload[4..], TABLE_USERDATA).unwrap_or_default().to_vec()))
    }

    /// All rules of a table.
    pub fn rules(&mut self, table: &str) -> Result<Vec<ListedRule>, Error> {
        let message =
            Message::new(format!("list rules of {table}"), GET_RULE, 0, &header(NFPROTO_IPV4, 0)).with(|rule| {
                rule.put_str(RULE_TABLE, table);
            });
        let mut rules = Vec::new();
        self.socket.dump(&message, |payload| {
            let of = |kind| attribute(payload.get(4..).unwrap_or_default(), kind);
            if of(RULE_TABLE).map(text).as_deref() == Some(table) {
                let userdata = of(RULE_USERDATA).unwrap_or_default().to_vec();
                rules.extend(of(RULE_CHAIN).map(|chain| ListedRule { chain: text(chain), userdata }));
            }
        })?;
        Ok(rules)
    }

    /// All keys of a set.
    pub fn keys(&mut self, table: &str, set: &str) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        self.dump_elements(table, set, |element| keys.extend(element_key(element)))?;
        Ok(keys)
    }

    /// All elements of a verdict map.
    pub fn gotos(&mut self, table: &str, map: &str) -> Result<Vec<ListedElement>, Error> {
        let mut elements = Vec::new();
        self.dump_elements(table, map, |element| {
            let chain = attribute(element, ELEMENT_DATA)
                .and_then(|data| attribute(data, DATA_VERDICT))
                .and_then(|verdict| attribute(verdict, VERDICT_CHAIN))
                .map(text);
            elements.extend(element_key(element).zip(chain).map(|(key, chain)| ListedElement { key, chain }));
        })?;
        Ok(elements)
    }

    fn dump_elements(&mut self, table: &str, set: &str, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let message =
            Message::new(format!("list elements of {set}"), GET_ELEMENT, 0, &header(NFPROTO_IPV4, 0)).with(|list| {
                list.put_str(ELEMENTS_TABLE, table).put_str(ELEMENTS_SET, set);
            });
        self.socket.dump(&message, |payload| {
            let list = attribute(payload.get(4..).unwrap_or_default(), ELEMENTS_LIST).unwrap_or_default();
            attributes(list).for_each(|(_, element)| each(element));
        })
    }
}

fn element_key(element: &[u8]) -> Option<Key> {
    let value = attribute(element, ELEMENT_KEY).and_then(|key| attribute(key, DATA_VALUE))?;
    Some(Key(value.to_vec()))
}
