//! nf_tables over nfnetlink, as far as service load balancing needs it: no helper binary, one transaction a change.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::netlink::{APPEND, Attributes, CREATE, Error, Family, Message, Socket, attribute, attributes, text};

const NFPROTO_IPV4: u8 = 2;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// Elements of one message stay below the 64 KiB that an attribute can hold.
const ELEMENTS_PER_MESSAGE: usize = 400;

const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = NEW_TABLE | 1;
const DEL_TABLE: u16 = NEW_TABLE | 2;
const NEW_CHAIN: u16 = NEW_TABLE | 3;
const DEL_CHAIN: u16 = NEW_TABLE | 5;
const NEW_RULE: u16 = NEW_TABLE | 6;
const GET_RULE: u16 = NEW_TABLE | 7;
const DEL_RULE: u16 = NEW_TABLE | 8;
const NEW_SET: u16 = NEW_TABLE | 9;
const NEW_ELEMENT: u16 = NEW_TABLE | 12;
const GET_ELEMENT: u16 = NEW_TABLE | 13;
const DEL_ELEMENT: u16 = NEW_TABLE | 14;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENTS_SET_ID: u16 = 4;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

const FLAG_ANONYMOUS: u32 = 1;
const FLAG_CONSTANT: u32 = 2;
const FLAG_MAP: u32 = 8;
const TYPE_VERDICT: u32 = 0xffff_ff00;
const TYPE_INTEGER: u32 = 4;
const TYPE_IPV4: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;

const VERDICT_REGISTER: u32 = 0;
const NFT_GOTO: i32 = -4;
const NFT_JUMP: i32 = -3;
const NF_ACCEPT: i32 = 1;

/// The hooks of the IPv4 packet path, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainType {
    Filter,
    Nat,
}

/// A register: the four 16-byte ones, whose words have numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    /// The first word of the first register.
    pub const FIRST: Self = Self(1);
    /// The second word of the first register.
    pub const SECOND: Self = Self(9);
    /// The third word of the first register.
    pub const THIRD: Self = Self(10);
}

/// A field of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    SourceAddress,
    DestinationAddress,
    DestinationPort,
}

/// One step of a rule.
#[derive(Debug, Clone)]
pub enum Expression {
    /// Loads a packet field.
    Load { field: Field, into: Register },
    /// Loads the transport protocol's number.
    LoadProtocol { into: Register },
    /// Loads the outgoing device's index.
    LoadOutputDevice { into: Register },
    /// Loads the connection's state bits.
    LoadConnectionState { into: Register },
    /// Keeps the bits of `mask`.
    Mask { register: Register, mask: Vec<u8> },
    /// Goes on only if the register equals `value`.
    Equal { register: Register, value: Vec<u8> },
    /// Goes on only if the register differs from `value`.
    Differ { register: Register, value: Vec<u8> },
    /// Goes on only if the set holds the key.
    Contained { set: String, key: Register },
    /// Follows the verdict that the map holds for the key, if any.
    VerdictOf { map: String, key: Register },
    /// Replaces a key by its value of the anonymous map of this transaction.
    Translate { map_id: u32, key: Register, into: Register },
    /// A random number below `modulus`.
    Random { modulus: u32, into: Register },
    /// A number below `modulus` that depends on four bytes only.
    Hash { of: Register, modulus: u32, seed: u32, into: Register },
    /// Puts constant bytes into a register.
    Constant { into: Register, value: Vec<u8> },
    /// Rewrites the destination to address and port.
    DestinationNat { address: Register, port: Register },
    /// Rewrites the source address.
    SourceNat { address: Register },
    /// Answers with a TCP reset.
    RejectReset,
    /// Answers with an ICMP "unreachable" of this code.
    RejectUnreachable { code: u8 },
    /// Continues in another chain and comes back.
    Jump { chain: String },
    /// Lets the packet pass.
    Accept,
}

/// A key of a set: its parts, each padded to whole words as the kernel has them in registers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// address . protocol . port
    pub fn service(address: Ipv4Addr, protocol: u8, port: u16) -> Self {
        let port = port.to_be_bytes();
        Self([&address.octets()[..], &[protocol, 0, 0, 0], &port, &[0, 0]].concat())
    }

    /// protocol . port
    pub fn port(protocol: u8, port: u16) -> Self {
        let port = port.to_be_bytes();
        Self(vec![protocol, 0, 0, 0, port[0], port[1], 0, 0])
    }

    /// address . address
    pub fn pair(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self([source.octets(), destination.octets()].concat())
    }
}

/// What the keys of a named set are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// [`Key::service`]
    Service,
    /// [`Key::port`]
    Port,
    /// [`Key::pair`]
    Pair,
}

impl KeyType {
    /// The number that userspace lists a concatenation under: six bits a part.
    fn number(self) -> u32 {
        match self {
            Self::Service => (TYPE_IPV4 << 12) | (TYPE_PROTOCOL << 6) | TYPE_PORT,
            Self::Port => (TYPE_PROTOCOL << 6) | TYPE_PORT,
            Self::Pair => (TYPE_IPV4 << 6) | TYPE_IPV4,
        }
    }

    fn length_bytes(self) -> u32 {
        match self {
            Self::Service => 12,
            Self::Port | Self::Pair => 8,
        }
    }
}

/// Changes to one table that take effect together or not at all.
#[derive(Debug)]
pub struct Transaction {
    table: String,
    messages: Vec<Message>,
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

fn target_bytes(target: SocketAddrV4) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (target.ip().octets(), target.port().to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

fn put_value(attributes: &mut Attributes, kind: u16, value: &[u8]) {
    attributes.nest(kind, |data| {
        data.put(DATA_VALUE, value);
    });
}

fn put_verdict(attributes: &mut Attributes, code: i32, chain: Option<&str>) {
    attributes.nest(DATA_VERDICT, |verdict| {
        verdict.put_be32(VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict.put_str(VERDICT_CHAIN, chain);
        }
    });
}

fn write_expression(expression: &Expression, element: &mut Attributes) {
    let mut data = Attributes::default();
    let name = expression_data(expression, &mut data);
    element.put_str(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, |inner| *inner = data);
}

/// The kernel's name for the expression, with its attributes written to `data`.
fn expression_data(expression: &Expression, data: &mut Attributes) -> &'static str {
    match expression {
        Expression::Load { field, into } => {
            let (base, offset, length) = match field {
                Field::SourceAddress => (1, 12, 4),
                Field::DestinationAddress => (1, 16, 4),
                Field::DestinationPort => (2, 2, 2),
            };
            data.put_be32(1, into.0).put_be32(2, base).put_be32(3, offset).put_be32(4, length);
            "payload"
        }
        Expression::LoadProtocol { into } => {
            data.put_be32(1, into.0).put_be32(2, 16);
            "meta"
        }
        Expression::LoadOutputDevice { into } => {
            data.put_be32(1, into.0).put_be32(2, 5);
            "meta"
        }
        Expression::LoadConnectionState { into } => {
            data.put_be32(1, into.0).put_be32(2, 0);
            "ct"
        }
        Expression::Mask { register, mask } => {
            data.put_be32(1, register.0).put_be32(2, register.0).put_be32(3, mask.len() as u32);
            put_value(data, 4, mask);
            put_value(data, 5, &vec![0; mask.len()]);
            "bitwise"
        }
        Expression::Equal { register, value } => compare(data, *register, 0, value),
        Expression::Differ { register, value } => compare(data, *register, 1, value),
        Expression::Contained { set, key } => {
            data.put_str(1, set).put_be32(2, key.0);
            "lookup"
        }
        Expression::VerdictOf { map, key } => {
            data.put_str(1, map).put_be32(2, key.0).put_be32(3, VERDICT_REGISTER);
            "lookup"
        }
        Expression::Translate { map_id, key, into } => {
            data.put_str(1, "__map%d").put_be32(2, key.0).put_be32(3, into.0).put_be32(4, *map_id);
            "lookup"
        }
        Expression::Random { modulus, into } => {
            data.put_be32(1, into.0).put_be32(2, *modulus).put_be32(3, 1);
            "numgen"
        }
        Expression::Hash { of, modulus, seed, into } => {
            data.put_be32(1, of.0).put_be32(2, into.0).put_be32(3, 4).put_be32(4, *modulus).put_be32(5, *seed);
            "hash"
        }
        Expression::Constant { into, value } => {
            data.put_be32(1, into.0);
            put_value(data, 2, value);
            "immediate"
        }
        Expression::DestinationNat { address, port } => {
            data.put_be32(1, 1).put_be32(2, u32::from(NFPROTO_IPV4)).put_be32(3, address.0).put_be32(5, port.0);
            "nat"
        }
        Expression::SourceNat { address } => {
            data.put_be32(1, 0).put_be32(2, u32::from(NFPROTO_IPV4)).put_be32(3, address.0);
            "nat"
        }
        Expression::RejectReset => {
            data.put_be32(1, 1);
            "reject"
        }
        Expression::RejectUnreachable { code } => {
            data.put_be32(1, 0).put(2, &[*code]);
            "reject"
        }
        Expression::Jump { chain } => verdict(data, NFT_JUMP, Some(chain)),
        Expression::Accept => verdict(data, NF_ACCEPT, None),
    }
}

fn compare(data: &mut Attributes, register: Register, operation: u32, value: &[u8]) -> &'static str {
    data.put_be32(1, register.0).put_be32(2, operation);
    put_value(data, 3, value);
    "cmp"
}

fn verdict(data: &mut Attributes, code: i32, chain: Option<&str>) -> &'static str {
    data.put_be32(1, VERDICT_REGISTER).nest(2, |value| put_verdict(value, code, chain));
    "immediate"
}

/// struct nfgenmsg.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
