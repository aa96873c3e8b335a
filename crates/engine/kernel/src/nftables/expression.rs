//! The steps of a rule, and how the kernel wants them written.

use super::wire::{
    EXPRESSION_DATA, EXPRESSION_NAME, NF_ACCEPT, NFPROTO_IPV4, NFT_JUMP, VERDICT_REGISTER, put_value, put_verdict,
};
use crate::netlink::Attributes;

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

pub(super) fn write_expression(expression: &Expression, element: &mut Attributes) {
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
