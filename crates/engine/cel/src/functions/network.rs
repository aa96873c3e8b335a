//! Addresses and networks.

use std::{fmt, net::IpAddr};

use super::Implementation;
use crate::value::{EvalError, Opaque, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// A network, perhaps with bits behind its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address as it was written.
    pub address: IpAddr,
    /// How many bits the mask has.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, bits: self.bits }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Self { address, ..self }.masked() == self.masked()
    }
}

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "ip" => |args| match &args[0] {
            Value::String(text) => address(text).map(made).map_err(EvalError::new),
            value => Ok(made(cidr_of(value)?.address)),
        },
        "isIP" => |args| text(args, |text| address(text).is_ok()),
        "ip.isCanonical" => |args| match &args[0] {
            Value::String(text) => {
                let address = address(text).map_err(EvalError::new)?;
                Ok(Value::Bool(address.to_string() == **text))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "family" => |args| Ok(Value::Int(if ip_of(&args[0])?.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => |args| Ok(Value::Bool(ip_of(&args[0])?.is_unspecified())),
        "isLoopback" => |args| Ok(Value::Bool(ip_of(&args[0])?.is_loopback())),
        "isLinkLocalMulticast" => |args| {
            Ok(Value::Bool(match ip_of(&args[0])? {
                IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
                IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
            }))
        },
        "isLinkLocalUnicast" => |args| Ok(Value::Bool(is_link_local(ip_of(&args[0])?))),
        "isGlobalUnicast" => |args| {
            let address = ip_of(&args[0])?;
            let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
            let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
            Ok(Value::Bool(!special && !broadcast && !is_link_local(address)))
        },
        "cidr" => |args| match &args[0] {
            Value::String(text) => network(text).map(made_cidr).map_err(|error| {
                EvalError::new(format!("network address parse error during conversion from string: {error}"))
            }),
            _ => Err(EvalError::no_such_overload()),
        },
        "isCIDR" => |args| text(args, |text| network(text).is_ok()),
        "containsIP" => |args| {
            let other = match &args[1] {
                Value::String(text) => address(text).map_err(EvalError::new)?,
                value => ip_of(value)?,
            };
            Ok(Value::Bool(cidr_of(&args[0])?.contains(other)))
        },
        "containsCIDR" => |args| {
            let other = match &args[1] {
                Value::String(text) => network(text).map_err(EvalError::new)?,
                value => cidr_of(value)?,
            };
            let cidr = cidr_of(&args[0])?;
            Ok(Value::Bool(cidr.bits <= other.bits && cidr.contains(other.address)))
        },
        "prefixLength" => |args| Ok(Value::Int(cidr_of(&args[0])?.bits.into())),
        "masked" => |args| Ok(made_cidr(cidr_of(&args[0])?.masked())),
        _ => return None,
    })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn made<'a>(address: IpAddr) -> Value<'a> {
    Value::opaque(Opaque::Ip(address))
}

fn made_cidr<'a>(cidr: Cidr) -> Value<'a> {
    Value::opaque(Opaque::Cidr(cidr))
}

fn text<'a>(args: &[Value<'a>], holds: fn(&str) -> bool) -> Outcome<'a> {
    match &args[0] {
        Value::String(text) => Ok(Value::Bool(holds(text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ip_of(value: &Value<'_>) -> Result<IpAddr, EvalError> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(address) => Ok(*address),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn cidr_of(value: &Value<'_>) -> Result<Cidr, EvalError> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Cidr(cidr) => Ok(*cidr),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        )
    })?;
    match address {
        IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        _ => Ok(address),
    }
}

fn network(text: &str) -> Result<Cidr, String> {
    let wrong = |why: &str| {
        format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}")
    };
    let (start, bits) = text.split_once('/').ok_or_else(|| wrong("no '/'"))?;
    let start: IpAddr = start.parse().map_err(|_| wrong("unable to parse IP"))?;
    if matches!(start, IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some()) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    let most = if start.is_ipv4() { 32 } else { 128 };
    let plain =
        !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits: u8 =
        bits.parse().ok().filter(|bits| plain && *bits <= most).ok_or_else(|| wrong("prefix length out of range"))?;
    Ok(Cidr { address: start, bits })
}
