//! Changes that take effect together or not at all.

use std::net::SocketAddrV4;

use super::{
    ChainType, Expression, Hook, Key, KeyType,
    expression::write_expression,
    wire::{
        CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, DEL_CHAIN, DEL_ELEMENT, DEL_RULE, DEL_TABLE,
        ELEMENT_DATA, ELEMENT_KEY, ELEMENTS_LIST, ELEMENTS_PER_MESSAGE, ELEMENTS_SET, ELEMENTS_SET_ID, ELEMENTS_TABLE,
        FLAG_ANONYMOUS, FLAG_CONSTANT, FLAG_MAP, HOOK_NUMBER, HOOK_PRIORITY, LIST_ELEMENT, NEW_CHAIN, NEW_ELEMENT,
        NEW_RULE, NEW_SET, NEW_TABLE, NF_ACCEPT, NFPROTO_IPV4, NFT_GOTO, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
        RULE_USERDATA, SET_DATA_LENGTH, SET_DATA_TYPE, SET_FLAGS, SET_ID, SET_KEY_LENGTH, SET_KEY_TYPE, SET_NAME,
        SET_TABLE, SET_USERDATA, TABLE_NAME, TABLE_USERDATA, TYPE_INTEGER, TYPE_IPV4, TYPE_PORT, TYPE_VERDICT, header,
        put_value, put_verdict,
    },
};
use crate::netlink::{APPEND, Attributes, CREATE, Message};

/// Changes to one table that take effect together or not at all.
#[derive(Debug)]
pub struct Transaction {
    table: String,
    pub(super) messages: Vec<Message>,
    next_set_id: u32,
}

impl Transaction {
    /// An empty transaction on `table` of the IPv4 family.
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), messages: Vec::new(), next_set_id: 1 }
    }

    /// Whether nothing would be changed.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Makes the table; `userdata` (at most 256 bytes) comes back from [`Ruleset::table`].
    pub fn add_table(&mut self, userdata: &[u8]) {
        let name = self.table.clone();
        self.push("add table", NEW_TABLE, CREATE, |table| {
            table.put_str(TABLE_NAME, &name).put(TABLE_USERDATA, userdata);
        });
    }

    /// Removes the table with everything in it.
    pub fn delete_table(&mut self) {
        let name = self.table.clone();
        self.push("delete table", DEL_TABLE, 0, |table| {
            table.put_str(TABLE_NAME, &name);
        });
    }

    /// Makes a chain that only rules and maps lead to.
    pub fn add_chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.push(format!("add chain {name}"), NEW_CHAIN, CREATE, |chain| {
            chain.put_str(CHAIN_TABLE, &table).put_str(CHAIN_NAME, name);
        });
    }

    /// Makes a chain that the packet path leads to.
    pub fn add_base_chain(&mut self, name: &str, kind: ChainType, hook: Hook, priority: i32) {
        let table = self.table.clone();
        let kind = match kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        };
        self.push(format!("add chain {name}"), NEW_CHAIN, CREATE, |chain| {
            chain
                .put_str(CHAIN_TABLE, &table)
                .put_str(CHAIN_NAME, name)
                .nest(CHAIN_HOOK, |hook_attributes| {
                    hook_attributes
                        .put_be32(HOOK_NUMBER, hook as u32)
                        .put_be32(HOOK_PRIORITY, priority.cast_unsigned());
                })
                .put_be32(CHAIN_POLICY, NF_ACCEPT.cast_unsigned())
                .put_str(CHAIN_TYPE, kind);
        });
    }

    /// Removes a chain; it must be empty, and nothing may lead to it any more.
    pub fn delete_chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.push(format!("delete chain {name}"), DEL_CHAIN, 0, |chain| {
            chain.put_str(CHAIN_TABLE, &table).put_str(CHAIN_NAME, name);
        });
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.push(format!("flush chain {name}"), DEL_RULE, 0, |rule| {
            rule.put_str(RULE_TABLE, &table).put_str(RULE_CHAIN, name);
        });
    }

    /// Appends a rule; `userdata` (at most 256 bytes) comes back from [`Ruleset::rules`].
    pub fn add_rule(&mut self, chain: &str, userdata: &[u8], expressions: &[Expression]) {
        let table = self.table.clone();
        self.push(format!("add rule to {chain}"), NEW_RULE, CREATE | APPEND, |rule| {
            rule.put_str(RULE_TABLE, &table).put_str(RULE_CHAIN, chain).nest(RULE_EXPRESSIONS, |list| {
                for expression in expressions {
                    list.nest(LIST_ELEMENT, |element| write_expression(expression, element));
                }
            });
            if !userdata.is_empty() {
                rule.put(RULE_USERDATA, userdata);
            }
        });
    }

    /// Makes a named set.
    pub fn add_set(&mut self, name: &str, key: KeyType) {
        self.add_named(name, key, 0, |_| {});
    }

    /// Makes a named map from keys to verdicts.
    pub fn add_verdict_map(&mut self, name: &str, key: KeyType) {
        self.add_named(name, key, FLAG_MAP, |set| {
            set.put_be32(SET_DATA_TYPE, TYPE_VERDICT);
        });
    }

    fn add_named(&mut self, name: &str, key: KeyType, flags: u32, more: impl FnOnce(&mut Attributes)) {
        let (table, id) = (self.table.clone(), self.take_set_id());
        self.push(format!("add set {name}"), NEW_SET, CREATE, |set| {
            set.put_str(SET_TABLE, &table)
                .put_str(SET_NAME, name)
                .put_be32(SET_FLAGS, flags)
                .put_be32(SET_KEY_TYPE, key.number())
                .put_be32(SET_KEY_LENGTH, key.length_bytes())
                .put_be32(SET_ID, id);
            more(set);
        });
    }

    /// Makes an anonymous map from 0, 1, 2, ... to the `targets`, and returns the id by which a rule of this
    /// transaction uses it. It goes away with that rule.
    pub fn add_targets(&mut self, targets: &[SocketAddrV4]) -> u32 {
        let (table, id) = (self.table.clone(), self.take_set_id());
        // Tells listing programs that keys are in the machine's byte order and values in the network's.
        let mut byte_orders = Vec::new();
        for (kind, order) in [(0u8, 1u32), (1, 2)] {
            byte_orders.extend_from_slice(&[kind, 4]);
            byte_orders.extend_from_slice(&order.to_ne_bytes());
        }
        self.push("add endpoints", NEW_SET, CREATE, |set| {
            set.put_str(SET_TABLE, &table)
                .put_str(SET_NAME, "__map%d")
                .put_be32(SET_FLAGS, FLAG_ANONYMOUS | FLAG_CONSTANT | FLAG_MAP)
                .put_be32(SET_KEY_TYPE, TYPE_INTEGER)
                .put_be32(SET_KEY_LENGTH, 4)
                .put_be32(SET_DATA_TYPE, (TYPE_IPV4 << 6) | TYPE_PORT)
                .put_be32(SET_DATA_LENGTH, 8)
                .put_be32(SET_ID, id)
                .put(SET_USERDATA, &byte_orders);
        });
        let indexed: Vec<_> = (0u32..).zip(targets).collect();
        for part in indexed.chunks(ELEMENTS_PER_MESSAGE) {
            self.push("add endpoints", NEW_ELEMENT, CREATE, |message| {
                message.put_str(ELEMENTS_TABLE, &table).put_str(ELEMENTS_SET, "__map%d").put_be32(ELEMENTS_SET_ID, id);
                message.nest(ELEMENTS_LIST, |list| {
                    for (index, target) in part {
                        list.nest(LIST_ELEMENT, |element| {
                            put_value(element, ELEMENT_KEY, &index.to_ne_bytes());
                            put_value(element, ELEMENT_DATA, &target_bytes(**target));
                        });
                    }
                });
            });
        }
        id
    }

    /// Adds keys to a named set.
    pub fn add_keys(&mut self, set: &str, keys: &[Key]) {
        self.elements(NEW_ELEMENT, CREATE, set, keys, |_| {});
    }

    /// Adds keys to a named verdict map that lead to `chain`.
    pub fn add_gotos(&mut self, map: &str, keys: &[Key], chain: &str) {
        self.elements(NEW_ELEMENT, CREATE, map, keys, |element| {
            element.nest(ELEMENT_DATA, |data| put_verdict(data, NFT_GOTO, Some(chain)));
        });
    }

    /// Removes keys from a named set or map.
    pub fn delete_keys(&mut self, set: &str, keys: &[Key]) {
        self.elements(DEL_ELEMENT, 0, set, keys, |_| {});
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, keys: &[Key], more: impl Fn(&mut Attributes)) {
        let table = self.table.clone();
        for part in keys.chunks(ELEMENTS_PER_MESSAGE / 2) {
            self.push(format!("change elements of {set}"), kind, flags, |message| {
                message.put_str(ELEMENTS_TABLE, &table).put_str(ELEMENTS_SET, set).nest(ELEMENTS_LIST, |list| {
                    for key in part {
                        list.nest(LIST_ELEMENT, |element| {
                            put_value(element, ELEMENT_KEY, &key.0);
                            more(element);
                        });
                    }
                });
            });
        }
    }

    fn take_set_id(&mut self) -> u32 {
        self.next_set_id += 1;
        self.next_set_id
    }

    fn push(&mut self, request: impl Into<String>, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes)) {
        self.messages.push(Message::new(request, kind, flags, &header(NFPROTO_IPV4, 0)).with(fill));
    }
}

fn target_bytes(target: SocketAddrV4) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (target.ip().octets(), target.port().to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}
