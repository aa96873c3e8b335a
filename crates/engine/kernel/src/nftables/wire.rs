//! The numbers of nfnetlink's nf_tables messages, and the pieces that several of them share.

use crate::netlink::Attributes;

pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;
/// Elements of one message stay below the 64 KiB that an attribute can hold.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 400;

pub(super) const NEW_TABLE: u16 = SUBSYSTEM << 8;
pub(super) const GET_TABLE: u16 = NEW_TABLE | 1;
pub(super) const DEL_TABLE: u16 = NEW_TABLE | 2;
pub(super) const NEW_CHAIN: u16 = NEW_TABLE | 3;
pub(super) const DEL_CHAIN: u16 = NEW_TABLE | 5;
pub(super) const NEW_RULE: u16 = NEW_TABLE | 6;
pub(super) const GET_RULE: u16 = NEW_TABLE | 7;
pub(super) const DEL_RULE: u16 = NEW_TABLE | 8;
pub(super) const NEW_SET: u16 = NEW_TABLE | 9;
pub(super) const NEW_ELEMENT: u16 = NEW_TABLE | 12;
pub(super) const GET_ELEMENT: u16 = NEW_TABLE | 13;
pub(super) const DEL_ELEMENT: u16 = NEW_TABLE | 14;

pub(super) const TABLE_NAME: u16 = 1;
pub(super) const TABLE_USERDATA: u16 = 6;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const RULE_USERDATA: u16 = 7;
pub(super) const LIST_ELEMENT: u16 = 1;
pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;
pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_FLAGS: u16 = 3;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_LENGTH: u16 = 5;
pub(super) const SET_DATA_TYPE: u16 = 6;
pub(super) const SET_DATA_LENGTH: u16 = 7;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_USERDATA: u16 = 13;
pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;
pub(super) const ELEMENTS_LIST: u16 = 3;
pub(super) const ELEMENTS_SET_ID: u16 = 4;
pub(super) const ELEMENT_KEY: u16 = 1;
pub(super) const ELEMENT_DATA: u16 = 2;
pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;

pub(super) const FLAG_ANONYMOUS: u32 = 1;
pub(super) const FLAG_CONSTANT: u32 = 2;
pub(super) const FLAG_MAP: u32 = 8;
pub(super) const TYPE_VERDICT: u32 = 0xffff_ff00;
pub(super) const TYPE_INTEGER: u32 = 4;
pub(super) const TYPE_IPV4: u32 = 7;
pub(super) const TYPE_PROTOCOL: u32 = 12;
pub(super) const TYPE_PORT: u32 = 13;

pub(super) const VERDICT_REGISTER: u32 = 0;
pub(super) const NFT_GOTO: i32 = -4;
pub(super) const NFT_JUMP: i32 = -3;
pub(super) const NF_ACCEPT: i32 = 1;

pub(super) fn put_value(attributes: &mut Attributes, kind: u16, value: &[u8]) {
    attributes.nest(kind, |data| {
        data.put(DATA_VALUE, value);
    });
}

pub(super) fn put_verdict(attributes: &mut Attributes, code: i32, chain: Option<&str>) {
    attributes.nest(DATA_VERDICT, |verdict| {
        verdict.put_be32(VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict.put_str(VERDICT_CHAIN, chain);
        }
    });
}

/// struct nfgenmsg.
pub(super) fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
